"""Two rounds on a random model, left alone and killed in the middle of the second."""

from __future__ import annotations

import hashlib
import json
import multiprocessing
import os
import re
import signal
import sys
from pathlib import Path
from typing import Any

import pytest

from tunalm.pipeline.running import run_recipe
from tunalm.recipe.loading import build_recipe

pytestmark = pytest.mark.slow


def rounds(model: str, checker: str) -> dict[str, Any]:
    data = {"source": "checkable:train", "rows": ":6", "references": ":3"}
    held_out = {"name": "checkable", "data": {"source": "checkable:train", "rows": "-4:"}, "max_new_tokens": 4}
    return {
        "name": "rounds",
        "stages": {
            "own": {"kind": "sample", "engine": model, "data": data, "max_new_tokens": 4},
            "by_length": {"kind": "rank", "by": "verifier", "verifier": checker, "responses": "own"},
            "tuna": {
                "kind": "train",
                "start": model,
                "rankings": "by_length",
                "imitate": "reference_or_best",
                "learning_rate": 1e-2,
                "batch_size": 2,
                "save_steps": 1,
                "rounds": {"times": 2, "keep_lists": True, "patience": 1, "held_out": held_out},
            },
            "scores": {
                "kind": "evaluate",
                "models": {"base": model, "tuna": "tuna"},
                "benchmarks": [{"name": "checkable", "data": {"source": "checkable:heldout", "limit": 4}}],
                "max_new_tokens": 4,
                "bootstrap_samples": 100,
            },
        },
    }


def run(model: str, checker: str, folder: str, deadly: str) -> None:
    """What a child does: it kills itself as it touches the second time what `deadly` names."""
    os.environ["TUNALM_QUIET"] = "1"
    touched = 0

    def watch(event: str, arguments: tuple[object, ...]) -> None:
        nonlocal touched
        if deadly and event in ("open", "os.mkdir") and re.search(deadly, str(arguments[0])):
            touched += 1
            if touched == 2:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(watch)
    run_recipe(build_recipe(rounds(model, checker)), folder)


def made(folder: Path) -> tuple[list[str], Any]:
    """The weights of both rounds, and the scores."""
    weights = [folder / stage / "model" / "model.safetensors" for stage in ("tuna_1", "tuna_2")]
    models = json.loads((folder / "results.json").read_text(encoding="utf-8"))["models"]
    scores = {name: model["results"] for name, model in models.items()}
    return [hashlib.sha256(path.read_bytes()).hexdigest() for path in weights], scores


def test_rounds_that_are_killed_in_the_second_end_in_the_same_weights(tiny_model: Path, tmp_path: Path) -> None:
    checker = tmp_path / "checker.py"
    checker.write_text("def length(instruction, text):\n    return len(text) % 5 / 4\n", encoding="utf-8")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["tunalm.training", "tunalm.sampling", "tunalm.evaluation", "tunalm.reporting"])
    codes = []
    for folder, deadly in [
        ("whole", ""),
        ("killed", "own_2/"),
        ("killed", "tuna_2/.*checkpoint-"),
        ("killed", "tuna_held_out_2/"),
        ("killed", ""),
    ]:
        child = context.Process(target=run, args=(str(tiny_model), f"{checker}:length", str(tmp_path / folder), deadly))
        child.start()
        child.join()
        codes.append(child.exitcode)
    assert codes == [0, -signal.SIGKILL, -signal.SIGKILL, -signal.SIGKILL, 0]
    assert made(tmp_path / "killed") == made(tmp_path / "whole")
    details = json.loads((tmp_path / "whole" / "tuna_2" / "stage.json").read_text(encoding="utf-8"))["details"]
    assert details["lists"] == [6, 6], "the lists of the first round are kept"
    report = (tmp_path / "whole" / "report.html").read_text(encoding="utf-8")
    assert "Round by round" in report
    assert "tuna ends with round 2" in report
