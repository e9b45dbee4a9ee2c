"""The stage `rl` with `method: ppo`: roll-outs and steps in turn, resumed from the last complete checkpoint."""

from __future__ import annotations

import json
import math
import random
import shutil
import time
from collections.abc import Iterator, Sequence
from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers import get_linear_schedule_with_warmup

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
from tunalm.training.fitting import in_bf16, quiet_transformers
from tunalm.training.metrics import read_metrics
from tunalm.training.ppo.objective import PpoLoss, advantages_and_returns, clipped_loss, shaped_rewards
from tunalm.training.ppo.rollouts import ForwardPass, Models, Rollout, read_tokens, roll_out

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
    model = context.folder / "model"
    if not model.is_dir():
        with quiet_transformers(), checkpoints.full_disk_explained(context.folder):
            _train(settings, context, model)
    shutil.rmtree(context.folder / "checkpoints", ignore_errors=True)
    rows = json.loads((context.folder / "rows.json").read_text(encoding="utf-8"))
    lines = read_metrics(context.folder / "metrics.jsonl")
    return Summary(requested=rows["rows"], ok=rows["rows"], details=rows | reward_figures(lines))


def reward_figures(lines: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Steps, and the mean reward of the first and of the last tenth of them."""
    rewards = [line["reward"] for line in lines]
    part = max(1, len(rewards) // 10)
    return {
        "steps": len(rewards),
        "reward_at_first": round(math.fsum(rewards[:part]) / part, 4) if rewards else None,
        "reward_at_last": round(math.fsum(rewards[-part:]) / part, 4) if rewards else None,
    }


def _train(settings: Reinforce, context: StageContext, model: Path) -> None:
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
    rollouts, steps = course(len(kept), settings)
    learner = Learner(models, settings, rollouts, rollouts * steps, context.folder)
    learner.resume()
    with progress("reinforcing", rollouts * steps) as advance:
        advance(learner.step)
        for number in range(learner.finished, rollouts):
            part = [kept[place] for place in _places(number, len(kept), settings)]
            learner.learn(roll_out(models, part, number, settings, learner.reading), advance)
            learner.save_if_due()
    draft = checkpoints.partial_folder(model)
    models.policy.save_pretrained(draft)
    tokenizer: Any = models.encoder.tokenizer
    tokenizer.chat_template = models.encoder.template_text
    tokenizer.save_pretrained(draft)
    checkpoints.settle(draft, model)


def load_models(settings: Reinforce, trust_remote_code: bool) -> Models:
    """Load all four. The value model starts from the proxy where both read the same tokens, else from the start."""
    tokenizer = load_tokenizer(settings.start, trust_remote_code=trust_remote_code)
    policy = load_model(settings.start, precision="fp32", trust_remote_code=trust_remote_code).to(device())
    start = deepcopy(policy).eval().requires_grad_(False)
    of_proxy = load_tokenizer(settings.reward, trust_remote_code=trust_remote_code)
    alike = of_proxy.get_vocab() == tokenizer.get_vocab()
    source = settings.reward if alike else settings.start
    value = load_scorer(source, trained=alike, trust_remote_code=trust_remote_code).float().to(device())
    proxy = ProxyScorer(settings.reward, trust_remote_code=trust_remote_code)
    encoder = PromptEncoder(tokenizer, settings.template, settings.start, settings.template_args)
    return Models(policy, start, value, proxy, encoder)


def course(rows: int, settings: Reinforce) -> tuple[int, int]:
    """How many roll-outs a run over `rows` instructions has, and how many optimizer steps each of them."""
    size = min(settings.ppo.rollout_size, rows)
    steps = math.ceil(size / settings.batch_size) * settings.ppo.epochs_per_rollout
    by_epochs = math.ceil(settings.epochs * rows / size)
    return math.ceil(settings.max_steps / steps) if settings.max_steps > 0 else by_epochs, steps


def _places(number: int, rows: int, settings: Reinforce) -> list[int]:
    """Rows of a roll-out: all rows in an order of their own for every pass, cut into pieces."""
    size = min(settings.ppo.rollout_size, rows)
    wanted = range(number * size, (number + 1) * size)
    orders = {epoch: _shuffled(rows, f"{settings.seed}/epoch/{epoch}") for epoch in {place // rows for place in wanted}}
    return [orders[place // rows][place % rows] for place in wanted]


def _shuffled(count: int, seed: str) -> list[int]:
    order = list(range(count))
    random.Random(seed).shuffle(order)
    return order


class Learner:
    """Policy and value model with their optimizer: learns from roll-outs, saves and resumes."""

    def __init__(self, models: Models, settings: Reinforce, rollouts: int, steps: int, folder: Path) -> None:
        self._models, self._settings, self._folder = models, settings, folder
        self._rollouts = rollouts
        self.finished = 0
        """Roll-outs that were learned from."""
        self.step = 0
        bf16 = in_bf16(settings.precision)
        self.reading = ForwardPass(settings.temperature, settings.ppo.sequences_at_once, bf16)
        trained = [*models.policy.parameters(), *models.value.parameters()]
        self._optimizer = torch.optim.AdamW(
            trained, lr=settings.learning_rate, eps=settings.ppo.adam_epsilon, weight_decay=0.0
        )
        self._schedule = get_linear_schedule_with_warmup(self._optimizer, settings.ppo.warmup_steps, steps)
        self._saved = time.monotonic()

    def learn(self, rollout: Rollout, advance: Any) -> None:
        """Take the steps of one roll-out and log each.

        Raises:
            TrainingError: a score or a loss is not finite.
        """
        ppo = self._settings.ppo
        if bad := [
            name for name, score in zip(rollout.ids, rollout.scores.tolist(), strict=True) if not math.isfinite(score)
        ]:
            raise TrainingError(
                f"step {self.step + 1}",
                found=f"no finite score of the proxy for {', '.join(bad[:5])}",
                expected="one for every response",
                fix="Look at these instructions: one may fill all tokens that the proxy reads.",
            )
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
        for places in self._step_places(len(rollout.ids)):
            loss = self._take_step(rollout, advantages, returns, places)
            self.step += 1
            tokens = float(rollout.mask[places].sum())
            line = {name: round(float(value), 6) for name, value in figures.items()} | {
                "policy_loss": round(float(loss.policy), 6),
                "value_loss": round(float(loss.value), 6),
                "clip_fraction": round(float(loss.clipped), 6),
                "learning_rate": self._schedule.get_last_lr()[0],
                "tokens": tokens,
                "step": self.step,
            }
            with open(self._folder / "metrics.jsonl", "a", encoding="utf-8") as file:
                file.write(json.dumps(line) + "\n")
            advance(1)
        self.finished += 1

    def _step_places(self, rows: int) -> Iterator[list[int]]:
        """Responses of each optimizer step."""
        for epoch in range(self._settings.ppo.epochs_per_rollout):
            order = _shuffled(rows, f"{self._settings.seed}/rollout/{self.finished}/{epoch}")
            for start in range(0, rows, self._settings.batch_size):
                yield order[start : start + self._settings.batch_size]

    def _take_step(self, rollout: Rollout, advantages: Tensor, returns: Tensor, places: Sequence[int]) -> PpoLoss:
        """One optimizer step; returns means over its tokens."""
        models, ppo = self._models, self._settings.ppo
        models.policy.train()
        models.value.train()
        tokens = rollout.mask[list(places)].sum()
        sums = PpoLoss(*torch.zeros(3))
        prompts, responses = ([part[place] for place in places] for part in (rollout.prompts, rollout.responses))
        policy = read_tokens(models.policy, prompts, responses, self.reading, values=False)
        values = read_tokens(models.value, prompts, responses, self.reading, values=True)
        for (part, logprobs), (_, value) in zip(policy, values, strict=True):
            own = [places[place] for place in part]
            width = logprobs.shape[1]
            old = (
                tensor[own][:, :width].to(logprobs.device)
                for tensor in (rollout.logprobs, rollout.values, advantages, returns, rollout.mask)
            )
            old_logprobs, old_values, own_advantages, own_returns, mask = old
            loss = clipped_loss(
                logprobs,
                old_logprobs,
                value,
                old_values,
                own_advantages,
                own_returns,
                mask,
                clip=ppo.clip,
                value_clip=ppo.value_clip,
            )
            total = loss.total(ppo.value_weight) / tokens
            if not torch.isfinite(total):
                raise TrainingError(
                    f"step {self.step + 1}",
                    found=f"a loss of {float(total)} for {', '.join(rollout.ids[place] for place in own)}",
                    expected="a finite one",
                    fix="Lower learning_rate, or look at these instructions and at the proxy.",
                )
            total.backward()
            sums = PpoLoss(
                *(getattr(sums, name) + getattr(loss, name).detach().cpu() for name in ("policy", "value", "clipped"))
            )
        trained = [*models.policy.parameters(), *models.value.parameters()]
        torch.nn.utils.clip_grad_norm_(trained, ppo.max_grad_norm)
        self._optimizer.step()
        self._schedule.step()
        self._optimizer.zero_grad(set_to_none=True)
        return replace(sums, policy=sums.policy / tokens, value=sums.value / tokens, clipped=sums.clipped / tokens)

    def save_if_due(self) -> None:
        """Save at every tenth of the run, but not within a minute of the last time, nor at the end."""
        every = max(1, self._rollouts // checkpoints.CHECKPOINTS_PER_RUN)
        waited = time.monotonic() - self._saved
        if self.finished % every or self.finished == self._rollouts or waited < checkpoints.SECONDS_BETWEEN_CHECKPOINTS:
            return
        folder = self._folder / "checkpoints" / f"{checkpoints.PREFIX}{self.finished}"
        checkpoints.discard(folder)
        folder.mkdir(parents=True)
        for name in ("policy", "value"):
            save_file(_weights(getattr(self._models, name)), folder / f"{name}.safetensors")
        state = {"optimizer": self._optimizer.state_dict(), "schedule": self._schedule.state_dict(), "step": self.step}
        torch.save(state, folder / "state.pt")
        checkpoints.seal(folder)
        checkpoints.prune(self._folder / "checkpoints", CHECKPOINTS_KEPT)
        self._saved = time.monotonic()

    def resume(self) -> None:
        """Go back to the newest complete checkpoint, or to the start."""
        newest = checkpoints.newest_checkpoint(self._folder / "checkpoints")
        if newest is not None:
            for name in ("policy", "value"):
                _set_weights(getattr(self._models, name), load_file(newest / f"{name}.safetensors"))
            state = torch.load(newest / "state.pt", weights_only=True)
            self._optimizer.load_state_dict(state["optimizer"])
            self._schedule.load_state_dict(state["schedule"])
            self.step = state["step"]
            self.finished = int(newest.name.removeprefix(checkpoints.PREFIX))
        metrics = self._folder / "metrics.jsonl"
        lines = [line for line in read_metrics(metrics) if line["step"] <= self.step] if metrics.exists() else []
        write_text(metrics, "".join(json.dumps(line) + "\n" for line in lines))


def _weights(model: Any) -> dict[str, Tensor]:
    """Parameters and buffers once each: tied ones have several names."""
    return {name: tensor.detach().contiguous() for name, tensor in model.named_parameters()}


def _set_weights(model: Any, weights: dict[str, Tensor]) -> None:
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            parameter.copy_(weights[name])
