"""The stage `rl` with `method: ppo`: roll-outs and steps in turn, resumed from the last complete checkpoint."""

from __future__ import annotations

import json
import random
from collections.abc import Iterable, Iterator, Sequence
from copy import deepcopy
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_model as load_safetensors
from safetensors.torch import save_model
from torch import Tensor

from tunalm.calls.context import StageContext
from tunalm.data import load
from tunalm.data.prompts import PromptEncoder
from tunalm.engines.huggingface import device, load_model, load_scorer, load_tokenizer
from tunalm.engines.huggingface.proxies import ProxyScorer
from tunalm.errors import DataError, TrainingError
from tunalm.progress import progress
from tunalm.recipe import Reinforce
from tunalm.store import Summary, write_text
from tunalm.training import checkpoints
from tunalm.training.course import course_of
from tunalm.training.fitting import to_the_end
from tunalm.training.metrics import add_line, reward_figures, rewind
from tunalm.training.ppo.objective import advantages_and_returns, clipped_loss, shaped_rewards
from tunalm.training.ppo.rollouts import Models, Rollout, read_tokens, roll_out

CHECKPOINTS_KEPT = 1


def run_ppo(settings: Reinforce, context: StageContext) -> Summary:
    """Train a model to get higher scores from a proxy, by PPO.

    A roll-out answers `rollout_size` instructions and is learned from `epochs_per_rollout` times. metrics.jsonl has a
    line for every optimizer step.

    Returns:
        The instructions; `details` has the rows that were left out because of their length, the steps, and the mean
        reward of the first and the last roll-outs.

    Raises:
        DataError: the instructions cannot be read, or none is short enough.
        ModelError: a model cannot be loaded.
        TrainingError: a loss that is not finite; the instructions are named.
    """
    to_the_end(context.folder, lambda: _train(settings, context))
    rows = json.loads((context.folder / "rows.json").read_text(encoding="utf-8"))
    figures = reward_figures(context.folder / "metrics.jsonl")
    return Summary(requested=rows["rows"], ok=rows["rows"], details=rows | figures)


def _train(settings: Reinforce, context: StageContext) -> None:
    torch.manual_seed(settings.seed)
    models = load_models(settings, context.trust_remote_code)
    rows = load(settings.data)
    kept = [row for row in rows if len(models.encoder.prompt_ids(row.messages())) <= settings.ppo.max_prompt_tokens]
    if not kept:
        raise DataError(
            settings.data.source,
            found=f"{len(rows)} instructions of more than {settings.ppo.max_prompt_tokens} tokens",
            expected="some that are shorter",
            fix="Raise ppo.max_prompt_tokens.",
        )
    write_text(context.folder / "rows.json", json.dumps({"rows": len(kept), "too_long": len(rows) - len(kept)}) + "\n")
    ahead = course_of(len(kept), settings)
    learner = Learner(models, settings, ahead.rollouts, context.folder)
    learner.resume()
    with progress("reinforcing", ahead.all_steps) as advance:
        advance(learner.step)
        for number in range(learner.finished, ahead.rollouts):
            part = [kept[place] for place in _places(number, ahead.responses, len(kept), settings.seed)]
            learner.learn(roll_out(models, part, number, settings), advance)
            learner.save_if_due()
    model = context.folder / "model"
    draft = checkpoints.partial_folder(model)
    models.policy.save_pretrained(draft)
    tokenizer: Any = models.encoder.tokenizer
    tokenizer.chat_template = models.encoder.template_text
    tokenizer.save_pretrained(draft)
    checkpoints.settle(draft, model)


def load_models(settings: Reinforce, trust_remote_code: bool) -> Models:
    """Load all four. The value model starts from the proxy where both read the same tokens, else from the start; in
    either case its head starts at 0."""
    tokenizer = load_tokenizer(settings.start, trust_remote_code=trust_remote_code)
    policy = load_model(settings.start, precision="fp32", trust_remote_code=trust_remote_code).to(device()).eval()
    start = deepcopy(policy).requires_grad_(False)
    of_proxy = load_tokenizer(settings.reward, trust_remote_code=trust_remote_code)
    alike = of_proxy.get_vocab() == tokenizer.get_vocab()
    source = settings.reward if alike else settings.start
    value = load_scorer(source, trained=alike, trust_remote_code=trust_remote_code).float().to(device()).eval()
    torch.nn.init.zeros_(value.score.weight)
    proxy = ProxyScorer(settings.reward, trust_remote_code=trust_remote_code)
    encoder = PromptEncoder(tokenizer, settings.template, settings.start, settings.template_args)
    return Models(policy, start, value, proxy, encoder)


def rate_at(number: int, rollouts: int, warmup: int) -> float:
    """Share of the peak learning rate in a roll-out, from 0: up over the warm-up, then down to 0 after the last one."""
    warmup = max(1, warmup)
    return min((number + 1) / warmup, (rollouts - number) / max(1, rollouts + 1 - warmup))


def _places(number: int, size: int, rows: int, seed: int) -> list[int]:
    """Rows of a roll-out: all rows in an order of their own for every pass, cut into pieces."""
    wanted = range(number * size, (number + 1) * size)
    orders = {epoch: _shuffled(rows, f"{seed}/epoch/{epoch}") for epoch in {place // rows for place in wanted}}
    return [orders[place // rows][place % rows] for place in wanted]


def _require_finite(rollout: Rollout, step: int) -> None:
    """Refuse a roll-out with a number that is none, before whitening spreads it over all responses."""
    lower, look = "Lower learning_rate.", "Look at these instructions: one may fill all tokens that the proxy reads."
    numbers = {
        "score of the proxy": (rollout.scores[:, None], look),
        "log-probability": (torch.cat([rollout.logprobs, rollout.start_logprobs], dim=1), lower),
        "value": (rollout.values, lower),
    }
    for name, (tensor, fix) in numbers.items():
        if bad := [rollout.ids[place] for place in (~tensor.isfinite().all(1)).nonzero()[:, 0].tolist()]:
            raise TrainingError(
                f"step {step}",
                found=f"no finite {name} for {_named(bad)}",
                expected="one for every response",
                fix=fix,
            )


def _named(ids: Iterable[str]) -> str:
    first = list(ids)
    return ", ".join(first[:5]) + (f" and {len(first) - 5} more" if len(first) > 5 else "")


def _shuffled(count: int, seed: str) -> list[int]:
    order = list(range(count))
    random.Random(seed).shuffle(order)
    return order


class Learner:
    """Policy and value model with their optimizer: learns from roll-outs, saves and resumes."""

    def __init__(self, models: Models, settings: Reinforce, rollouts: int, folder: Path) -> None:
        self._models, self._settings, self._folder = models, settings, folder
        self.finished = 0
        """Roll-outs that were learned from."""
        self.step = 0
        self._trained = [*models.policy.parameters(), *models.value.parameters()]
        self._optimizer = torch.optim.AdamW(
            self._trained, lr=settings.learning_rate, eps=settings.ppo.adam_epsilon, weight_decay=0.0
        )
        self._rollouts = rollouts
        self._times = checkpoints.CheckpointTimes(rollouts)

    def learn(self, rollout: Rollout, advance: Any) -> None:
        """Take the steps of one roll-out and log each.

        Raises:
            TrainingError: a number of the roll-out, a loss or a gradient is not finite.
        """
        ppo = self._settings.ppo
        _require_finite(rollout, self.step + 1)
        rewards, divergence = shaped_rewards(
            rollout.scores, rollout.logprobs, rollout.start_logprobs, rollout.mask, self._settings.kl_weight
        )
        advantages, returns = advantages_and_returns(
            rewards,
            rollout.values,
            rollout.mask,
            gamma=ppo.gamma,
            gae_lambda=ppo.gae_lambda,
            whiten_rewards=ppo.whiten_rewards,
        )
        lengths = rollout.mask.sum(1)
        figures = {
            "reward": rollout.scores.mean(),
            "kl": divergence.sum(1).mean(),
            "entropy": -(rollout.logprobs.sum() / rollout.mask.sum()),
            "response_tokens": lengths.mean(),
            "without_end": 1 - rollout.ended.float().mean(),
        }
        rate = self._settings.learning_rate * rate_at(self.finished, self._rollouts, ppo.warmup_rollouts)
        for group in self._optimizer.param_groups:
            group["lr"] = rate
        for places in self._step_places(len(rollout.ids)):
            policy, value, clipped = self._take_step(rollout, advantages, returns, places)
            self.step += 1
            means = figures | {"policy_loss": policy, "value_loss": value, "clip_fraction": clipped}
            line = {name: round(float(mean), 6) for name, mean in means.items()} | {
                "learning_rate": rate,
                "tokens": float(rollout.mask[places].sum()),
                "step": self.step,
            }
            add_line(self._folder / "metrics.jsonl", line)
            advance(1)
        self.finished += 1

    def _step_places(self, rows: int) -> Iterator[list[int]]:
        """Responses of each optimizer step."""
        for epoch in range(self._settings.ppo.epochs_per_rollout):
            order = _shuffled(rows, f"{self._settings.seed}/rollout/{self.finished}/{epoch}")
            for start in range(0, rows, self._settings.batch_size):
                yield order[start : start + self._settings.batch_size]

    def _take_step(self, rollout: Rollout, advantages: Tensor, returns: Tensor, places: list[int]) -> Tensor:
        """One optimizer step; returns the means of `clipped_loss` over its tokens."""
        models, ppo = self._models, self._settings.ppo
        tokens = rollout.mask[places].sum()
        sums = torch.zeros(3)
        prompts, responses = ([part[place] for place in places] for part in (rollout.prompts, rollout.responses))
        policy = read_tokens(models.policy, prompts, responses, self._settings, values=False)
        values = read_tokens(models.value, prompts, responses, self._settings, values=True)
        for (part, logprobs), (_, value) in zip(policy, values, strict=True):
            own = [places[place] for place in part]
            width = logprobs.shape[1]
            old_logprobs, old_values, *known = (
                tensor[own][:, :width].to(logprobs.device)
                for tensor in (rollout.logprobs, rollout.values, advantages, returns, rollout.mask)
            )
            losses = clipped_loss(
                logprobs, old_logprobs, value, old_values, *known, clip=ppo.clip, value_clip=ppo.value_clip
            )
            total = (losses[0] + ppo.value_weight * losses[1]) / tokens
            if not torch.isfinite(total):
                raise self._not_finite(f"a loss of {float(total)}", own, rollout)
            total.backward()
            sums += torch.stack(losses).detach().cpu()
        norm = torch.nn.utils.clip_grad_norm_(self._trained, ppo.max_grad_norm)
        if not torch.isfinite(norm):
            raise self._not_finite("gradients that are not finite", places, rollout)
        self._optimizer.step()
        self._optimizer.zero_grad(set_to_none=True)
        return sums / tokens

    def _not_finite(self, found: str, places: Sequence[int], rollout: Rollout) -> TrainingError:
        return TrainingError(
            f"step {self.step + 1}",
            found=f"{found} for {_named(rollout.ids[place] for place in places)}",
            expected="finite numbers",
            fix="Lower learning_rate, or look at these instructions and at the proxy.",
        )

    def save_if_due(self) -> None:
        """Save at every tenth of the run, but not within a minute of the last time, nor at the end."""
        if not self._times.due(self.finished):
            return
        folder = self._folder / "checkpoints" / f"{checkpoints.PREFIX}{self.finished}"
        checkpoints.discard(folder)
        folder.mkdir(parents=True)
        for name in ("policy", "value"):
            save_model(getattr(self._models, name), str(folder / f"{name}.safetensors"))
        state = {"optimizer": self._optimizer.state_dict(), "step": self.step}
        torch.save(state, folder / "state.pt")
        checkpoints.seal(folder)
        checkpoints.prune(self._folder / "checkpoints", CHECKPOINTS_KEPT)

    def resume(self) -> None:
        """Go back to the newest complete checkpoint, or to the start."""
        newest = checkpoints.newest_checkpoint(self._folder / "checkpoints")
        if newest is not None:
            for name in ("policy", "value"):
                load_safetensors(getattr(self._models, name), newest / f"{name}.safetensors")
            state = torch.load(newest / "state.pt", weights_only=True)
            self._optimizer.load_state_dict(state["optimizer"])
            self.step = state["step"]
            self.finished = int(newest.name.removeprefix(checkpoints.PREFIX))
        rewind(self._folder / "metrics.jsonl", self.step)
