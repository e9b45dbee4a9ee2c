"""A small run as the stages leave it, whose texts do their worst."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tunalm.recipe import Recipe
from tunalm.records import (
    Difference,
    EvaluationKnobs,
    EvaluationResults,
    ModelResults,
    Prediction,
    Ranking,
    Response,
    Result,
    StageState,
    TaskMean,
    Verdict,
)
from tunalm.reporting.run import Run
from tunalm.store import write_json, write_rows

HOSTILE = (
    "<script>alert(1)</script>\"'><img src=http://evil.example/x onerror=alert(2)>{{ 7*7 }}$x^$\u202e\x00\x1b[31m&amp;"
)


def result(value: float, **changed: Any) -> Result:
    """One model's result on one benchmark."""
    mean = {"brief": TaskMean(value=value, n=100)}
    known = {
        "value": value,
        "ci95": (value - 4, value + 4),
        "n": 100,
        "by_task": mean,
        "mean_tokens": 12.5,
        "cut": 0.02,
    }
    return Result(**{"metric": "success"} | known | changed)


def _difference(model: str, against: str, difference: float, p_holm: float) -> Difference:
    ends = difference - 5, difference + 5
    known: dict[str, Any] = {"metric": "success", "wins": 20, "losses": 10, "ties": 70, "p_value": p_holm / 3}
    return Difference(
        benchmark="checkable",
        model=model,
        against=against,
        difference=difference,
        ci95=ends,
        p_holm=p_holm,
        **known,
    )


def results(*names: str) -> EvaluationResults:
    """Results of three models, the last of which is better than the others."""
    first, second, third = names or ("base", "sft", "tuna")
    found = {first: result(20.0), second: result(21.0), third: result(31.2, failed=3)}
    return EvaluationResults(
        baseline=first,
        models={
            name: ModelResults(identity=f"model {name}", results={"checkable": each}) for name, each in found.items()
        },
        comparisons=[
            _difference(second, first, 1.0, 0.8),
            _difference(third, first, 11.2, 0.003),
            _difference(third, second, 10.2, 0.004),
        ],
        settings=EvaluationKnobs(bootstrap_samples=2000, seed=0, max_new_tokens=32),
    )


def _ranking(index: int, *, ranked: bool) -> Ranking:
    responses = [
        Response(
            text=f"{HOSTILE} {index}/{slot}",
            num_tokens=10 + slot,
            attempts=1 + slot % 2,
            max_rouge_l=slot / 4,
            rank=slot if ranked else None,
            score=-float(slot) if ranked else None,
        )
        for slot in range(4)
    ]
    return Ranking(id=f"row-{index}", instruction=HOSTILE, reference=HOSTILE, responses=responses)


@pytest.fixture
def fake_run(tmp_path: Path) -> Run:
    """A finished run of four stages; names, texts and errors are hostile wherever they can be."""
    return _write_run(tmp_path)


@pytest.fixture(scope="module")
def read_only_run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """The same run, for tests that leave it as it is."""
    return _write_run(tmp_path_factory.mktemp("run"))


def _write_run(path: Path) -> Run:
    stages: dict[str, Any] = {
        "own": {"kind": "sample", "engine": {"kind": "scripted"}, "data": "checkable:train", "max_rouge_l": 0.8},
        "by_checker": {"kind": "rank", "by": "verifier", "responses": "own"},
        "tuna": {"kind": "train", "start": "embedded:smollm2", "rankings": "by_checker"},
        "scores": {"kind": "evaluate", "models": ["tuna"], "benchmarks": ["checkable"]},
    }
    kinds = {name: stage["kind"] for name, stage in stages.items()}
    counts: dict[str, Any] = {"requested": 4, "ok": 4, "seconds": 75.0, "details": {"some_detail": HOSTILE}}
    states = {name: StageState(status="done", kind=kind, **counts) for name, kind in kinds.items()}
    for name in kinds:
        (path / name).mkdir()
    write_rows(path / "own" / "responses.jsonl", [_ranking(index, ranked=False) for index in range(5)])
    write_rows(path / "by_checker" / "rankings.jsonl", [_ranking(index, ranked=True) for index in range(5)])
    steps = [
        {
            "step": step,
            "loss": 3 - step / 4,
            "loss_rank": 1.0,
            "loss_mle": 2 - step / 4,
            "pair_accuracy": 0.5,
            "pair_accuracy_gap_1": 0.4,
            "margins_met": 0.2,
            "v_rank_0": -1.0,
            "v_rank_1": -1.2,
            "v_reference": -1.1,
            "eos_logprob": -2.0,
            "response_tokens": 14,
            "grad_norm": float("nan") if step == 2 else 1.0,
            "learning_rate": 1e-5,
        }
        for step in range(1, 5)
    ]
    lines = [json.dumps(step) for step in steps]
    (path / "tuna" / "metrics.jsonl").write_text("\n".join([*lines, '{"step": 5, "lo']), encoding="utf-8")
    names = ("base", HOSTILE, "tuna")
    write_json(path / "scores" / "results.json", results(*names).model_dump(mode="json"))
    answers = [(f"held-{index}", name, float(name == "tuna")) for name in names for index in range(12)]
    write_rows(
        path / "scores" / "predictions.jsonl",
        [
            Prediction(id=row, benchmark="checkable", model=name, instruction=HOSTILE, prediction=f"{HOSTILE} of {row}")
            for row, name, _ in answers
        ],
    )
    write_rows(
        path / "scores" / "rows.jsonl",
        [
            Verdict(id=row, benchmark="checkable", model=name, metric="success", score=score)
            for row, name, score in answers
        ],
    )
    manifest = {"command": f"tunalm run {HOSTILE}", "git_commit": "abc123", "versions": {"torch": "2.13.0"}}
    write_json(path / "manifest.json", manifest)
    recipe = {"name": "line", "description": HOSTILE, "inputs": {"note": HOSTILE}, "seed": 0, "stages": stages}
    return Run(path, Recipe.model_validate(recipe), states)
