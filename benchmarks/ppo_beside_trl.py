"""Two PPO updates from the same roll-out: TRL's trainer, the last that it had, beside ours.

`python -m benchmarks.ppo_beside_trl`, in an environment with trl==1.12.0: the package that tunalm's extra `baselines`
installs has no PPO any more. A random Llama writes responses in TRL's trainer; what that trainer then has in hand goes
to `Learner`, and both take two steps on all of it.

Two things differ on purpose and are made alike here: TRL does not clamp log p - log p_start at 0 (so the start is made
nowhere likelier than the policy), and its whitening divides by n - 1 (so it divides by n). What differs besides is
shown: after an end token TRL gives the score to one place more, which has a value of its own.
"""

from __future__ import annotations

import inspect
import json
import math
import sys
import tempfile
from copy import deepcopy
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset
from torch import Tensor
from transformers import LlamaConfig, LlamaForCausalLM, LlamaForSequenceClassification

from benchmarks.measure import machine, show
from tunalm.data.prompts import PromptEncoder
from tunalm.engines.huggingface import load_tokenizer
from tunalm.recipe import Reinforce
from tunalm.training.ppo.objective import advantages_and_returns, shaped_rewards
from tunalm.training.ppo.rollouts import Models, Rollout, mask_of
from tunalm.training.ppo.run import Learner

RESPONSES, ROOM, KL_WEIGHT, LEARNING_RATE = 16, 24, 0.05, 1e-3
NEVER = -100.0
SEEN = ("responses", "query_responses", "scores", "logprobs", "ref_logprobs", "values", "kl", "advantages", "returns")
LOSSES = {"policy_loss": "pg_loss_stats", "value_loss": "vf_loss_stats", "clip_fraction": "pg_clipfrac_stats"}


def main() -> int:
    """Compare responses that all fill their room, with two lambdas, and responses that end."""
    cases = {"cut": (False, True, 1.0), "cut, lambda 0.9": (False, True, 0.9), "ended": (True, False, 1.0)}
    cases["ended, rewards whitened"] = (True, True, 1.0)
    rows = [[name, *compare(*case)] for name, case in cases.items()]
    headings = ["responses", "tokens", "KL", "advantages", "returns", *LOSSES, "policy", "value model"]
    show(f"Largest differences from TRL {import_module('trl').__version__}", headings, rows, [str(machine())])
    return 0


def random_models(tokenizer: Any, ends: bool) -> tuple[Any, Any, Any, Any]:
    """Policy, start, proxy and value model; the policy never writes padding, and ends its responses often or never."""
    torch.manual_seed(0)
    shape: dict[str, Any] = dict(
        zip(("hidden_size", "intermediate_size", "num_hidden_layers"), (32, 64, 2), strict=True)
    )
    config = LlamaConfig(vocab_size=len(tokenizer), pad_token_id=tokenizer.pad_token_id, initializer_range=0.1, **shape)
    policy: Any = LlamaForCausalLM(config)
    policy.lm_head = torch.nn.Linear(config.hidden_size, config.vocab_size)
    with torch.no_grad():
        policy.lm_head.bias[tokenizer.pad_token_id] = NEVER
        policy.lm_head.bias[tokenizer.eos_token_id] = math.log(config.vocab_size / ROOM) if ends else NEVER
        start = deepcopy(policy)
        for weights in start.parameters():
            weights += 0.02 * torch.randn_like(weights)
    config = deepcopy(config)
    config.num_labels = 1
    return policy, start, LlamaForSequenceClassification(config), LlamaForSequenceClassification(config)


def compare(ends: bool, whiten: bool, gae_lambda: float) -> list[str]:
    """Largest differences of one case, over tokens, steps or weights."""
    tokenizer: Any = load_tokenizer("embedded:smollm2")
    tokenizer.pad_token, tokenizer.padding_side = "<|im_start|>", "left"
    models = random_models(tokenizer, ends)
    own_policy, own_value = (deepcopy(model).eval() for model in (models[0], models[3]))
    prompts = [tokenizer(f"Name a tree {'again ' * (n % 5)}")["input_ids"] for n in range(RESPONSES)]
    folder = Path(tempfile.mkdtemp())
    seen = theirs(tokenizer, models, prompts, folder, ends, whiten, gae_lambda)

    ppo = {"rollout_size": RESPONSES, "warmup_rollouts": 0, "max_grad_norm": 1e9, "whiten_rewards": whiten}
    places = {"start": "not/read", "reward": "not/read", "data": "checkable:train"}
    knobs = {"batch_size": RESPONSES, "kl_weight": KL_WEIGHT, "learning_rate": LEARNING_RATE, "precision": "fp32"}
    settings = Reinforce.model_validate(
        {"method": "ppo", **places, **knobs, "ppo": {**ppo, "gae_lambda": gae_lambda, "sequences_at_once": 5}}
    )
    lengths = (seen["sequence_lengths"] + 1).tolist()
    width = seen["query_responses"].shape[1] - ROOM
    queries = [
        [id_ for id_ in row if id_ != tokenizer.pad_token_id] for row in seen["query_responses"][:, :width].tolist()
    ]
    responses = [row[:length] for row, length in zip(seen["responses"].tolist(), lengths, strict=True)]
    mask = mask_of(responses)
    cut = {name: seen[name][:, : mask.shape[1]] * mask for name in SEEN[3:]}
    ended = torch.tensor([length < ROOM for length in lengths])
    known = (cut["logprobs"], cut["ref_logprobs"], cut["values"])
    rollout = Rollout([str(n) for n in range(RESPONSES)], queries, responses, seen["scores"], ended, *known, mask)
    rewards, divergence = shaped_rewards(rollout.scores, *known[:2], mask, KL_WEIGHT)
    advantages, returns = advantages_and_returns(
        rewards, rollout.values, mask, gamma=1.0, gae_lambda=gae_lambda, whiten_rewards=whiten
    )
    ours = Models(own_policy, None, own_value, None, PromptEncoder(tokenizer, None, ""))
    Learner(ours, settings, 1, folder).learn(rollout, lambda steps: None)
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]
    pairs = [(divergence, cut["kl"]), (advantages, cut["advantages"]), (returns, cut["returns"])]
    pairs += [(torch.tensor([line[name] for line in lines]), seen[of_theirs]) for name, of_theirs in LOSSES.items()]
    found = [_most(*pair) for pair in pairs]
    for mine, model in ((own_policy, models[0]), (own_value, models[3])):
        found.append(max(map(_most, mine.parameters(), model.parameters())))
    return [str(int(mask.sum())), *(f"{most:.0e}" for most in found)]


def _most(one: Tensor, other: Tensor) -> float:
    return float((one - other).detach().abs().max())


def theirs(
    tokenizer: Any, models: Any, prompts: Any, folder: Path, ends: bool, whiten: bool, gae_lambda: float
) -> dict[str, Tensor]:
    """Let TRL's trainer write, and take two steps; what it had in hand before and after them, by its own names."""
    module: Any = import_module("trl.experimental.ppo.ppo_trainer")
    seen: dict[str, Any] = {}
    logprobs_of, variance = module.selective_log_softmax, module.masked_var

    def never_likelier(logits: Tensor, tokens: Tensor) -> Tensor:
        found: Tensor = logprobs_of(logits, tokens)
        if torch.is_grad_enabled():
            return found
        before = seen.pop("policy's", None)
        seen["policy's"] = found if before is None else None
        return found if before is None else torch.minimum(found, before)

    def look() -> None:
        caller = inspect.currentframe().f_back.f_locals  # type: ignore[union-attr]
        if "advantages" in caller and "b_inds" not in caller:
            seen.update({name: caller[name].clone() for name in (*SEEN, "sequence_lengths")})
        if "mini_batch_inds" in caller:
            seen.update({name: caller[name].flatten() for name in LOSSES.values()})

    module.selective_log_softmax, module.empty_cache = never_likelier, look
    module.masked_var = partial(variance, unbiased=False)
    settings = module.PPOConfig(
        **{"output_dir": str(folder / "trl"), "use_cpu": True, "bf16": False, "gradient_checkpointing": False},
        **{"report_to": "none", "save_strategy": "no", "num_sample_generations": 0, "disable_tqdm": True},
        **{"per_device_train_batch_size": RESPONSES, "gradient_accumulation_steps": 1, "total_episodes": RESPONSES},
        **{"num_ppo_epochs": 2, "response_length": ROOM, "temperature": 1.0, "stop_token": "eos" if ends else None},
        **{"kl_coef": KL_WEIGHT, "whiten_rewards": whiten, "lam": gae_lambda, "gamma": 1.0, "vf_coef": 0.1},
        **{"learning_rate": LEARNING_RATE, "lr_scheduler_type": "constant", "adam_epsilon": 1e-5},
        local_rollout_forward_batch_size=RESPONSES,
    )
    policy, start, proxy, value = models
    data = Dataset.from_list([{"input_ids": prompt} for prompt in prompts])
    module.PPOTrainer(settings, tokenizer, policy, start, proxy, data, value).train()
    module.selective_log_softmax, module.masked_var = logprobs_of, variance
    return seen


if __name__ == "__main__":
    sys.exit(main())
