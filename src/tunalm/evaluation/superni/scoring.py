"""Saved predictions of Super-NI in, scores of rows and totals out."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any, Literal

from tunalm.data.files import RawRow
from tunalm.errors import DataError
from tunalm.evaluation.harness import TaskResult, document
from tunalm.evaluation.predictions import read_predictions, refuse, require_distinct, text
from tunalm.evaluation.superni.data import BY_EXACT_MATCH, CATEGORIES, NUM_INSTANCES, TestTask, coverage
from tunalm.evaluation.superni.metrics import RowScore, mean_score, score_row
from tunalm.measures.means import standard_error
from tunalm.progress import tracked

VERSION = 1
"""Raised when the same predictions would get other scores."""

Baseline = Literal["copy-input", "copy-demo"]


def score_file(
    predictions: Path, *, benchmark: str = "superni", model: str | None = None
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Score a file of predictions.

    Args:
        predictions: rows `{id, task_id, references, prediction}`.
        benchmark: what an evaluation called it, where the file is its predictions.
        model: whose predictions, where the file has several models.

    Returns:
        The results file, and one row `{id, task_id, rougeL, exact_match}` (0-1) per prediction in their order.

    Raises:
        DataError: the file cannot be read, a row lacks something, or two rows of a task have one id.
    """
    rows = read_predictions(predictions, benchmark, model)
    require_distinct(rows, lambda row: (_task(row), text(row, "id")))
    wanted = [(row.value["id"], _task(row), row.value["prediction"], _references(row)) for row in rows]
    return score_rows(wanted, _how_asked(rows))


def score_baseline(tasks: Sequence[TestTask], baseline: Baseline) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Score what needs no model: each row's own input, or the first example's output, as the prediction.

    On the whole test set ROUGE-L is 14.20 for `copy-input` and 28.54 for `copy-demo`; that checks data and scorer
    from end to end.

    Raises:
        DataError: `copy-demo`, and a task has no examples.
    """
    wanted = []
    for task in tasks:
        if baseline == "copy-demo" and not task.examples:
            continue
        for row in task.instances:
            copied = row.input if baseline == "copy-input" else task.examples[0].output
            wanted.append((row.id, task.name, copied, list(row.references)))
    if not wanted:
        raise DataError("superni", found="no task has an example to copy", fix="Use --baseline copy-input.")
    return score_rows(wanted, {"baseline": baseline})


def score_rows(
    wanted: Sequence[tuple[Any, str, str, list[str]]], config: Mapping[str, Any]
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Score rows of id, task, prediction and references; returns as `score_file`."""
    scores = []
    for _, _, prediction, references in tracked(wanted, "scoring"):
        scores.append(score_row(prediction, references))
    tasks = [task for _, task, _, _ in wanted]
    lines = [
        {"id": number, "task_id": task, **score._asdict()}
        for (number, task, _, _), score in zip(wanted, scores, strict=True)
    ]
    return results(tasks, scores, config), lines


def results(tasks: Sequence[str], scores: Sequence[RowScore], config: Mapping[str, Any]) -> dict[str, Any]:
    """Make the results file out of the task and the score of every row."""
    by_task: defaultdict[str, list[RowScore]] = defaultdict(list)
    by_category: defaultdict[str, list[RowScore]] = defaultdict(list)
    for task, score in zip(tasks, scores, strict=True):
        by_task[task].append(score)
        if task in CATEGORIES:
            by_category[CATEGORIES[task]].append(score)
    covered = coverage(Counter(tasks))
    config = {"shots": None, "template": None, **config, **covered}
    names = [f"superni_{task}" for task in sorted(by_task)]
    parts = {_slug(category): members for category, members in by_category.items()}
    groups = [f"superni_{slug}" for slug in sorted(parts)]
    overall = {"complete": covered["complete"], **_metrics(scores), **_macro(by_task)}
    shots = config["shots"] or 0
    found = {"superni": TaskResult(overall, VERSION, NUM_INSTANCES, len(scores), config, [*groups, *names], shots)}
    for category in sorted(by_category):
        members = by_category[category]
        headline = "exact_match" if category in BY_EXACT_MATCH else "rougeL"
        found[f"superni_{_slug(category)}"] = TaskResult(
            {"headline": headline, **_metrics(members)}, VERSION, len(members), len(members), shots=shots
        )
    for task in sorted(by_task):
        rows = by_task[task]
        found[f"superni_{task}"] = TaskResult(_metrics(rows), VERSION, len(rows), len(rows), shots=shots)
    return document(found)


def _metrics(scores: Sequence[RowScore]) -> dict[str, Any]:
    metrics: dict[str, Any] = {}
    for name, value in mean_score(scores)._asdict().items():
        error = standard_error([100 * getattr(score, name) for score in scores])
        metrics[name], metrics[f"{name}_stderr"] = value, error
    return metrics


def _macro(by_task: Mapping[str, Sequence[RowScore]]) -> dict[str, float]:
    """Means over tasks, all of equal weight."""
    means = [mean_score(scores) for scores in by_task.values()]
    return {
        "rougeL_macro": round(fmean(mean.rougeL for mean in means), 4),
        "exact_match_macro": round(fmean(mean.exact_match for mean in means), 4),
    }


def _slug(category: str) -> str:
    return "_".join(category.lower().split())


def _task(row: RawRow) -> str:
    return text(row, "task_id" if "task_id" in row.value else "task")


def _how_asked(rows: Sequence[RawRow]) -> dict[str, Any]:
    """What the rows of an evaluation say of their prompts; empty for rows that say nothing."""
    shown = [row.value["num_examples"] for row in rows if row.value.get("num_examples") is not None]
    if not shown:
        return {}
    templates = dict.fromkeys(row.value["template"] for row in rows if row.value.get("template"))
    return {
        "template": ", ".join(map(str, templates)) or None,
        "shots": max(shown),
        "examples_shown": fmean(shown),
        "prompts_cut": sum(bool(row.value.get("prompt_cut")) for row in rows),
    }


def _references(row: RawRow) -> list[str]:
    found = row.value.get("references")
    if not isinstance(found, list) or not found or not all(isinstance(one, str) for one in found):
        refuse(row, "references", found, "a list with at least one text")
    return found
