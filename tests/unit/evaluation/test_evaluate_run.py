"""The stage `evaluate` on scripted models."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tunalm.calls.context import StageContext
from tunalm.data.checkable import generate
from tunalm.engines.base import Completion, Engine, Request
from tunalm.engines.scripted import ScriptedEngine
from tunalm.errors import EngineError
from tunalm.evaluation import evaluate, run
from tunalm.recipe import BenchmarkSettings, Evaluate
from tunalm.records import Prediction, Verdict
from tunalm.store import read_rows

ROWS = 40
REFERENCES = {row.instruction: row.reference or "" for row in generate("heldout")}


def right(request: Request) -> str:
    return REFERENCES[request.messages[-1].content]


def wrong(request: Request) -> str:
    return ""


def every_fourth_right(request: Request) -> str:
    return right(request) if int(request.key[-1]) % 4 == 0 else ""


def broken(request: Request) -> Completion | str:
    return Completion(key=request.key, failure="connection refused") if request.key.endswith("0") else right(request)


def settings(*models: str, **knobs: Any) -> Evaluate:
    benchmark = {"name": "checkable", "data": {"source": "checkable:heldout", "limit": ROWS}}
    tree = {"models": list(models), "benchmarks": [benchmark], "bootstrap_samples": 200, **knobs}
    return Evaluate.model_validate({"kind": "evaluate", **tree})


@pytest.fixture
def context(tmp_path: Path) -> StageContext:
    folder = tmp_path / "scores"
    folder.mkdir()
    return StageContext(folder, tmp_path / "ledger.sqlite")


Open = Callable[..., list[Request]]


@pytest.fixture
def models(monkeypatch: pytest.MonkeyPatch) -> Open:
    """Put functions in the place of models by their names; returns the requests that they will have been asked."""

    def install(**functions: Callable[[Request], Completion | str]) -> list[Request]:
        asked: list[Request] = []

        def open_engine(engine: Any, *, trust_remote_code: bool = False) -> Engine:
            def answer(request: Request) -> Completion | str:
                asked.append(request)
                return functions[engine.model](request)

            return ScriptedEngine.from_function(answer, engine.model, batch_size=4)

        monkeypatch.setattr("tunalm.calls.context.open_engine", open_engine)
        return asked

    return install


def results_of(context: StageContext) -> dict[str, Any]:
    value = json.loads((context.folder / "results.json").read_text(encoding="utf-8"))
    assert isinstance(value, dict)
    return value


def test_models_whose_scores_are_known_are_each_compared_with_every_earlier_one(
    context: StageContext, models: Open
) -> None:
    models(base=wrong, student=every_fourth_right, teacher=right)
    summary = run(settings("base", "student", "teacher"), context)
    results = results_of(context)
    values = {name: model["results"]["checkable"]["value"] for name, model in results["models"].items()}
    expected = 100 * sum(int(row.id[-1]) % 4 == 0 for row in generate("heldout")[:ROWS]) / ROWS
    assert values == {"base": 0.0, "student": pytest.approx(expected), "teacher": 100.0}
    assert (summary.requested, summary.ok, summary.failed, summary.unknown) == (3 * ROWS, 3 * ROWS, 0, 0)
    assert summary.details == {"checkable": values}
    student = results["models"]["student"]["results"]["checkable"]
    assert sum(task["n"] for task in student["by_task"].values()) == student["n"] == ROWS
    total = sum(task["value"] * task["n"] for task in student["by_task"].values())
    assert total / ROWS == pytest.approx(student["value"], abs=1e-3)
    assert results["schema_version"] == 1
    assert results["baseline"] == "base"
    assert results["settings"] == {"bootstrap_samples": 200, "seed": 0, "max_new_tokens": 256}
    pairs = {(each["model"], each["against"]): each for each in results["comparisons"]}
    assert list(pairs) == [("student", "base"), ("teacher", "base"), ("teacher", "student")]
    one = pairs["teacher", "student"]
    assert one["difference"] == pytest.approx(100 - values["student"])
    assert one["wins"] + one["ties"] == ROWS
    assert one["losses"] == 0
    assert one["ci95"][0] < one["difference"] < one["ci95"][1]
    assert one["p_value"] <= one["p_holm"] < 0.01
    assert pairs["teacher", "base"]["ci95"] is None


def test_a_failed_answer_is_counted_has_no_score_and_weighs_as_wrong(context: StageContext, models: Open) -> None:
    models(base=broken)
    summary = run(settings("base"), context)
    failed = sum(row.id.endswith("0") for row in generate("heldout")[:ROWS])
    result = results_of(context)["models"]["base"]["results"]["checkable"]
    assert failed > 0
    assert (summary.ok, summary.failed) == (ROWS - failed, failed)
    assert (result["n"], result["failed"]) == (ROWS, failed)
    assert result["value"] == pytest.approx(100 * (ROWS - failed) / ROWS)
    verdicts = [row for row in read_rows(context.folder / "rows.jsonl", Verdict) if row.failure]
    assert [(row.score, row.failure) for row in verdicts] == [(None, "connection refused")] * failed
    asked = models(base=right)
    assert run(settings("base"), context).failed == 0
    assert failed <= len(asked) <= 4 * failed, "failed answers are asked for again"


def test_predictions_say_what_was_asked_and_answered(context: StageContext, models: Open) -> None:
    asked = models(base=right)
    run(settings("base", max_new_tokens=3), context)
    predictions = read_rows(context.folder / "predictions.jsonl", Prediction)
    assert [row.id for row in predictions] == [row.id for row in generate("heldout")[:ROWS]]
    assert {request.temperature for request in asked} == {0.0}
    assert {request.max_new_tokens for request in asked} == {3}
    first = predictions[0]
    assert first.instruction in REFERENCES
    assert first.references == [REFERENCES[first.instruction]]
    assert (first.finish_reason, first.num_tokens) == ("length", 3)
    assert len(first.prompt_sha256) == 64
    assert results_of(context)["models"]["base"]["results"]["checkable"]["cut"] > 0


def test_predictions_are_saved_before_anything_is_scored(
    context: StageContext, models: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    models(base=right)

    def fail(checker: object, text: str) -> float:
        raise RuntimeError

    monkeypatch.setattr("tunalm.evaluation.checkable.check", fail)
    with pytest.raises(RuntimeError):
        run(settings("base"), context)
    assert len(read_rows(context.folder / "predictions.jsonl", Prediction)) == ROWS


def test_a_second_call_asks_nothing_and_writes_the_same_bytes(context: StageContext, models: Open) -> None:
    models(base=every_fourth_right, tuna=right)
    run(settings("base", "tuna"), context)
    names = ["predictions.jsonl", "rows.jsonl", "results.json"]
    before = [(context.folder / name).read_bytes() for name in names]
    asked = models(base=every_fourth_right, tuna=right)
    run(settings("base", "tuna"), context)
    assert asked == []
    assert [(context.folder / name).read_bytes() for name in names] == before


def test_an_interrupted_evaluation_goes_on_with_what_is_missing(context: StageContext, models: Open) -> None:
    def dies(request: Request) -> str:
        if "/brief/" in request.key:
            raise EngineError("engine", found="no server", expected="one", fix="Start it.")
        return right(request)

    wanted = settings("base", "tuna")
    wanted.benchmarks[0].instructions.limit = 80
    first = models(base=right, tuna=dies)
    with pytest.raises(EngineError):
        run(wanted, context)
    done = len(first) - 1
    second = models(base=right, tuna=right)
    summary = run(wanted, context)
    assert summary.ok == 160
    assert 160 - done <= len(second) <= 160 - done + 4


def test_two_benchmarks_share_one_run(context: StageContext, models: Open, tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    text, reference = next(iter(REFERENCES.items()))
    path.write_text(json.dumps({"instruction": text, "output": reference}) + "\n", encoding="utf-8")
    models(base=wrong, tuna=right)
    wanted = settings("base", "tuna").model_dump()
    wanted["benchmarks"].append({"name": "reference", "data": {"source": str(path)}})
    run(Evaluate.model_validate(wanted), context)
    results = results_of(context)
    assert {name: result["metric"] for name, result in results["models"]["tuna"]["results"].items()} == {
        "checkable": "success",
        "reference": "rougeL",
    }
    assert results["models"]["tuna"]["results"]["reference"]["value"] == 100.0
    assert results["models"]["tuna"]["results"]["reference"]["by_task"] == {}
    assert len(results["comparisons"]) == 2


def test_comparisons_may_be_those_with_the_first_model_alone(context: StageContext, models: Open) -> None:
    models(base=wrong, student=every_fourth_right, teacher=right)
    run(settings("base", "student", "teacher", comparisons="first"), context)
    pairs = results_of(context)["comparisons"]
    assert [(each["model"], each["against"]) for each in pairs] == [("student", "base"), ("teacher", "base")]
    smallest = min(pairs, key=lambda each: each["p_value"])
    assert smallest["p_holm"] == pytest.approx(2 * smallest["p_value"]), "of two comparisons, not of three"


def test_without_a_folder_the_records_are_returned_and_nothing_is_written(
    context: StageContext, models: Open, tmp_path: Path
) -> None:
    models(base=right)
    found = evaluate(settings("base"), context.calls)
    assert (len(found.predictions), len(found.verdicts)) == (ROWS, ROWS)
    assert found.results.models["base"].results["checkable"].value == 100.0
    assert list(context.folder.iterdir()) == []


@pytest.mark.parametrize(
    ("short", "name", "source"),
    [
        ("checkable", "checkable", "checkable:heldout"),
        ("checkable:heldout", "checkable", "checkable:heldout"),
        ("reference:rows.jsonl", "reference", "rows.jsonl"),
    ],
)
def test_a_benchmark_may_be_written_as_its_name_and_its_data(short: str, name: str, source: str) -> None:
    benchmark = BenchmarkSettings.model_validate(short)
    assert (benchmark.name, benchmark.instructions.source) == (name, source)
