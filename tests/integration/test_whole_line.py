"""The paper's line from a base model to the report, on a random model, uninterrupted and killed again and again."""

from __future__ import annotations

import hashlib
import json
import multiprocessing
import os
import random
import signal
import time
from pathlib import Path
from typing import Any

import pytest
from transformers import AutoModelForCausalLM, AutoTokenizer

from tunalm.pipeline.running import run_recipe
from tunalm.recipe.loading import build_recipe
from tunalm.records import Ranking
from tunalm.store import read_rows

KILLS = 8


def line(model: Path) -> dict[str, Any]:
    """The quickstart's stages, small."""
    data = {"source": "checkable:train", "limit": 6}
    train = {"kind": "train", "learning_rate": 1e-2, "batch_size": 2, "max_length": 512, "save_steps": 1}
    return {
        "name": "line",
        "stages": {
            "sft": {**train, "kind": "sft", "model": str(model), "data": data, "epochs": 1},
            "teacher": {
                "kind": "sample",
                "engine": "sft",
                "data": data,
                "logprobs": True,
                "max_new_tokens": 8,
                "demonstrations": 1,
            },
            "by_teacher": {"kind": "rank", "by": "likelihood", "responses": "teacher"},
            "tuna_p": {**train, "start": "sft", "rankings": "by_teacher"},
            "own": {"kind": "sample", "engine": "tuna_p", "data": data, "max_rouge_l": 0.8, "max_new_tokens": 8},
            "by_checker": {"kind": "rank", "by": "verifier", "responses": "own"},
            "tuna": {**train, "start": "tuna_p", "rankings": "by_checker"},
            "scores": {
                "kind": "evaluate",
                "models": {"base": str(model), "tuna": "tuna"},
                "benchmarks": [{"name": "checkable", "data": {"source": "checkable:heldout", "limit": 8}}],
                "max_new_tokens": 8,
                "bootstrap_samples": 100,
            },
        },
    }


def run_line(model: str, run_dir: str) -> None:
    """What the killed process does."""
    import torch

    os.environ["TUNALM_QUIET"] = "1"
    torch.set_num_threads(1)
    run_recipe(build_recipe(line(Path(model))), run_dir)


def weights(run: Path, stage: str) -> str:
    return hashlib.sha256((run / stage / "model" / "model.safetensors").read_bytes()).hexdigest()


def scores(run: Path) -> Any:
    """Results without the names of folders, which differ from run to run."""
    models = json.loads((run / "results.json").read_text(encoding="utf-8"))["models"]
    return {name: model["results"] for name, model in models.items()}


@pytest.fixture(scope="module")
def forks() -> Any:
    """Processes that start at once, because the server that they are forked from has imported everything."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["tunalm.training", "tunalm.sampling", "tunalm.evaluation", "tunalm.reporting"])
    return context


@pytest.fixture(scope="module")
def finished(forks: Any, tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, float]:
    """An uninterrupted run and the seconds that it took."""
    run = tmp_path_factory.mktemp("whole") / "run"
    warm_up = forks.Process(target=time.sleep, args=(0,))
    warm_up.start()
    warm_up.join()
    started = time.monotonic()
    process = forks.Process(target=run_line, args=(str(tiny_model), str(run)))
    process.start()
    process.join()
    assert process.exitcode == 0
    return run, time.monotonic() - started


def test_the_line_gives_models_results_and_a_report(finished: tuple[Path, float]) -> None:
    run, _ = finished
    ranked = read_rows(run / "by_teacher" / "rankings.jsonl", Ranking)
    assert [len(row.responses) for row in ranked] == [4] * 6
    assert all(sorted({r.rank for r in row.responses if r.rank is not None})[0] == 0 for row in ranked)
    for model in ("sft", "tuna_p", "tuna"):
        loaded: Any = AutoModelForCausalLM.from_pretrained(run / model / "model")
        tokenizer = AutoTokenizer.from_pretrained(run / model / "model")
        asked = [{"role": "user", "content": "Say yes."}]
        prompt: Any = tokenizer.apply_chat_template(asked, add_generation_prompt=True, return_tensors="pt")
        answer: Any = loaded.generate(**prompt, max_new_tokens=2)
        assert answer.shape[1] > prompt["input_ids"].shape[1]
    assert len({weights(run, model) for model in ("sft", "tuna_p", "tuna")}) == 3
    assert set(scores(run)) == {"base", "tuna"}
    report = (run / "report.html").read_text(encoding="utf-8")
    assert "tuna_p" in report
    assert "<script" not in report
    manifest = json.loads((run / "manifest.json").read_text(encoding="utf-8"))
    for stage in manifest["stages"].values():
        assert stage["requested"] == stage["ok"] + stage["failed"] + stage["unknown"]


def test_killed_at_random_moments_it_ends_in_the_same_model(
    forks: Any, finished: tuple[Path, float], tiny_model: Path, tmp_path: Path
) -> None:
    whole, seconds = finished
    moments = random.Random(0)
    killed = 0
    run = tmp_path / "run"
    while True:
        process = forks.Process(target=run_line, args=(str(tiny_model), str(run)))
        process.start()
        process.join(moments.uniform(0, seconds / (KILLS - killed + 1)) if killed < KILLS else None)
        if process.exitcode is not None:
            assert process.exitcode == 0
            break
        os.kill(process.pid, signal.SIGKILL)
        process.join()
        killed += 1
    assert killed > 0
    for model in ("sft", "tuna_p", "tuna"):
        assert weights(run, model) == weights(whole, model)
    assert scores(run) == scores(whole)
