"""The stage `rl`: TRL's trainers against a proxy, from settings to a model."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM

from tunalm import training
from tunalm.calls.context import StageContext
from tunalm.errors import TrainingError
from tunalm.recipe import Data, Reinforce
from tunalm.training import reinforcement


def settings(start: Path, reward: Path, **changes: object) -> Reinforce:
    few = {"batch_size": 2, "max_new_tokens": 6, "learning_rate": 1e-2, "num_responses": 2}
    data = Data(source="checkable:train", limit=4)
    return Reinforce.model_validate({"start": str(start), "reward": str(reward), "data": data, **few, **changes})


@pytest.mark.slow
@pytest.mark.skipif(find_spec("trl") is None, reason="TRL (extra baselines) is not installed")
@pytest.mark.parametrize("method", ["rloo", "grpo"])
def test_a_model_is_trained_and_its_reward_told(
    method: str, model_folder: Path, proxy_folder: Path, context: StageContext
) -> None:
    asked = settings(model_folder, proxy_folder, method=method)
    summary = training.run(asked, context)
    assert summary.details["steps"] == 2
    assert isinstance(summary.details["reward_at_last"], float)
    assert sorted(path.name for path in context.folder.iterdir()) == ["metrics.jsonl", "model"]
    trained, start = (AutoModelForCausalLM.from_pretrained(path) for path in (context.folder / "model", model_folder))
    assert not torch.equal(trained.lm_head.weight, start.lm_head.weight)
    assert training.run(asked, context) == summary


def test_without_trl_it_is_said_what_to_install(
    model_folder: Path, context: StageContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reinforcement, "find_spec", lambda name: None)
    with pytest.raises(TrainingError, match=r"no package trl.*pip install"):
        training.run(settings(model_folder, model_folder), context)
