"""`tunalm study make`: from the answers of several systems to a study in which nobody can tell who wrote what.

Systems become letters. Which letter is which is drawn anew for every question and rater, from the study's seed, and
stands in `key.json`, which the server never opens. Equal answers are shown once and share their place. `answers.jsonl`
has the same answers as lists for a judge.
"""

from __future__ import annotations

import json
import random
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import cycle, islice
from pathlib import Path
from string import ascii_uppercase

from tunalm.errors import DataError, StoreError
from tunalm.records import Prediction, Ranking, Response
from tunalm.store import iterate_rows, write_json, write_rows, write_text
from tunalm.study.book import Book, Page
from tunalm.study.records import StudyItem, StudyKey

CONSENT = """\
You will see questions and several answers to each. Please read all answers and put them in order, best first. Answers
that are equally good may share a place. We keep your orders, your comments and the time that each question took, under
a number and not under your name. You may stop at any time; what you have saved until then is kept."""

CHECK = "This question checks that the page works for you. Put the answers in the order that they name."
PLACES = ("first", "second", "third", "fourth", "fifth", "sixth", "seventh", "eighth")
MOST_SYSTEMS = len(PLACES)


@dataclass(frozen=True)
class Plan:
    """What a study is made of."""

    systems: Sequence[str]
    """Names in the predictions; at least two."""
    raters: int = 2
    """Raters for each question."""
    people: int = 0
    """Raters in all; 0 is as many as each question has. More people share the questions evenly."""
    checks: int = 2
    """Attention checks for each rater."""
    seed: int = 0
    consent: str = CONSENT


def read_answers(run: Path, plan: Plan, benchmark: str) -> dict[str, dict[str, Prediction]]:
    """The answers of a finished run, by question and then by system, in the order of the questions.

    Raises:
        DataError: the run has no predictions, or a system lacks an answer to a question that another has answered.
    """
    found: dict[str, dict[str, Prediction]] = {}
    files = sorted(run.glob("*/predictions.jsonl")) if run.is_dir() else [run]
    for path in files:
        for row in iterate_rows(path, Prediction):
            if row.benchmark == benchmark and row.model in plan.systems:
                found.setdefault(row.id, {})[row.model] = row
    if not found:
        raise DataError(
            run,
            found=f"no predictions of {', '.join(plan.systems)} for '{benchmark}'",
            expected="those of a finished evaluation",
            fix="Check --systems and --benchmark.",
        )
    for question, answers in found.items():
        missing = [name for name in plan.systems if name not in answers or answers[name].failure is not None]
        if missing:
            raise DataError(
                run,
                found=f"no answer of {', '.join(missing)} to question '{question}'",
                expected="one of every system to every question",
                fix="Evaluate again with --retry-failed, or leave the question out with --questions.",
            )
    return found


def make(answers: Mapping[str, Mapping[str, Prediction]], plan: Plan, folder: Path) -> dict[str, str]:
    """Write a study into a new folder: `study.sqlite`, `key.json`, `answers.jsonl` and `links.txt`.

    Args:
        answers: by question and system.
        plan: who is compared and by how many.
        folder: of the study; it must not hold one.

    Returns:
        The secret token of each rater, by name.

    Raises:
        DataError: fewer than two systems, or too many.
        StoreError: the folder holds a study, or cannot be written.
    """
    if not 2 <= len(set(plan.systems)) <= MOST_SYSTEMS or len(set(plan.systems)) < len(plan.systems):
        raise DataError(
            "--systems",
            found=f"{len(plan.systems)} ({', '.join(plan.systems)})",
            expected=f"2 to {MOST_SYSTEMS} different ones",
            fix="Correct the list.",
        )
    path = folder / "study.sqlite"
    if path.exists():
        raise StoreError(folder, found="a study", expected="a new folder", fix="Give another --out.")
    people = [f"rater-{number + 1}" for number in range(plan.people or plan.raters)]
    if len(people) < plan.raters:
        raise DataError(
            "--people",
            found=str(len(people)),
            expected=f"at least {plan.raters}, one for each rater of a question",
            fix="Raise --people or lower --raters.",
        )
    tokens = {rater: secrets.token_urlsafe(16) for rater in people}
    pages: list[Page] = []
    key: dict[str, StudyItem] = {}
    for rater, questions in _assigned(list(answers), people, plan).items():
        drawn = [_page(question, answers[question], rater, plan) for question in questions]
        for number in range(plan.checks):
            drawn.insert(_check_place(number, len(drawn), rater, plan), _check(number, rater, plan))
        for number, (page, item) in enumerate(drawn):
            name = f"{rater}/{number}"
            pages.append(Page(rater=rater, number=number, question=page.question, answers=page.answers))
            key[name] = item
    write_json(folder / "key.json", StudyKey(systems=list(plan.systems), seed=plan.seed, items=key).model_dump())
    write_rows(folder / "answers.jsonl", [_list(question, own, plan) for question, own in answers.items()])
    Book.make(path, plan.consent, tokens, pages)
    write_text(folder / "links.txt", "".join(f"{rater} /r/{token}\n" for rater, token in tokens.items()))
    return tokens


def _assigned(questions: Sequence[str], people: Sequence[str], plan: Plan) -> dict[str, list[str]]:
    """Which questions each rater sees, shuffled: every question has `plan.raters` raters, in turn."""
    assigned: dict[str, list[str]] = {rater: [] for rater in people}
    turn = cycle(people)
    for question in questions:
        for rater in islice(turn, plan.raters):
            assigned[rater].append(question)
    for rater, own in assigned.items():
        random.Random(f"{plan.seed}/order/{rater}").shuffle(own)
    return assigned


def _list(question: str, answers: Mapping[str, Prediction], plan: Plan) -> Ranking:
    """The answers of all systems, as a judge gets them to rank."""
    responses = [Response(text=answers[name].prediction, model=name) for name in plan.systems]
    first = answers[plan.systems[0]]
    return Ranking(id=question, instruction=first.instruction, task=first.task, responses=responses)


def _page(question: str, answers: Mapping[str, Prediction], rater: str, plan: Plan) -> tuple[Page, StudyItem]:
    authors: dict[str, list[str]] = {}
    for name in plan.systems:
        authors.setdefault(answers[name].prediction.strip(), []).append(name)
    texts = list(authors)
    random.Random(f"{plan.seed}/{question}/{rater}").shuffle(texts)
    letters = dict(zip(ascii_uppercase, texts, strict=False))
    first = answers[plan.systems[0]]
    page = Page(rater=rater, number=0, question=first.instruction, answers=letters)
    letters_of = {letter: authors[text] for letter, text in letters.items()}
    return page, StudyItem(question=question, category=first.task, letters=letters_of)


def _check(number: int, rater: str, plan: Plan) -> tuple[Page, StudyItem]:
    """A question whose right order stands in its answers."""
    names = list(PLACES[: len(plan.systems)])
    random.Random(f"{plan.seed}/check/{number}/{rater}").shuffle(names)
    letters = dict(zip(ascii_uppercase, names, strict=False))
    page = Page(
        rater=rater,
        number=0,
        question=CHECK,
        answers={letter: f"This answer belongs in {name} place." for letter, name in letters.items()},
    )
    expected = {letter: PLACES.index(name) + 1 for letter, name in letters.items()}
    return page, StudyItem(question=f"check-{number + 1}", category=None, letters={}, check=expected)


def _check_place(number: int, length: int, rater: str, plan: Plan) -> int:
    return random.Random(f"{plan.seed}/place/{number}/{rater}").randint(0, length)


def read_key(folder: Path) -> StudyKey:
    """Who wrote what.

    Raises:
        DataError: the folder has no key that can be read.
    """
    path = folder / "key.json"
    try:
        return StudyKey.model_validate(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError) as error:
        raise DataError(
            path,
            found=f"no key ({type(error).__name__})",
            expected="what `tunalm study make` wrote",
            fix="Check --out.",
        ) from error
