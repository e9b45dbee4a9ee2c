"""Stored answers and reviews in the shapes in which they are published."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tunalm.data import load
from tunalm.errors import DataError
from tunalm.evaluation.pairwise.answers import load_questions, read_answers, split_name
from tunalm.evaluation.pairwise.reviews import load_reviews
from tunalm.recipe import Data


def jsonl(path: Path, *rows: Any) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


@pytest.mark.parametrize(
    "row",
    [
        {"id": "7", "prediction": "yes"},
        {"question_id": 7, "text": "yes"},
        {"question_id": 7, "choices": [{"index": 0, "turns": ["yes", "and no"]}]},
        {"question_id": 7, "answers": {"tuna": "yes", "alpaca": "no"}},
        {"index": 7, "outputs": {"alpaca": "no", "tuna": "yes"}},
        {"id": 7, "output": "yes", "generator": "tuna"},
    ],
    ids=["tunalm", "vicuna", "mt_bench", "several", "outputs", "alpaca_eval"],
)
def test_every_shape_is_read(tmp_path: Path, row: dict[str, Any]) -> None:
    answers = read_answers(jsonl(tmp_path / "answers.jsonl", row), "tuna")
    assert {name: (answer.model, answer.prediction) for name, answer in answers.items()} == {"7": ("tuna", "yes")}


def test_answers_without_ids_go_by_their_place_and_a_model_is_named_behind_the_file(tmp_path: Path) -> None:
    path = jsonl(tmp_path / "a.jsonl", {"instruction": "x", "output": "1"}, {"instruction": "y", "output": "2"})
    assert {name: answer.prediction for name, answer in read_answers(path).items()} == {"0": "1", "1": "2"}
    assert split_name(f"{path}#alpaca-13b") == (str(path), "alpaca-13b")
    assert split_name(str(path)) == (str(path), None)


def test_the_file_of_an_evaluation_has_other_models_and_benchmarks(tmp_path: Path) -> None:
    base = {"id": "1", "prediction": "yes", "model": "tuna", "benchmark": "vicuna"}
    path = jsonl(
        tmp_path / "p.jsonl", base, {**base, "model": "base", "prediction": "no"}, {**base, "benchmark": "superni"}
    )
    assert read_answers(path, "tuna", "vicuna")["1"].prediction == "yes"
    with pytest.raises(DataError, match="answers of 2 models"):
        read_answers(path, benchmark="vicuna")
    with pytest.raises(DataError, match="Did you mean 'tuna'"):
        read_answers(path, "tunna", "vicuna")


@pytest.mark.parametrize(
    ("rows", "found"),
    [
        ([{"id": 1}], "no text by"),
        ([{"id": 1, "prediction": 5}], "found 5;"),
        ([{"id": 1, "prediction": "a"}, {"id": "1", "prediction": "b"}], "a second answer to question 1"),
        (["yes", "no"], "found str;"),
        ([{"question_id": 1, "choices": []}], "no text by"),
    ],
)
def test_a_wrong_row_is_named(tmp_path: Path, rows: list[Any], found: str) -> None:
    with pytest.raises(DataError, match=found) as error:
        read_answers(jsonl(tmp_path / "a.jsonl", *rows))
    assert "a.jsonl:" in str(error.value)


def test_questions_of_vicuna_and_mt_bench(tmp_path: Path) -> None:
    old = {"question_id": 3, "text": "Why?", "category": "generic"}
    new = {"question_id": 81, "turns": ["Write.", "Again."], "category": "writing", "reference": ["So.", "And so."]}
    rows = [*load(Data(source=str(jsonl(tmp_path / "a", old)))), *load(Data(source=str(jsonl(tmp_path / "b", new))))]
    assert [(row.id, row.instruction, row.task, row.reference) for row in rows] == [
        ("3", "Why?", "generic", None),
        ("81", "Write.", "writing", "So."),
    ]


def test_a_limit_takes_all_categories_in_turn_and_right_answers_are_put_beside(tmp_path: Path) -> None:
    rows = [{"question_id": n, "text": "?", "category": "math" if n > 2 else "generic"} for n in range(1, 5)]
    path = jsonl(tmp_path / "q.jsonl", *rows)
    right = jsonl(tmp_path / "right.jsonl", {"question_id": 3, "text": "three"})
    asked = load_questions(Data(source=str(path), limit=2), str(right))
    assert [(row.id, row.reference) for row in asked] == [("1", None), ("3", "three")]


def test_reviews_of_several_files_are_kept_apart_and_have_one_order_or_both(tmp_path: Path) -> None:
    rows = [
        {"review_file": "a/review_x_y.jsonl", "question_id": 1, "text": "8 9\nso"},
        {"review_file": "a/review_x_z.jsonl", "question_id": 1, "text": "Step 1.\n(9, 2)"},
        {"index": 0, "review": "4 2\nso", "review_reverse": "2 5\nso", "dataset": "koala"},
    ]
    groups = load_reviews(jsonl(tmp_path / "r.jsonl", *rows), {"1": "math"}, "vicuna")
    assert {name: [(row.orders, row.outcome) for row in found] for name, found in groups.items()} == {
        "review_x_y": [(["win"], "win")],
        "review_x_z": [(["loss"], "loss")],
        "koala": [(["loss", "loss"], "loss")],
    }


def test_a_review_of_an_unknown_question_is_refused(tmp_path: Path) -> None:
    path = jsonl(tmp_path / "r.jsonl", {"question_id": 9, "text": "8 9"})
    with pytest.raises(DataError, match="question 9, which is none of 1"):
        load_reviews(path, {"1": None}, "vicuna")
