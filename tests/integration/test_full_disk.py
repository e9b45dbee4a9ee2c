"""A disk that is full in the middle of saving: one line, nothing lost, and the run goes on once there is room."""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from safetensors.torch import load_file

from tests.integration.killing import RESPONSES, read_ledger, sampling, witness

ROWS = [
    {
        "id": name,
        "instruction": f"Say {name}.",
        "reference": name,
        "responses": [{"text": name, "rank": 0}, {"text": "?", "rank": 1}],
    }
    for name in ("yes", "no", "maybe")
]


def train(model: Path, lists: Path, run: Path, limit: Callable[[], None] | None) -> subprocess.CompletedProcess[str]:
    words = ["train", f"start={model}", f"rankings={lists}", "batch_size=1", "save_steps=1", "--run-dir", str(run)]
    command = [sys.executable, "-m", "tunalm", "--quiet", *words]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.run(
        command, capture_output=True, text=True, timeout=120, env=environment, preexec_fn=limit, check=False
    )


@pytest.mark.slow
@pytest.mark.parametrize("room", [40_000, 160_000], ids=["no model fits", "no optimizer state fits"])
def test_a_full_disk_is_one_line_and_no_loss(tiny_model: Path, tmp_path: Path, room: int) -> None:
    lists, run = tmp_path / "lists.jsonl", tmp_path / "run"
    lists.write_text("".join(json.dumps(row) + "\n" for row in ROWS), encoding="utf-8")

    def largest_file() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (room, room))

    stopped = train(tiny_model, lists, run, largest_file)
    assert stopped.returncode == 2
    assert len(stopped.stderr.strip().splitlines()) == 1, stopped.stderr
    assert "Free some space" in stopped.stderr
    assert "no room while saving" in stopped.stderr
    assert train(tiny_model, lists, run, None).returncode == 0
    assert train(tiny_model, lists, tmp_path / "other", None).returncode == 0
    weights, expected = (
        load_file(folder / "train" / "model" / "model.safetensors") for folder in (run, tmp_path / "other")
    )
    assert all(bool((weights[name] == expected[name]).all()) for name in expected)


def test_a_full_disk_while_a_server_answers_loses_nothing_that_was_kept(tmp_path: Path) -> None:
    log, stopped, whole = tmp_path / "witness.log", tmp_path / "stopped", tmp_path / "whole"
    with witness(log, 0.01) as address, sampling(tmp_path, address, log, 60, in_flight=8, max_duplicates=12) as stage:
        code, printed = stage.run(stopped, largest=2_000_000)
        assert code == 2, printed
        assert len(printed.strip().splitlines()) == 1, printed
        assert "Free some space" in printed
        kept, before = read_ledger(stopped), stage.calls()
        assert 20 < len(kept.replies) < 240
        stage.finish(stopped)
        assert kept.replies.items() <= read_ledger(stopped).replies.items()
        finished = {call.asked for call in before if call.number in kept.replies}
        assert not finished & {call.asked for call in stage.calls()[len(before) :]}
        assert len(stage.calls()) <= 240 + 12
        stage.finish(whole)
    assert (stopped / RESPONSES).read_bytes() == (whole / RESPONSES).read_bytes()
