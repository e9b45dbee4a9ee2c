"""A judge in an evaluation, and on the command line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError
from typer.testing import CliRunner

from tunalm.calls.context import StageContext
from tunalm.cli.app import app
from tunalm.engines.base import Completion, Engine, Request
from tunalm.engines.scripted import ScriptedEngine
from tunalm.errors import EXIT_FAILED_ROWS, DataError
from tunalm.evaluation import check, run
from tunalm.recipe import Evaluate

QUESTIONS = [
    {"question_id": number, "text": f"Question {number}?", "category": "math" if number % 4 == 0 else "generic"}
    for number in range(1, 13)
]
JUDGE = {"kind": "scripted"}


def jsonl(path: Path, rows: list[Any]) -> str:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return str(path)


def longest(request: Request) -> str:
    """A judge whose verdict does not depend on places."""
    prompt = request.messages[-1].content
    first, second = (prompt.split(f"begin response {name} ")[1].split("\n")[1] for name in "AB")
    return "[[C]]" if len(first) == len(second) else "[[A]]" if len(first) > len(second) else "[[B]]"


@pytest.fixture
def context(tmp_path: Path) -> StageContext:
    folder = tmp_path / "scores"
    folder.mkdir()
    return StageContext(folder, tmp_path / "ledger.sqlite")


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[Request]:
    """Models that answer with their name, some of them with dots behind it, and the judge's requests."""
    requests: list[Request] = []

    def model(settings: Any) -> Engine:
        def answer(request: Request) -> Completion | str:
            number = int(request.key.rpartition("/")[2])
            if settings.model == "fail" and number == 1:
                return Completion(key=request.key, failure="timed out")
            return settings.model if settings.model == "base" or number > 8 else f"{settings.model} ..."

        return ScriptedEngine.from_function(answer, settings.model)

    def judge(settings: Any) -> Engine:
        def answer(request: Request) -> str:
            requests.append(request)
            return "no idea" if "Question 2?" in request.messages[-1].content else longest(request)

        return ScriptedEngine.from_function(answer, "judge")

    def open_engine(settings: Any, *, trust_remote_code: bool = False) -> Engine:
        return (judge if settings.kind == "scripted" else model)(settings)

    monkeypatch.setattr("tunalm.calls.context.open_engine", open_engine)
    return requests


def evaluation(tmp_path: Path, *models: str, **benchmark: Any) -> Evaluate:
    source = jsonl(tmp_path / "questions.jsonl", QUESTIONS)
    vicuna = {"name": "vicuna", "data": source, "judge": JUDGE, **benchmark}
    tree = {"kind": "evaluate", "models": list(models), "benchmarks": [vicuna], "bootstrap_samples": 200}
    return Evaluate.model_validate(tree)


def outcome(context: StageContext) -> dict[str, Any]:
    value: dict[str, Any] = json.loads((context.folder / "results.json").read_text(encoding="utf-8"))
    return value


def test_models_are_compared_with_the_first_one(tmp_path: Path, context: StageContext, asked: list[Request]) -> None:
    summary = run(evaluation(tmp_path, "base", "tuna"), context)
    results = outcome(context)
    base, tuna = (results["models"][name]["results"]["vicuna"] for name in ("base", "tuna"))
    assert (base["value"], base["n"], base["unjudged"]) == (50.0, 12, 0)
    assert (tuna["n"], tuna["unjudged"], tuna["failed"]) == (11, 1, 0)
    assert tuna["value"] == pytest.approx(100 * (7 + 4 / 2) / 11, abs=1e-4)
    assert tuna["totals"]["win"] == pytest.approx(100 * 7 / 12, abs=1e-4)
    assert "sound mode" in tuna["note"]
    assert results["comparisons"][0]["difference"] == pytest.approx(tuna["value"] - 50, abs=1e-4)
    assert summary.failed == 1
    assert len(asked) == 2 * 12


def test_a_second_call_asks_the_judge_only_what_has_no_answer(
    tmp_path: Path, context: StageContext, asked: list[Request]
) -> None:
    run(evaluation(tmp_path, "base", "tuna"), context)
    first = len(asked)
    before = (context.folder / "results.json").read_bytes()
    run(evaluation(tmp_path, "base", "tuna"), context)
    assert len(asked) == first
    assert (context.folder / "results.json").read_bytes() == before


def test_stored_answers_are_an_opponent(tmp_path: Path, context: StageContext, asked: list[Request]) -> None:
    rows = [{"question_id": row["question_id"], "text": "alpaca answers at length"} for row in QUESTIONS]
    stored = jsonl(tmp_path / "alpaca.jsonl", rows)
    run(evaluation(tmp_path, "base", "tuna", against=stored), context)
    models = outcome(context)["models"]
    assert [models[name]["results"]["vicuna"]["value"] for name in ("base", "tuna")] == [0.0, 0.0]
    assert models["base"]["results"]["vicuna"]["totals"]["loss"] == pytest.approx(100 * 11 / 12, abs=1e-4)


def test_stored_answers_must_be_to_these_questions(tmp_path: Path) -> None:
    """It is found before any model is asked."""
    rows = [{"id": str(row["question_id"]), "instruction": "Another?", "output": "x"} for row in QUESTIONS]
    with pytest.raises(DataError, match="an answer to another question"):
        check(evaluation(tmp_path, "base", against=jsonl(tmp_path / "alpaca.jsonl", rows)))
    with pytest.raises(DataError, match="no answer to 11 of 12 questions"):
        check(evaluation(tmp_path, "base", against=jsonl(tmp_path / "one.jsonl", rows[:1])))
    check(evaluation(tmp_path, "base", "tuna", against="tuna"))


def test_an_answer_that_failed_weighs_as_lost(tmp_path: Path, context: StageContext, asked: list[Request]) -> None:
    summary = run(evaluation(tmp_path, "base", "fail"), context)
    broken = outcome(context)["models"]["fail"]["results"]["vicuna"]
    assert (broken["failed"], broken["unjudged"], broken["n"]) == (1, 1, 11)
    assert broken["value"] == pytest.approx(100 * (6 + 4 / 2) / 11, abs=1e-4)
    assert summary.failed == 2


def test_right_answers_reach_the_judge(tmp_path: Path, context: StageContext, asked: list[Request]) -> None:
    right = jsonl(tmp_path / "right.jsonl", [{"question_id": 4, "text": "the right one"}])
    run(evaluation(tmp_path, "base", "tuna", right_answers=right), context)
    assert sum("the right one" in request.messages[-1].content for request in asked) == 2


@pytest.mark.parametrize(
    ("models", "knobs", "complaint"),
    [
        (["base"], {"judge": None}, "vicuna needs a judge"),
        (["base", "tuna"], {"against": "alpca"}, "against must be one of base, tuna, or a file"),
        (["base"], {"against": None}, "vicuna would compare the only model with itself: set its against"),
        (["base"], {"against": "base"}, "vicuna would compare the only model with itself: set its against"),
    ],
)
def test_a_comparison_needs_a_judge_and_somebody_else(
    tmp_path: Path, models: list[str], knobs: dict[str, Any], complaint: str
) -> None:
    with pytest.raises(ValidationError, match=complaint):
        evaluation(tmp_path, *models, **knobs)


def scored(tmp_path: Path, *options: str) -> tuple[int, str, dict[str, Any]]:
    files = ["--output", str(tmp_path / "r.json"), "--rows", str(tmp_path / "rows.jsonl")]
    questions = ["--questions", jsonl(tmp_path / "questions.jsonl", QUESTIONS)]
    done = CliRunner().invoke(app, ["score", "vicuna", *questions, *files, *options], catch_exceptions=False)
    return done.exit_code, done.output, json.loads((tmp_path / "r.json").read_text(encoding="utf-8"))["results"]


def test_saved_answers_are_scored_and_their_reviews_scored_again(tmp_path: Path) -> None:
    mine = jsonl(tmp_path / "mine.jsonl", [{"id": str(row["question_id"]), "prediction": "x"} for row in QUESTIONS])
    other = jsonl(tmp_path / "other.jsonl", [{"id": str(row["question_id"]), "prediction": "y"} for row in QUESTIONS])
    judge = ["--judge", "kind=scripted", "--judge", 'replies=["6 9"]']
    code, output, results = scored(tmp_path, "--predictions", mine, "--against", other, *judge, "--mode", "paper")
    assert (code, results["vicuna"]["win"]) == (0, 100.0)
    assert "not the whole benchmark of 80 questions" in output
    rows = (tmp_path / "rows.jsonl").read_text(encoding="utf-8")
    (tmp_path / "stored.jsonl").write_text(rows, encoding="utf-8")
    code, _, again = scored(tmp_path, "--reviews", str(tmp_path / "stored.jsonl"))
    assert (code, again["vicuna"]) == (0, results["vicuna"])
    assert (tmp_path / "rows.jsonl").read_text(encoding="utf-8") == rows


def test_two_modes_of_judging_stand_side_by_side_under_titles(tmp_path: Path, context: StageContext) -> None:
    models = {name: {"kind": "scripted", "replies": [name]} for name in ("base", "tuna")}
    vicuna = {"name": "vicuna", "data": jsonl(tmp_path / "questions.jsonl", QUESTIONS)}
    sound = {**vicuna, "title": "in both orders", "judge": {"kind": "scripted", "replies": ["[[A]]"]}}
    scorer = {"kind": "scripted", "replies": ["6 9"]}
    paper = {**vicuna, "title": "as published", "mode": "paper", "against": "base", "judge": scorer}
    tree = {"kind": "evaluate", "models": models, "benchmarks": [sound, paper], "bootstrap_samples": 200}
    run(Evaluate.model_validate(tree), context)
    found = outcome(context)["models"]["tuna"]["results"]
    assert {title: result["value"] for title, result in found.items()} == {
        "in both orders": 50.0,
        "as published": 100.0,
    }
    assert [result["totals"]["win"] for result in found.values()] == [0.0, 100.0]
    written = context.folder / "harness" / "tuna" / "results_as published.json"
    assert json.loads(written.read_text(encoding="utf-8"))["configs"]["vicuna"]["mode"] == "paper"
    saved = str(context.folder / "predictions.jsonl")
    judge = ["--judge", "kind=scripted", "--judge", 'replies=["6 9"]', "--mode", "paper"]
    answers = ["--predictions", f"{saved}#tuna", "--against", f"{saved}#base", "--benchmark", "as published"]
    code, _, again = scored(tmp_path, *answers, *judge)
    assert (code, again["vicuna"]) == (0, found["as published"]["totals"])


def test_reviews_without_scores_are_counted_and_end_with_their_exit_code(tmp_path: Path) -> None:
    reviews = [{"question_id": 1, "text": "8 9\nso"}, {"question_id": 2, "text": "Both are fine."}]
    code, output, results = scored(tmp_path, "--reviews", jsonl(tmp_path / "reviews.jsonl", reviews))
    assert (code, results["vicuna"]["unjudged"], results["vicuna"]["win"]) == (EXIT_FAILED_ROWS, 50.0, 50.0)
    assert "1 of 2 without a verdict; the first: the review has no two scores on its first line" in output
