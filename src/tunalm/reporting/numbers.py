"""The tables of an evaluation: the one at its top, then by benchmark every model, every pair of models, every task."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from tunalm.records import Difference, Estimate, EvaluationResults, Interval, Result
from tunalm.reporting.formats import SIGNIFICANT, interval, metric, number, p_value, percent, signed
from tunalm.reporting.published import Published
from tunalm.reporting.tables import Cell, Column, Table, table

By = Mapping[str, Result]
"""Results on a benchmark, by model."""


def headline(results: EvaluationResults, published: Sequence[Published] = ()) -> Table:
    """Make the table of an evaluation; its sources are those of the published numbers, in the order of their marks.

    Args:
        results: the content of results.json.
        published: a column is made for the benchmarks of the evaluation that they name.
    """
    first = results.models[results.baseline].results
    numbers = {(each.benchmark, each.model): each for each in published if each.benchmark in first}
    sources = list(dict.fromkeys(each.source for each in numbers.values()))
    quoted = {benchmark for benchmark, _ in numbers}
    sure = {
        (each.benchmark, each.model)
        for each in results.comparisons
        if each.against == results.baseline and each.p_holm < SIGNIFICANT
    }

    def cells(model: str) -> Iterator[Cell]:
        yield Cell(model)
        results_of = results.models[model].results if model in results.models else {}
        for benchmark in first:
            result = results_of.get(benchmark)
            if first[benchmark].headline:
                total = (result.totals.get(result.headline), result.headline_interval) if result else None
                yield _value(total)
            mark = "*" if (benchmark, model) in sure else ""
            digits = metric(first[benchmark].metric).digits
            yield _value((result.value, result.ci95) if result else None, mark, digits)
            if benchmark in quoted:
                found = numbers.get((benchmark, model))
                yield Cell(f"{number(found.value)} [{sources.index(found.source) + 1}]" if found else "")

    columns = [Column("model", number=False)]
    for benchmark, result in first.items():
        if result.headline:
            columns.append(Column(benchmark, f"published {result.headline}, 0-100"))
        columns.append(Column(benchmark, metric(result.metric).label))
        if benchmark in quoted:
            columns.append(Column(benchmark, "published"))
    names = dict.fromkeys([*results.models, *(model for _, model in numbers)])
    return Table("Models and benchmarks", columns, [list(cells(name)) for name in names], sources)


def _value(found: tuple[float | None, Interval | None] | None, mark: str = "", digits: int = 1) -> Cell:
    return Cell("") if found is None else Cell(number(found[0], digits) + mark, interval(found[1], digits), strong=True)


def numbers_table(benchmark: str, by_model: By, against_first: Mapping[str, Difference]) -> Table:
    """A row per model, with its difference to the first one."""
    names = ("value", "95 % interval", "difference", "95 % interval", "p", "wins", "ties", "losses", "n", "failed")
    digits = _digits(by_model)
    rows = [
        [
            model,
            Cell(number(result.value, digits), strong=True),
            interval(result.ci95, digits),
            *(_compared(against_first[model]) if model in against_first else [""] * 6),
            str(result.n),
            str(result.failed),
            number(result.mean_tokens),
            percent(result.cut),
            result.template or "its own",
        ]
        for model, result in by_model.items()
    ]
    return table(f"Results of {benchmark}", ["model"], [*names, "mean tokens", "cut", "template"], rows)


def pairs_table(benchmark: str, comparisons: Sequence[Difference]) -> Table:
    """A row per pair of models; empty where there is one model."""
    names = ("difference", "95 % interval", "p (Holm)", "wins", "ties", "losses", "p")
    rows = [[pair.model, pair.against, *_compared(pair), p_value(pair.p_value)] for pair in comparisons]
    return table(f"Comparisons on {benchmark}", ["model", "against"], names, rows)


def totals_table(benchmark: str, by_model: By) -> Table:
    """The totals of the official scorer of a benchmark, a row per model; no rows where it has none."""
    totals = {model: result.official_totals for model, result in by_model.items()}
    names = list(dict.fromkeys(name for found in totals.values() for name in found))
    rows = [[model, *(number(found.get(name)) for name in names)] for model, found in totals.items() if names]
    return table(f"Totals of {benchmark}", ["model"], [name.replace("_", " ") for name in names], rows)


def tasks_table(benchmark: str, by_model: By) -> Table:
    """A row per task, if there are any, and a column per model."""
    rows = []
    for task in dict.fromkeys(task for result in by_model.values() for task in result.by_task):
        means = [result.by_task.get(task) for result in by_model.values()]
        digits = _digits(by_model)
        cells = [
            Cell(number(mean.value, digits), heat=mean.value if digits == 1 else None) if mean else Cell("")
            for mean in means
        ]
        rows.append([Cell(task), *cells, Cell(str(max(mean.n for mean in means if mean)))])
    return table(f"Tasks of {benchmark}", ["task"], [*by_model, "n"], rows)


def curve_table(benchmark: str, by_model: By) -> Table:
    """The metric over something else, a row per model; no rows where there is nothing."""
    curves = {model: result.curve for model, result in by_model.items() if result.curve}
    names = list(dict.fromkeys(name for curve in curves.values() for name in curve))
    digits = _digits(by_model)

    def cell(found: Estimate) -> Cell:
        return Cell(number(found.value, digits), interval(found.ci95, digits))

    rows = [[Cell(model), *(cell(curve.get(name, Estimate())) for name in names)] for model, curve in curves.items()]
    over = next((result.curve_over for result in by_model.values() if result.curve_over), "")
    return table(f"{benchmark} over {over}", ["model"], names, rows)


def _digits(by_model: By) -> int:
    return metric(next(iter(by_model.values())).metric).digits


def _compared(pair: Difference) -> list[str | Cell]:
    digits = metric(pair.metric).digits
    return [
        Cell(signed(pair.difference, digits), strong=pair.p_holm < SIGNIFICANT),
        interval(pair.ci95, digits),
        p_value(pair.p_holm),
        *(str(count) for count in (pair.wins, pair.ties, pair.losses)),
    ]
