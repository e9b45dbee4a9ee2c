"""What an evaluation found, in words and in an order to read: from results.json and the answers themselves."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tunalm.records import Prediction, Verdict
from tunalm.reporting.files import read_records, read_results
from tunalm.reporting.formats import SIGNIFICANT, interval, number, p_value
from tunalm.reporting.plots import Svg, interval_plot

NUM_EXAMPLES = 8
CLEARLY = 0.5
"""Answers to one instruction differ clearly when their scores (0-1) are so far apart."""


@dataclass(frozen=True)
class Metric:
    """How to speak of a metric; values are 0-100."""

    label: str
    phrase: str
    """`{}` is the value."""


METRICS = {
    "success": Metric("answers that are right, %", "answers {} % right"),
    "adjusted_win_rate": Metric("questions won, a tie as half, %", "wins {} % of the questions (a tie is half a win)"),
    "rougeL": Metric("ROUGE-L with the references, 0-100", "reaches a ROUGE-L of {} with the references"),
}


def metric(name: str) -> Metric:
    """How to speak of a metric, known or not."""
    return METRICS.get(name, Metric(f"{name}, 0-100", f"has a {name} of {{}}"))


@dataclass(frozen=True)
class Answer:
    """What one model said to an instruction."""

    model: str
    text: str
    score: float | None
    failure: str | None


@dataclass(frozen=True)
class Example:
    """One instruction and what all models said."""

    id: str
    task: str | None
    instruction: str
    references: list[str]
    answers: list[Answer]


@dataclass
class BenchmarkView:
    """What the report shows of one benchmark."""

    name: str
    metric: Metric
    results: dict[str, dict[str, Any]]
    """By model, in the order of the evaluation."""
    comparisons: list[dict[str, Any]]
    against_baseline: dict[str, dict[str, Any]]
    """The comparison of each later model with the first."""
    sentences: list[str]
    plot: Svg
    tasks: list[str]
    examples: list[Example] = field(default_factory=list)


def benchmark_views(folder: Path) -> list[BenchmarkView]:
    """What an evaluation in a stage's folder found; nothing where it has not finished."""
    results = read_results(folder / "results.json")
    if results is None:
        return []
    views = [_view(name, results) for name in next(iter(results["models"].values()))["results"]]
    examples = _examples(folder, list(results["models"]))
    for view in views:
        view.examples = examples.get(view.name, [])
    return views


def _view(benchmark: str, results: dict[str, Any]) -> BenchmarkView:
    by_model = {name: model["results"][benchmark] for name, model in results["models"].items()}
    comparisons = [each for each in results["comparisons"] if each["benchmark"] == benchmark]
    kind = metric(next(iter(by_model.values()))["metric"])
    return BenchmarkView(
        name=benchmark,
        metric=kind,
        results=by_model,
        comparisons=comparisons,
        against_baseline={each["model"]: each for each in comparisons if each["against"] == results["baseline"]},
        sentences=list(sentences(by_model, comparisons, kind)),
        plot=interval_plot(
            [(name, result["value"], result["ci95"]) for name, result in by_model.items()],
            kind.label,
            f"{benchmark}: value and 95 % interval of every model; the table has the numbers",
        ),
        tasks=list(dict.fromkeys(task for result in by_model.values() for task in result["by_task"])),
    )


def sentences(
    by_model: Mapping[str, dict[str, Any]], comparisons: Iterable[dict[str, Any]], kind: Metric
) -> Iterator[str]:
    """The result in plain words: every model against the first, then the last one against those between.

    A difference is called one only if its p-value, after Holm's correction, is below `SIGNIFICANT`.
    """
    pairs = {(each["model"], each["against"]): each for each in comparisons}
    first, *others = by_model
    baseline = by_model[first]
    yield f"{first} {kind.phrase.format(number(baseline['value']))}{_in_brackets(baseline['ci95'])}."
    for model in others:
        stated = f"{model} {kind.phrase.format(number(by_model[model]['value']))}"
        yield f"{stated}, {_difference(pairs[model, first], first)}."
    for model in others[:-1]:
        yield f"{others[-1]} has {_difference(pairs[others[-1], model], model)}."
    for model, result in by_model.items():
        if result["failed"]:
            yield f"{result['failed']} of {result['n']} answers of {model} failed; each counts as 0."
        if left_out := result.get("unjudged"):
            yield f"{left_out} answers of {model} could not be judged; they are left out of its {result['n']}."


def _difference(pair: dict[str, Any], against: str) -> str:
    difference = pair["difference"]
    if difference is None:
        return f"no answer that was scored together with one of {against}"
    if difference == 0:
        return f"as much as {against}"
    how = f"{number(abs(difference))} points {'more' if difference > 0 else 'less'} than {against}"
    ends = pair["ci95"] and sorted(end if difference > 0 else -end for end in pair["ci95"])
    sure = "" if pair["p_holm"] < SIGNIFICANT else ": that may be chance"
    return f"{how}{_in_brackets(ends, _p(pair['p_holm']))}{sure}"


def _p(value: float) -> str:
    text = p_value(value)
    return f"corrected p {text}" if text.startswith("<") else f"corrected p = {text}"


def _in_brackets(ends: list[float] | None, more: str = "") -> str:
    parts = [f"95\N{NO-BREAK SPACE}% interval {interval(ends)}" if ends else "", more]
    said = ", ".join(part for part in parts if part)
    return f" ({said})" if said else ""


def _examples(folder: Path, models: list[str]) -> dict[str, list[Example]]:
    """By benchmark, the first instructions on which the models' scores differ clearly, at most one per task."""
    verdicts = {(row.benchmark, row.id, row.model): row.score for row in read_records(folder / "rows.jsonl", Verdict)}
    scores: defaultdict[tuple[str, str], list[float]] = defaultdict(list)
    for (benchmark, row, _), score in verdicts.items():
        scores[benchmark, row].append(score or 0.0)
    chosen: dict[tuple[str, str], list[Prediction]] = {}
    taken: defaultdict[str, list[str | None]] = defaultdict(list)
    for prediction in read_records(folder / "predictions.jsonl", Prediction):
        place = prediction.benchmark, prediction.id
        tasks, values = taken[prediction.benchmark], scores.get(place, [0.0])
        if place in chosen:
            chosen[place].append(prediction)
        elif (
            prediction.model == models[0]
            and len(tasks) < NUM_EXAMPLES
            and max(values) - min(values) >= CLEARLY
            and (prediction.task is None or prediction.task not in tasks)
        ):
            chosen[place] = [prediction]
            tasks.append(prediction.task)
    examples: defaultdict[str, list[Example]] = defaultdict(list)
    for (benchmark, row), answers in chosen.items():
        examples[benchmark].append(
            Example(
                id=row,
                task=answers[0].task,
                instruction=answers[0].instruction,
                references=answers[0].references,
                answers=[
                    Answer(each.model, each.prediction, verdicts.get((benchmark, row, each.model)), each.failure)
                    for each in answers
                ],
            )
        )
    return dict(examples)
