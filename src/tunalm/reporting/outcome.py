"""What an evaluation found, in words and in an order to read: from results.json and the answers themselves."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from tunalm.records import Difference, EvaluationResults, Interval, Result
from tunalm.reporting.changes import Answers, Change, largest_changes
from tunalm.reporting.formats import MOST_TOLD, SIGNIFICANT, Metric, interval, metric, number, p_value
from tunalm.reporting.numbers import curve_table, numbers_table, pairs_table, tasks_table, totals_table
from tunalm.reporting.plots import interval_plot, setting_plot
from tunalm.reporting.svg import Svg, to_svg
from tunalm.reporting.tables import Table


@dataclass(frozen=True)
class BenchmarkView:
    """What the report shows of one benchmark."""

    name: str
    metric: Metric
    sentences: list[str]
    plot: Svg
    note: str
    """How the benchmark was asked."""
    numbers: Table
    totals: Table
    pairs: Table
    tasks: Table
    curve: Table
    """The metric over something else; no rows where there is nothing."""
    curve_plot: Svg | None
    changes: list[Change]
    """Between the first model and the last."""


def benchmark_views(results: EvaluationResults, sources: Sequence[Answers]) -> list[BenchmarkView]:
    """What an evaluation found, benchmark by benchmark.

    Args:
        results: the content of results.json.
        sources: where the answers of its models are.
    """
    changes = largest_changes(sources, list(results.models)[-1], results.baseline)
    return [_view(name, results, changes.get(name, [])) for name in results.benchmarks]


def _view(benchmark: str, results: EvaluationResults, changes: list[Change]) -> BenchmarkView:
    by_model = results.on(benchmark)
    comparisons = [each for each in results.comparisons if each.benchmark == benchmark]
    against_first = {each.model: each for each in comparisons if each.against == results.baseline}
    first = by_model[results.baseline]
    kind = metric(first.metric)
    values = [(name, result.value, result.ci95) for name, result in by_model.items()]
    figure = interval_plot(values, kind.label, kind.digits)
    curves = {name: result.curve for name, result in by_model.items() if result.curve}
    plot = None
    if curves:
        series = {name: [(at, each.value, each.ci95) for at, each in curve.items()] for name, curve in curves.items()}
        drawn = setting_plot(series, (first.curve_over, kind.label))
        plot = to_svg(drawn, f"{benchmark} over {first.curve_over}; the table has the numbers")
    return BenchmarkView(
        name=benchmark,
        metric=kind,
        sentences=list(sentences(by_model, comparisons, kind)),
        plot=to_svg(figure, f"{benchmark}: value and 95 % interval of every model; the table has the numbers"),
        numbers=numbers_table(benchmark, by_model, against_first),
        note=first.note,
        totals=totals_table(benchmark, by_model),
        pairs=pairs_table(benchmark, comparisons),
        tasks=tasks_table(benchmark, by_model),
        curve=curve_table(benchmark, by_model),
        curve_plot=plot,
        changes=changes,
    )


def sentences(by_model: Mapping[str, Result], comparisons: Iterable[Difference], kind: Metric) -> Iterator[str]:
    """The result in plain words: every model against the first, then the last one against those between.

    A difference is called one only if its p-value, after Holm's correction, is below `SIGNIFICANT`.
    """
    pairs = {(each.model, each.against): each for each in comparisons}
    first, *others = by_model
    if len(by_model) > MOST_TOLD:
        best = max(others, key=lambda model: by_model[model].value or 0.0)
        others = list(dict.fromkeys([best, others[-1]]))
    for model in [first, *others]:
        result = by_model[model]
        stated = f"{model} {kind.phrase.format(number(result.value, kind.digits))}"
        if result.value is None:
            yield f"No answer of {model} could be scored."
        elif model == first:
            yield f"{stated}{_in_brackets(result.ci95, digits=kind.digits)}."
        else:
            yield f"{stated}, {_difference(pairs[model, first], first, kind)}."
    for model in others[:-1]:
        pair = pairs.get((others[-1], model))
        if pair and pair.difference is not None:
            yield f"{others[-1]} has {_difference(pair, model, kind)}."
    for model, result in by_model.items():
        if result.failed:
            yield f"{result.failed} of {result.n} answers of {model} failed; each counts as 0."
    left_out = {model: result.unjudged for model, result in by_model.items() if result.unjudged}
    if left_out:
        counts = ", ".join(f"{count} of {model}" for model, count in left_out.items())
        yield f"Answers that could not be judged or measured, and are left out of the numbers: {counts}."


def _difference(pair: Difference, against: str, kind: Metric) -> str:
    if pair.difference is None:
        return f"no answer that was scored together with one of {against}"
    if pair.difference == 0:
        return f"as much as {against}"
    size = f"{number(abs(pair.difference), kind.digits)} {kind.unit}".strip()
    how = f"{size} {'more' if pair.difference > 0 else 'less'} than {against}"
    ends = pair.ci95 if pair.ci95 is None or pair.difference > 0 else (-pair.ci95[1], -pair.ci95[0])
    sure = "" if pair.p_holm < SIGNIFICANT else ": that may be chance"
    p = p_value(pair.p_holm)
    corrected = f"corrected p {p}" if p.startswith("<") else f"corrected p = {p}"
    return f"{how}{_in_brackets(ends, corrected, kind.digits)}{sure}"


def _in_brackets(ends: Interval | None, more: str = "", digits: int = 1) -> str:
    parts = [f"95\N{NO-BREAK SPACE}% interval {interval(ends, digits)}" if ends else "", more]
    said = ", ".join(part for part in parts if part)
    return f" ({said})" if said else ""
