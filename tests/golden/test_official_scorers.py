"""The published benchmarks whole: what the authors' own scripts make of the same predictions.

The expected values were computed once with those scripts (LMentry 646ae908 with num2words 0.5.10, Tk-Instruct 7c0e4000
with rouge-score 0.1.2); the predictions are made here, by rule, from the data.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Iterator
from itertools import cycle
from pathlib import Path
from typing import Any

import pytest

from tunalm.evaluation.lmentry.data import NUM_EXAMPLES, SETS, load_questions
from tunalm.evaluation.lmentry.scoring import score_file as score_lmentry
from tunalm.evaluation.superni.data import load_tasks
from tunalm.evaluation.superni.scoring import Baseline, score_baseline, score_file

SHARED = Path(__file__).parents[2].parent / "shared" / "data"

pytestmark = pytest.mark.skipif(not SHARED.is_dir(), reason="the public files are not beside the repository")

ONE_IN = 9
ANSWERS = (
    "{a}",
    "{a}.",
    "The answer is {a}.",
    'The word "{a}"',
    "{b}",
    "{b} is the answer",
    "I think that it is {a}",
    "{a} is longer than {b}",
    "{b} is shorter",
    "{a} has more letters than {b}, I believe",
    "{a} has 2 fewer letters",
    "{a} is the bigger number",
    "{a} comes first",
    "{b} comes after {a} alphabetically",
    "{q} rhymes with {a}",
    "{a} sounds like {q}",
    "{q} is followed by {a}",
    "{a} comes right before {q}",
    "the word most associated with {c} is {a}",
    "{a} relates to {c} the least",
    'The first letter of "{w}" is "{a}".',
    "{w} ends with {a}",
    "Yes, they all represent {c}.",
    "no",
    "yes",
    "the last word is {a}",
    "{s}",
    "{w} is here and there",
    "here and there is {w}",
    "{l}ab{l}",
    "ab{l} is a word that contains {l}",
    "{l} is for {l}ab{l}",
    "May I suggest ab{l}?",
    "a word not using {l} is jump",
    "\u0441\u043b\u043e\u0432\u043e",
    "I'm sorry, but I cannot do that.",
    "",
)


LMENTRY_ROWS = 12_326
LMENTRY_SHA256 = "c49b08acef1954c4e8a7b13b35385adc032dd451f82789ffe56f52e1598b61c5"
LMENTRY_TOTALS = {
    "accuracy": 1.4676,
    "robustness": 99.0,
    "score": 1.452924,
    "argument_order": 97.75857142857141,
    "argument_content": 99.86666666666667,
    "template": 99.62,
    "adjacent_tasks": 98.88411764705882,
}


def predictions(one_in: int) -> Iterator[dict[str, str]]:
    """An answer to so many questions of every set; all kinds of answers in turn."""
    kinds = cycle(ANSWERS)
    for name, questions in load_questions(SHARED / "lmentry").items():
        for number in list(questions.examples)[::one_in]:
            metadata: Any = questions.examples[number]["metadata"]
            places = {
                "a": metadata.get("answer", "dog"),
                "b": metadata.get("distractor", "cat"),
                "c": metadata.get("category", "animals"),
                "l": metadata.get("letter", "x"),
                "q": metadata.get("query", "owl"),
                "s": metadata.get("sentence", "All is well"),
                "w": metadata.get("word", "bird"),
            }
            yield {"task": name, "id": number, "prediction": next(kinds).format(**places)}


def digest(lines: list[str]) -> str:
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def test_lmentry_is_there_whole() -> None:
    found = load_questions(SHARED / "lmentry")
    assert list(found) == list(SETS)
    assert sum(len(questions.examples) for questions in found.values()) == NUM_EXAMPLES


def test_every_answer_of_lmentry_is_worth_what_the_authors_say(tmp_path: Path) -> None:
    path = tmp_path / "predictions.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in predictions(ONE_IN)), encoding="utf-8")
    found, rows = score_lmentry(path, SHARED / "lmentry")
    assert len(rows) == LMENTRY_ROWS
    assert digest([f"{row['task']} {row['id']} {row['score']} {row['certainty']}" for row in rows]) == LMENTRY_SHA256
    assert {name: found["results"]["lmentry"][name] for name in LMENTRY_TOTALS} == pytest.approx(
        LMENTRY_TOTALS, abs=1e-9
    )


@pytest.mark.slow
def test_all_of_lmentry_is_scored_within_a_minute(tmp_path: Path) -> None:
    path = tmp_path / "predictions.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in predictions(1)), encoding="utf-8")
    started = time.process_time()
    found, rows = score_lmentry(path, SHARED / "lmentry")
    assert time.process_time() - started < 60
    assert len(rows) == NUM_EXAMPLES
    assert found["results"]["lmentry"]["complete"]


BASELINES = [
    ("copy-input", 29.7678, 0.3485, "fadafb894f761d8fe078f776d905c1c0c95d30fd01276e03d6d1f4ce13d51c21"),
    ("copy-demo", 10.2686, 4.2154, "be7a758e943c38b0c40aff06db3869d3fa4cd243d29e4173432f662c2463bc3d"),
]
NEIGHBOURS = (12.6555, 0.1072, "23488eb1804db5310d53c5275ab792354cdcc98d18580e30e7dd1318dd5fe9ea")


@pytest.mark.parametrize(("baseline", "rouge", "exact", "sha256"), BASELINES, ids=["copy-input", "copy-demo"])
def test_the_baselines_of_super_ni_score_what_the_authors_say(
    baseline: Baseline, rouge: float, exact: float, sha256: str
) -> None:
    found = score_baseline(load_tasks(SHARED / "superni"), baseline)
    assert summary(*found) == (rouge, exact, sha256)


def test_answers_to_super_ni_score_what_the_authors_say(tmp_path: Path) -> None:
    path = tmp_path / "predictions.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in neighbours()), encoding="utf-8")
    found = score_file(path)
    assert summary(*found) == NEIGHBOURS
    assert found[0]["configs"]["superni"]["tasks"] == "47 of 119"


def neighbours() -> Iterator[dict[str, Any]]:
    """Every row is answered with a reference of the next, in tasks of 100 rows without its last word."""
    for task in load_tasks(SHARED / "superni"):
        for row, following in zip(task.instances, [*task.instances[1:], task.instances[0]], strict=True):
            said = following.references[0]
            said = said if len(task.instances) < 100 else said.rsplit(" ", 1)[0]
            yield {"id": row.id, "task_id": task.name, "references": list(row.references), "prediction": said}


def summary(found: dict[str, Any], rows: list[dict[str, Any]]) -> tuple[float, float, str]:
    overall = found["results"]["superni"]
    scores = digest([f"{row['id']} {row['rougeL']!r} {row['exact_match']!r}" for row in rows])
    return overall["rougeL"], overall["exact_match"], scores
