"""Saved predictions of LMentry in, scores of rows and totals out."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tunalm.data.files import RawRow
from tunalm.errors import DataError, did_you_mean
from tunalm.evaluation.harness import TaskResult, document
from tunalm.evaluation.lmentry.data import NUM_EXAMPLES, SETS, Questions, load_questions
from tunalm.evaluation.lmentry.engine import judge
from tunalm.evaluation.lmentry.tasks import RUN, Example
from tunalm.evaluation.lmentry.totals import (
    Strata,
    Stratum,
    standard_errors,
    task_accuracy,
    template_accuracies,
    totals,
)
from tunalm.evaluation.predictions import read_predictions, require_distinct, text
from tunalm.progress import tracked

VERSION = 1
"""Raised when the same predictions would get other scores."""


@dataclass(frozen=True)
class Scored:
    """One answer with what it was worth."""

    questions: Questions
    id: str
    score: int
    certainty: int
    wordless: bool = False
    """Right for want of any word in a-z and 0-9 alone: the published scorer takes many answers in other scripts."""

    @property
    def example(self) -> Example:
        """The question."""
        return self.questions.examples[self.id]


def score_answer(
    questions: Questions, number: str, said: str, *, truncate: bool = False, strict: bool = False
) -> Scored:
    """Score what was said to the question of that id; for the flags see `judge`."""
    example = questions.examples[number]
    score, certainty = judge(questions.task, said, example, truncate=truncate, strict=strict)
    wordless = False
    if score and not strict and not RUN.search(said.lower()):
        wordless = not judge(questions.task, said, example, truncate=truncate, strict=True)[0]
    return Scored(questions, number, score, certainty, wordless)


def score_file(
    predictions: Path,
    data: Path,
    *,
    benchmark: str = "lmentry",
    model: str | None = None,
    truncate: bool = False,
    strict: bool = False,
    subset: bool = False,
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Score a file of predictions.

    Args:
        predictions: rows `{task, id, prediction}`.
        data: folder of the questions; see `load_questions`.
        benchmark: what an evaluation called it, where the file is its predictions.
        model: whose predictions, where the file has several models.
        truncate: see `judge`.
        strict: see `judge`.
        subset: leave questions without a prediction out; else they count as wrong, as published.

    Returns:
        The results file, and one row `{task, id, score, certainty}` per prediction in their order.

    Raises:
        DataError: the files cannot be read, or a prediction is of no question or of one that has one already.
    """
    questions = load_questions(data)
    rows = read_predictions(predictions, benchmark, model)
    places = {row.where: _place(row, questions, data) for row in rows}
    require_distinct(rows, lambda row: "/".join(places[row.where]))
    scored: list[Scored] = []
    for row in tracked(rows, "scoring"):
        name, number = places[row.where]
        said = row.value["prediction"]
        scored.append(score_answer(questions[name], number, said, truncate=truncate, strict=strict))
    config = {"mode": "strict" if strict else "published", "truncate": truncate, "subset": subset}
    lines = [
        {"task": each.questions.name, "id": row.value["id"], "score": each.score, "certainty": each.certainty}
        for row, each in zip(rows, scored, strict=True)
    ]
    return results(scored, questions, config), lines


def results(scored: list[Scored], questions: Mapping[str, Questions], config: Mapping[str, Any]) -> dict[str, Any]:
    """Make the results file out of scores; `config` has `subset`, other keys are only reported."""
    asked = tabulate(scored, questions, every=not config["subset"])
    found, errors = totals(asked), standard_errors(asked)
    complete = set(asked) == set(SETS) and len(scored) == NUM_EXAMPLES
    metrics: dict[str, Any] = {"complete": complete, "wordless": sum(each.wordless for each in scored)}
    for name, value in found.items():
        metrics[name], metrics[f"{name}_stderr"] = value, errors[name]
    config = {**config, "sets": f"{len(asked)} of {len(SETS)}"}
    tasks = {
        "lmentry": TaskResult(metrics, VERSION, NUM_EXAMPLES, len(scored), config, [f"lmentry_{n}" for n in asked])
    }
    by_set: defaultdict[str, list[Scored]] = defaultdict(list)
    for each in scored:
        by_set[each.questions.name].append(each)
    for name, cells in asked.items():
        tasks[f"lmentry_{name}"] = _set_result(by_set[name], cells, questions[name])
    return document(tasks)


def tabulate(scored: Iterable[Scored], questions: Mapping[str, Questions], *, every: bool) -> Strata:
    """Count questions, answers and right answers; of `every` question there is, or of those with an answer."""
    counts: defaultdict[str, defaultdict[tuple[int, int | None], list[int]]]
    counts = defaultdict(lambda: defaultdict(lambda: [0, 0, 0]))
    if every:
        for name, asked in questions.items():
            for example in asked.examples.values():
                counts[name][_stratum(example)][0] += 1
    for each in scored:
        cell = counts[each.questions.name][_stratum(each.example)]
        cell[0] += not every
        cell[1] += 1
        cell[2] += each.score
    return {
        name: [Stratum(template, index, *numbers) for (template, index), numbers in counts[name].items()]
        for name in questions
        if name in counts
    }


def _stratum(example: Example) -> tuple[int, int | None]:
    metadata = example["metadata"]
    return metadata["template_id"], metadata.get("answer_index")


def _set_result(scored: Sequence[Scored], cells: Sequence[Stratum], questions: Questions) -> TaskResult:
    accuracy, count = task_accuracy(cells), sum(cell.asked for cell in cells)
    share = accuracy / 100
    metrics: dict[str, Any] = {
        "accuracy": accuracy,
        "accuracy_stderr": 100 * (share * (1 - share) / (count - 1)) ** 0.5 if count > 1 else None,
        "certainty": round(sum(each.certainty for each in scored) / count * 100, 2),
    }
    templates = sorted({cell.template for cell in cells})
    for template, value in zip(templates, template_accuracies(cells), strict=True):
        metrics[f"template{template}"] = value
    return TaskResult(metrics, VERSION, len(questions.examples), len(scored))


def _place(row: RawRow, questions: Mapping[str, Questions], data: Path) -> tuple[str, str]:
    """Set and id of the question that a prediction answers; the id may have the set in front of it."""
    name, number = text(row, "task"), text(row, "id")
    if name not in questions:
        fix = did_you_mean(name, questions) if name not in SETS else "Give the folder that has it."
        raise DataError(row.where, found=f"{data} has no set of questions '{name}'", fix=fix)
    number = number.removeprefix(f"{name}/")
    if number not in questions[name].examples:
        fix = "Correct the id, or give the data that was predicted on."
        raise DataError(row.where, found=f"{name} has no question '{number}'", fix=fix)
    return name, number
