"""What a plan says of reinforcement learning beside what a run then writes, scores and learns from."""

from __future__ import annotations

import json
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM

from tests.tiny import save_tiny_model, save_tiny_scorer
from tunalm.calls.prices import Prices
from tunalm.engines.huggingface.decoding import write_responses
from tunalm.engines.huggingface.proxies import ProxyScorer
from tunalm.errors import DataError
from tunalm.pipeline.folder import RunFolder
from tunalm.pipeline.planning import estimate
from tunalm.pipeline.planning.figures import Amount, StageEstimate
from tunalm.pipeline.planning.stages import TOO_FEW
from tunalm.pipeline.resolving import resolve
from tunalm.pipeline.running import run_recipe
from tunalm.recipe import Recipe
from tunalm.recipe.loading import build_recipe
from tunalm.training.metrics import read_metrics

ROWS = 12
ROOM = 6
"""Tokens of every response."""


@pytest.fixture
def models(tmp_path: Path) -> dict[str, str]:
    """A policy that never ends a response of itself, so that all have the length that a plan takes them to have."""
    model = save_tiny_model(tmp_path / "model", initializer_range=0.3)
    endless = AutoModelForCausalLM.from_pretrained(model)
    with torch.no_grad():
        endless.lm_head.weight[endless.config.eos_token_id] = 0
        endless.lm_head.weight.mul_(2)
    endless.save_pretrained(model)
    return {"start": str(model), "reward": str(save_tiny_scorer(tmp_path / "proxy", model, 512))}


def recipe_of(models: dict[str, str], **knobs: Any) -> Recipe:
    rows = Path(models["start"]).with_name("rows.jsonl")
    rows.write_text("".join(json.dumps({"instruction": "Say " + "it " * n}) + "\n" for n in range(1, ROWS + 1)))
    stage = {"kind": "rl", **models, "data": str(rows), "max_new_tokens": ROOM}
    return build_recipe({"name": "x", "stages": {"rl": {**stage, **knobs}}})


def planned(recipe: Recipe, folder: Path) -> StageEstimate:
    run = RunFolder(folder)
    (stage,) = estimate(recipe, resolve(recipe, run), run, Prices(())).stages
    return stage


def test_a_plan_of_ppo_is_what_the_run_does(
    models: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("torchrl")
    from tunalm.training.ppo import rollouts, run

    done = dict.fromkeys(("written", "scored", "read by the policy in steps", "prompts"), 0)
    write, score, read = write_responses, ProxyScorer.score, rollouts.read_tokens

    def counted_write(*arguments: Any) -> Any:
        written = write(*arguments)
        done["written"] += sum(len(each.tokens) for each in written)
        return written

    def counted_score(self: ProxyScorer, conversations: Any, texts: Any) -> torch.Tensor:
        done["scored"] += len(texts)
        done["prompts"] += sum(len(self._encoder.prompt_ids(messages)) for messages in conversations)
        return score(self, conversations, texts)

    def counted_read(model: Any, prompts: Any, responses: Any, settings: Any, *, values: bool) -> Any:
        if not values:
            done["read by the policy in steps"] += sum(map(len, [*prompts, *responses]))
        return read(model, prompts, responses, settings, values=values)

    monkeypatch.setattr(rollouts, "write_responses", counted_write)
    monkeypatch.setattr(ProxyScorer, "score", counted_score)
    monkeypatch.setattr(run, "read_tokens", counted_read)
    ppo = {"rollout_size": 8, "epochs_per_rollout": 3, "warmup_rollouts": 0}
    recipe = recipe_of(models, method="ppo", batch_size=4, epochs=2, ppo=ppo)
    plan = planned(recipe, tmp_path / "run")
    assert not any(done.values())
    state = run_recipe(recipe, tmp_path / "run")["rl"]
    writing, scoring = plan.asked
    assert writing.calls == Amount(2 * ROWS, 2 * ROWS)
    assert scoring.calls.expected == done["scored"] == 2 * ROWS
    assert writing.completion_tokens.expected == done["written"] == 2 * ROWS * ROOM
    assert writing.prompt_tokens.expected == done["prompts"]
    assert scoring.prompt_tokens.expected == done["prompts"] + done["written"]
    assert plan.training is not None
    assert plan.training.tokens == done["read by the policy in steps"] == 3 * (done["prompts"] + done["written"])
    assert f"{state.details['steps']} optimizer steps" in plan.notes[0]
    lines = read_metrics(tmp_path / "run" / "rl" / "metrics.jsonl")
    assert {(line["without_end"], line["reward"]) for line in lines} == {(1.0, -1.0)}  # a penalty, not the proxy's


@pytest.mark.slow
@pytest.mark.skipif(find_spec("trl") is None, reason="TRL (extra baselines) is not installed")
@pytest.mark.parametrize("method", ["rloo", "grpo"])
def test_a_plan_of_trls_trainers_is_what_they_count(method: str, models: dict[str, str], tmp_path: Path) -> None:
    recipe = recipe_of(models, method=method, num_responses=2, batch_size=4, epochs=2)
    plan = planned(recipe, tmp_path / "run")
    state = run_recipe(recipe, tmp_path / "run")["rl"]
    last = read_metrics(tmp_path / "run" / "rl" / "metrics.jsonl")[-1]
    assert plan.training is not None
    writing, scoring = plan.asked
    assert plan.training.tokens == last["num_tokens"] == (writing.prompt_tokens + writing.completion_tokens).expected
    assert writing.calls.expected == scoring.calls.expected == 2 * 2 * ROWS
    assert state.details["steps"] == 2 * ROWS / 4 == last["step"]


@pytest.mark.parametrize("method", ["ppo", "rloo"])
def test_what_cannot_make_a_step_is_said_by_the_plan_and_refused_by_the_run(
    method: str, models: dict[str, str], tmp_path: Path
) -> None:
    knobs = {"ppo": {"max_prompt_tokens": 1}} if method == "ppo" else {"batch_size": ROWS + 1}
    recipe = recipe_of(models, method=method, **knobs)
    plan = planned(recipe, tmp_path / "run")
    assert (plan.asked, plan.notes) == ((), (TOO_FEW,))
    with pytest.raises(DataError, match=rf"{ROWS} instructions.*(batch_size|max_prompt_tokens)"):
        run_recipe(recipe, tmp_path / "run")
