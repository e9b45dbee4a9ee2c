"""Checkpoints are complete or do not count, and a run that goes on from one ends where it would have ended."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import LoraConfig, get_peft_model

from tests.unit.training.conftest import Make, weights
from tunalm.training import checkpoints
from tunalm.training.checkpoints import COMPLETE, CheckpointTimes, complete_checkpoints, newest_checkpoint
from tunalm.training.metrics import MetricsFile, read_metrics
from tunalm.training.trainer import RankingTrainer


@pytest.fixture
def make_saving(make_trainer: Make, make_model: Callable[..., Any], tmp_path: Path) -> Make:
    """Makes a trainer that saves every step of two epochs of three steps; with dropout, so that the dice matter."""

    def make(name: str, **changes: Any) -> RankingTrainer:
        saving = {"output_dir": str(tmp_path / name), "save_strategy": "steps", "save_steps": 1}
        torch.manual_seed(1)
        adapters = LoraConfig(r=2, lora_dropout=0.3, target_modules="all-linear", task_type="CAUSAL_LM")
        return make_trainer(
            model=get_peft_model(make_model(), adapters),
            callbacks=[MetricsFile(tmp_path / f"{name}.jsonl")],
            **{**saving, "num_train_epochs": 2, "batch_size": 4, **changes},
        )

    return make


def fake_checkpoint(folder: Path, step: int, complete: bool) -> Path:
    path = folder / f"checkpoint-{step}"
    path.mkdir(parents=True)
    (path / "weights").write_text("...")
    if complete:
        checkpoints.seal(path)
    return path


def test_the_newest_complete_checkpoint_counts_and_others_are_removed(tmp_path: Path) -> None:
    for step, complete in ((9, True), (10, True), (11, False), (100, False)):
        fake_checkpoint(tmp_path, step, complete)
    (tmp_path / "checkpoint-notes").mkdir()
    assert newest_checkpoint(tmp_path / "nothing") is None
    assert newest_checkpoint(tmp_path) == tmp_path / "checkpoint-10"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["checkpoint-10", "checkpoint-9", "checkpoint-notes"]


def test_older_checkpoints_go_only_when_newer_ones_are_complete(tmp_path: Path) -> None:
    for step, complete in ((1, True), (2, True), (3, False)):
        fake_checkpoint(tmp_path, step, complete)
    checkpoints.prune(tmp_path, keep=2)
    assert len(complete_checkpoints(tmp_path)) == 2
    checkpoints.seal(tmp_path / "checkpoint-3")
    checkpoints.prune(tmp_path, keep=2)
    assert [path.name for path in complete_checkpoints(tmp_path)] == ["checkpoint-2", "checkpoint-3"]


def test_a_limit_of_one_still_keeps_the_last_checkpoint_until_the_next_is_complete(
    make_saving: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trainer = make_saving("run", save_total_limit=1)
    seen: list[list[str]] = []
    seal = checkpoints.seal

    def spy(path: Path) -> None:
        seen.append([found.name for found in complete_checkpoints(path.parent)])
        seal(path)

    monkeypatch.setattr(checkpoints, "seal", spy)
    trainer.train()
    assert seen == [[]] + [[f"checkpoint-{step}"] for step in range(1, 6)]
    assert [path.name for path in complete_checkpoints(tmp_path / "run")] == ["checkpoint-6"]


def test_saving_over_an_old_checkpoint_takes_its_mark_away_first(
    make_saving: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trainer = make_saving("run", max_steps=1)
    old = fake_checkpoint(tmp_path / "run", 1, complete=True)
    marked: list[bool] = []
    save = trainer.save_model

    def spy(*args: Any, **kwargs: Any) -> None:
        marked.append((old / COMPLETE).exists())
        save(*args, **kwargs)

    monkeypatch.setattr(trainer, "save_model", spy)
    trainer.train()
    assert marked == [False]
    assert (old / COMPLETE).exists()


@pytest.mark.parametrize("step", range(1, 6))
def test_going_on_from_any_step_ends_at_the_same_weights(make_saving: Make, tmp_path: Path, step: int) -> None:
    """Steps 1, 2, 4 and 5 lie within an epoch, step 3 at its end."""
    straight = make_saving("straight", save_total_limit=None)
    straight.train()
    shutil.copytree(tmp_path / "straight" / f"checkpoint-{step}", tmp_path / "again" / f"checkpoint-{step}")
    shutil.copy(tmp_path / "straight.jsonl", tmp_path / "again.jsonl")  # the lines of later steps must go
    again = make_saving("again")
    again.train(resume_from_checkpoint=True)
    assert torch.equal(weights(again), weights(straight))
    timeless = [
        [{name: value for name, value in line.items() if name != "seconds"} for line in read_metrics(tmp_path / file)]
        for file in ("straight.jsonl", "again.jsonl")
    ]
    assert timeless[0] == timeless[1]
    assert [line["step"] for line in timeless[1]] == [1, 2, 3, 4, 5, 6]


def test_going_on_from_the_last_step_takes_no_further_one(make_saving: Make) -> None:
    """Step 4 is the first of an epoch of three, of which the run takes no more."""
    done, again = (make_saving("run", max_steps=4) for _ in range(2))
    done.train()
    again.train(resume_from_checkpoint=True)
    assert again.state.global_step == 4
    assert torch.equal(weights(again), weights(done))


def test_without_a_checkpoint_training_begins_at_the_beginning(make_saving: Make) -> None:
    trainer = make_saving("run", save_strategy="no", max_steps=1)
    trainer.train(resume_from_checkpoint=True)
    assert trainer.state.global_step == 1


def test_checkpoints_are_taken_at_tenths_but_not_too_often(make_saving: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [0.0]
    monkeypatch.setattr("tunalm.training.checkpoints.time.monotonic", lambda: clock[0])
    times, trainer, saved = CheckpointTimes(total_steps=30), make_saving("run"), []
    for step in range(1, 31):
        clock[0] += 15
        trainer.state.global_step, trainer.control.should_save = step, False
        if times.on_step_end(trainer.args, trainer.state, trainer.control).should_save:
            saved.append(step)
    assert saved == [6, 12, 18, 24]


def test_a_line_that_a_kill_has_torn_is_dropped(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    path.write_text(json.dumps({"step": 1}) + "\n" + '{"step": 2, "lo')
    assert read_metrics(path) == [{"step": 1}]
