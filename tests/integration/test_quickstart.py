"""The shipped quickstart on the real embedded model, with a handful of instructions."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

RECIPE = Path(__file__).resolve().parents[2] / "recipes" / "quickstart.yaml"
STAGES = 6


def tunalm(*words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "tunalm", *words]
    return subprocess.run(command, capture_output=True, text=True, timeout=540, check=False)


@pytest.mark.slow
def test_the_quickstart_runs_on_smollm2_and_is_skipped_the_second_time(tmp_path: Path) -> None:
    short = ("stages.sft.epochs=2", "stages.sft_longer.max_steps=2", "stages.tuna.max_steps=2")
    words = ("run", str(RECIPE), "--limit", "8", *short, "--run-dir", str(tmp_path))
    first = tunalm(*words)
    assert first.returncode == 0, first.stderr[-2000:]
    results = json.loads((tmp_path / "results.json").read_text(encoding="utf-8"))
    assert list(results["models"]) == ["base", "sft", "sft_longer", "tuna"]
    assert all(model["results"]["checkable"]["n"] == 8 for model in results["models"].values())
    assert (tmp_path / "tuna" / "model" / "model.safetensors").is_file()
    assert "sft_longer" in first.stdout
    second = tunalm(*words)
    assert second.returncode == 0
    assert second.stderr.count("done before, skipped") == STAGES
