"""The tables of one benchmark: every model, every pair of models, every task."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from tunalm.records import Difference, Result
from tunalm.reporting.formats import SIGNIFICANT, interval, number, p_value, percent, signed
from tunalm.reporting.tables import Cell, Table, table

By = Mapping[str, Result]
"""Results on a benchmark, by model."""


def numbers_table(benchmark: str, by_model: By, against_first: Mapping[str, Difference]) -> Table:
    """A row per model, with its difference to the first one."""
    names = ("value", "95 % interval", "difference", "95 % interval", "p", "wins", "ties", "losses", "n", "failed")
    rows = [
        [
            model,
            Cell(number(result.value), strong=True),
            interval(result.ci95),
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
        cells = [Cell(number(mean.value), heat=mean.value) if mean else Cell("") for mean in means]
        rows.append([Cell(task), *cells, Cell(str(max(mean.n for mean in means if mean)))])
    return table(f"Tasks of {benchmark}", ["task"], [*by_model, "n"], rows)


def _compared(pair: Difference) -> list[str | Cell]:
    return [
        Cell(signed(pair.difference), strong=pair.p_holm < SIGNIFICANT),
        interval(pair.ci95),
        p_value(pair.p_holm),
        *(str(count) for count in (pair.wins, pair.ties, pair.losses)),
    ]
