"""Two processes train one model, by DDP and by FSDP2: the weights of one process, a kill survived, every line once."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
from safetensors.torch import load_file

CONFIGS = Path(__file__).parents[2] / "recipes" / "accelerate"
TWO = ["--num_processes", "2"]
PROGRAM = {"ddp": ["-m", "tunalm"], "fsdp2": [str(Path(__file__).with_name("fsdp_on_cpu.py"))]}

pytestmark = pytest.mark.slow


@pytest.fixture
def knobs(tiny_model: Path, ranked_lists: Path) -> list[str]:
    """Ten lists in steps of five, each step several micro-batches, in a precision that lets runs be compared."""
    steps = ["epochs=4", "batch_size=5", "token_budget=64", "save_steps=2"]
    return [f"start={tiny_model}", f"rankings={ranked_lists}", "precision=fp32", "learning_rate=1e-3", *steps]


def start(kind: str, run: Path, knobs: list[str]) -> subprocess.Popen[str]:
    """Train in one process (`one`), or in two as the shipped configuration of accelerate says."""
    launch = ["-m", "accelerate.commands.launch", "--config_file", str(CONFIGS / f"{kind}.yaml"), *TWO]
    program = ["-m", "tunalm"] if kind == "one" else [*launch, *PROGRAM[kind]]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": "", "COLUMNS": "100"}
    return subprocess.Popen(
        [sys.executable, *program, "train", *knobs, "--run-dir", str(run)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=environment,
    )


def train(kind: str, run: Path, knobs: list[str]) -> str:
    """Train to the end; returns what was said."""
    with start(kind, run, knobs) as process:
        said, _ = process.communicate(timeout=300)
    assert process.returncode == 0, said[-3000:]
    return said


def largest_difference(first: Path, second: Path) -> float:
    """Of the weights of two runs."""
    one, other = (load_file(run / "train" / "model" / "model.safetensors") for run in (first, second))
    assert one.keys() == other.keys()
    return max(float((one[name] - other[name]).abs().max()) for name in one)


def kill_after(checkpoint: Path, process: subprocess.Popen[str]) -> None:
    """Kill all processes of a launch as soon as a checkpoint is complete."""
    deadline = time.monotonic() + 120
    while not (checkpoint / "COMPLETE").exists():
        assert process.poll() is None, "it ended before it could be killed"
        assert time.monotonic() < deadline
        time.sleep(0.01)
    family = psutil.Process(process.pid)
    for member in [*family.children(recursive=True), family]:
        member.kill()
    process.communicate()


def test_two_processes_give_the_model_of_one_and_say_everything_once(knobs: list[str], tmp_path: Path) -> None:
    """Those under FSDP2 are killed on the way and go on from their checkpoint."""
    one, ddp, fsdp2 = (tmp_path / name for name in ("one", "ddp", "fsdp2"))
    train("one", one, knobs)
    said = train("ddp", ddp, knobs)
    with start("fsdp2", fsdp2, knobs) as process:
        kill_after(fsdp2 / "train" / "checkpoints" / "checkpoint-2", process)
    assert not (fsdp2 / "train" / "model").exists()
    train("fsdp2", fsdp2, knobs)
    assert largest_difference(one, ddp) < 1e-5
    assert largest_difference(one, fsdp2) < 1e-5
    metrics = (fsdp2 / "train" / "metrics.jsonl").read_text(encoding="utf-8")
    assert [json.loads(line)["step"] for line in metrics.splitlines()] == list(range(1, 9))
    for line in ("[1/1] train (train)", "Report:"):
        assert said.count(line) == 1
