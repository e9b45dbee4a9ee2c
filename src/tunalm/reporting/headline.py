"""The table at the top of the report: every model on every benchmark, with intervals, and published numbers beside."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from tunalm.records import EvaluationResults, Result
from tunalm.reporting.formats import SIGNIFICANT, interval, number
from tunalm.reporting.outcome import metric
from tunalm.reporting.published import Published
from tunalm.reporting.tables import Cell, Column, Table


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
        for benchmark in first:
            result = results.models[model].results[benchmark] if model in results.models else None
            if first[benchmark].headline:
                yield _total(result)
            yield _cell(result, (benchmark, model) in sure)
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


def _cell(result: Result | None, sure: bool) -> Cell:
    if result is None:
        return Cell("")
    return Cell(number(result.value) + ("*" if sure else ""), interval(result.ci95), strong=True)


def _total(result: Result | None) -> Cell:
    if result is None:
        return Cell("")
    return Cell(number(result.totals.get(result.headline)), interval(result.headline_interval), strong=True)
