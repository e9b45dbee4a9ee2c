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
    assert train(tiny_model, lists, run, None).returncode == 0
    assert train(tiny_model, lists, tmp_path / "other", None).returncode == 0
    weights, expected = (
        load_file(folder / "train" / "model" / "model.safetensors") for folder in (run, tmp_path / "other")
    )
    assert all(bool((weights[name] == expected[name]).all()) for name in expected)
