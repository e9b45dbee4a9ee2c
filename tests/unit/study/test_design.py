"""A study is blind, balanced and refuses what would make it unfair."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from tests.unit.study.conftest import QUESTIONS, SYSTEMS
from tunalm.errors import DataError, StoreError
from tunalm.records import Prediction
from tunalm.store import read_rows, write_rows
from tunalm.study import design
from tunalm.study.book import Book, Page
from tunalm.study.design import Plan, read_key


def test_what_raters_see_names_no_system(study: Path) -> None:
    shown = (study / "study.sqlite").read_bytes()
    for page in pages(study):
        assert set(page.answers) <= {"A", "B", "C"}
    for name in SYSTEMS:
        assert f'"{name}"'.encode() not in shown


def pages(study: Path) -> list[Page]:
    book = Book(study / "study.sqlite")
    found = [book.page(rater, number) for rater in book.raters() for number in range(book.pages(rater))]
    return [page for page in found if page is not None]


def test_the_key_gives_every_letter_its_author(study: Path) -> None:
    key = read_key(study)
    for page in pages(study):
        item = key.items[f"{page.rater}/{page.number}"]
        for letter, systems in item.letters.items():
            for system in systems:
                assert page.answers[letter] in (f"{system} answers {item.question[1:]}", "the same")


def test_equal_answers_are_shown_once(study: Path) -> None:
    key = read_key(study)
    shared = [item for item in key.items.values() if item.question == "q0"]
    assert len(shared) == 2
    assert all(sorted(map(sorted, item.letters.values())) == [["base"], ["sft", "tuna"]] for item in shared)


def test_orders_differ_between_raters_and_depend_on_the_seed_alone(run: Path, plan: Plan, tmp_path: Path) -> None:
    answers = design.read_answers(run, plan, "vicuna")
    keys = []
    for name, seed in (("one", 7), ("two", 7), ("three", 8)):
        design.make(answers, replace(plan, seed=seed), tmp_path / name)
        keys.append(read_key(tmp_path / name).items)
    assert keys[0] == keys[1] != keys[2]
    orders = {rater: [keys[0][f"{rater}/{n}"].letters for n in range(QUESTIONS)] for rater in ("rater-1", "rater-2")}
    assert orders["rater-1"] != orders["rater-2"]


def test_more_people_share_the_questions_evenly(run: Path, plan: Plan, tmp_path: Path) -> None:
    answers = design.read_answers(run, plan, "vicuna")
    design.make(answers, replace(plan, people=4, checks=0), tmp_path / "study")
    book = Book(tmp_path / "study" / "study.sqlite")
    assert [book.pages(rater) for rater in book.raters()] == [2, 2, 2, 2]
    asked = [item.question for item in read_key(tmp_path / "study").items.values()]
    assert sorted(asked) == sorted(f"q{number}" for number in range(QUESTIONS) for _ in range(2))


def test_tokens_are_secret_and_differ(run: Path, plan: Plan, tmp_path: Path) -> None:
    answers = design.read_answers(run, plan, "vicuna")
    tokens = [token for name in "ab" for token in design.make(answers, plan, tmp_path / name).values()]
    assert len(set(tokens)) == 4
    assert all(len(token) >= 22 for token in tokens)  # 128 bits in base64


def test_a_system_without_an_answer_is_refused(run: Path, plan: Plan) -> None:
    path = run / "scores" / "predictions.jsonl"
    rows = read_rows(path, Prediction)
    write_rows(path, [*rows[:-1], rows[-1].model_copy(update={"failure": "no reply"})])
    with pytest.raises(DataError, match="no answer of tuna to question 'q3'"):
        design.read_answers(run, plan, "vicuna")


@pytest.mark.parametrize(
    ("change", "complaint"),
    [({"systems": ("base",)}, "2 to 8"), ({"systems": ("base", "base")}, "different"), ({"people": 1}, "at least 2")],
)
def test_a_study_that_compares_nothing_is_refused(
    run: Path, plan: Plan, tmp_path: Path, change: dict[str, object], complaint: str
) -> None:
    answers = design.read_answers(run, plan, "vicuna")
    with pytest.raises(DataError, match=complaint):
        design.make(answers, replace(plan, **change), tmp_path / "study")  # type: ignore[arg-type]


def test_a_study_is_never_written_over(run: Path, plan: Plan, study: Path) -> None:
    with pytest.raises(StoreError, match="found a study"):
        design.make(design.read_answers(run, plan, "vicuna"), plan, study)
