"""PPO on the real embedded model, against a proxy of other tokens, killed between its two roll-outs."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torchrl")

from tests.tiny import save_tiny_model, save_tiny_scorer
from tunalm import training
from tunalm.calls.context import StageContext
from tunalm.engines.huggingface import load_model, load_tokenizer
from tunalm.recipe import Reinforce
from tunalm.training import checkpoints
from tunalm.training.metrics import read_metrics
from tunalm.training.ppo import rollouts
from tunalm.training.ppo import run as ppo_run

START = "embedded:smollm2"


@pytest.mark.slow
def test_smollm2_takes_two_updates_and_goes_on_after_a_kill(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    proxy = save_tiny_scorer(tmp_path / "proxy", save_tiny_model(tmp_path / "tiny"), max_length=512)
    settings = Reinforce.model_validate(
        {
            "method": "ppo",
            "start": START,
            "reward": str(proxy),
            "data": {"source": "checkable:train", "limit": 4},
            "max_new_tokens": 8,
            "batch_size": 2,
            "ppo": {"rollout_size": 2, "epochs_per_rollout": 1, "warmup_rollouts": 0},
        }
    )
    stage = tmp_path / "stage"
    stage.mkdir()
    context = StageContext(stage, tmp_path / "ledger.sqlite")
    monkeypatch.setattr(checkpoints, "SECONDS_BETWEEN_CHECKPOINTS", 0.0)
    numbers: list[int] = []
    written = rollouts.roll_out

    def second_is_killed(models: Any, rows: Any, number: int, asked: Reinforce) -> Any:
        numbers.append(number)
        if numbers == [0, 1]:
            raise KeyboardInterrupt
        return written(models, rows, number, asked)

    monkeypatch.setattr(ppo_run, "roll_out", second_is_killed)
    with pytest.raises(KeyboardInterrupt):
        training.run(settings, context)
    (before,) = read_metrics(stage / "metrics.jsonl")
    summary = training.run(settings, context)
    assert numbers == [0, 1, 1]
    lines = read_metrics(stage / "metrics.jsonl")
    assert lines[0] == before
    assert [line["step"] for line in lines] == [1, 2]
    assert all(math.isfinite(value) for line in lines for value in line.values())
    assert lines[0]["kl"] == 0 < lines[0]["entropy"]
    assert (summary.requested, summary.details["steps"]) == (4, 2)
    start, trained = (load_model(source, precision="fp32") for source in (START, str(stage / "model")))
    moved = [
        float((one - other).detach().abs().max())
        for one, other in zip(start.parameters(), trained.parameters(), strict=True)
    ]
    assert all(0 < most < 2 * settings.learning_rate * 2 for most in moved)
    assert all(parameter.isfinite().all() for parameter in trained.parameters())
    assert load_tokenizer(str(stage / "model")).get_vocab() == load_tokenizer(START).get_vocab()
