"""Two processes train one model, and the user sees every line once."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from safetensors.torch import load_file

ROWS = 8


def launch(processes: int, *words: str) -> str:
    command = [sys.executable, "-m", "torch.distributed.run", f"--nproc-per-node={processes}", "--standalone"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": "", "COLUMNS": "100"}
    done = subprocess.run(
        [*command, "-m", "tunalm", *words], capture_output=True, text=True, timeout=300, env=environment, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout + done.stderr


@pytest.mark.slow
def test_two_processes_give_the_model_of_one_and_say_everything_once(tiny_model: Path, tmp_path: Path) -> None:
    lists = tmp_path / "lists.jsonl"
    responses = [{"text": "Yes, sure.", "rank": 0}, {"text": "No.", "rank": 1}, {"text": "Perhaps so.", "rank": 2}]
    rows = [
        {"id": str(n), "instruction": f"Say {n}.", "reference": f"It is {n}.", "responses": responses}
        for n in range(ROWS)
    ]
    lists.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    shown, models = {}, {}
    for processes in (1, 2):
        run = tmp_path / f"run-{processes}"
        words = (f"start={tiny_model}", f"rankings={lists}", "learning_rate=1e-3", "batch_size=4", "micro_batch_size=2")
        shown[processes] = launch(processes, "train", *words, "--run-dir", str(run))
        models[processes] = load_file(run / "train" / "model" / "model.safetensors")
    for name, expected in models[1].items():
        assert (models[2][name] - expected).abs().max() < 1e-5, name
    for line in ("[1/1] train (train)", "Report:"):
        assert shown[2].count(line) == 1
