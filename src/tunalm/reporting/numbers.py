"""The tables of one benchmark: every model, every pair of models, every task."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from tunalm.reporting.formats import SIGNIFICANT, interval, number, p_value, percent, signed
from tunalm.reporting.tables import Cell, Column, Table

By = Mapping[str, dict[str, Any]]
"""What results.json says of a benchmark, by model."""


def numbers_table(benchmark: str, by_model: By, against_first: By) -> Table:
    """A row per model, with its difference to the first one."""
    names = ("value", "95 % interval", "difference", "95 % interval", "p", "wins", "ties", "losses", "n", "failed")
    columns = [Column("model", number=False), *map(Column, (*names, "mean tokens", "cut"))]
    rows = []
    for model, result in by_model.items():
        pair = against_first.get(model)
        compared = _compared(pair) if pair else [Cell("")] * 6
        rows.append(
            [
                Cell(model),
                Cell(number(result["value"]), result["value"], strong=True),
                Cell(interval(result["ci95"])),
                *compared,
                _count(result["n"]),
                _count(result["failed"]),
                Cell(number(result["mean_tokens"]), result["mean_tokens"]),
                Cell(percent(result["cut"]), result["cut"]),
            ]
        )
    return Table(f"Results of {benchmark}", columns, rows)


def pairs_table(benchmark: str, comparisons: Iterable[dict[str, Any]]) -> Table:
    """A row per pair of models; empty where there is one model."""
    names = ("difference", "95 % interval", "p (Holm)", "wins", "ties", "losses", "p")
    columns = [Column("model", number=False), Column("against", number=False), *map(Column, names)]
    rows = [
        [Cell(pair["model"]), Cell(pair["against"]), *_compared(pair), Cell(p_value(pair["p_value"]), pair["p_value"])]
        for pair in comparisons
    ]
    return Table(f"Comparisons on {benchmark}", columns, rows)


def totals_table(benchmark: str, by_model: By) -> Table:
    """The totals of the official scorer of a benchmark, a row per model; no rows where it has none."""
    names = list(dict.fromkeys(name for result in by_model.values() for name in official_totals(result)))
    rows = []
    for model, result in by_model.items():
        found = official_totals(result)
        rows.append([Cell(model), *(Cell(number(found.get(name)), found.get(name)) for name in names)])
    columns = [Column("model", number=False), *(Column(name.replace("_", " ")) for name in names)]
    return Table(f"Totals of {benchmark}", columns, rows if names else [])


def official_totals(result: dict[str, Any]) -> dict[str, float]:
    """What the official scorer of a benchmark totals, without their standard errors."""
    totals = result.get("totals") or {}
    return {name: value for name, value in totals.items() if isinstance(value, float) and not name.endswith("_stderr")}


def tasks_table(benchmark: str, by_model: By) -> Table:
    """A row per task, if there are any, and a column per model."""
    tasks = list(dict.fromkeys(task for result in by_model.values() for task in result["by_task"]))
    columns = [Column("task", number=False), *map(Column, by_model), Column("n")]
    rows = []
    for task in tasks:
        found = [result["by_task"].get(task) for result in by_model.values()]
        values = [cell["value"] if cell else None for cell in found]
        cells = [Cell("" if value is None else number(value), value, heat=value) for value in values]
        rows.append([Cell(task), *cells, _count(max(cell["n"] for cell in found if cell))])
    return Table(f"Tasks of {benchmark}", columns, rows)


def _compared(pair: dict[str, Any]) -> list[Cell]:
    sure = pair["p_holm"] < SIGNIFICANT
    return [
        Cell(signed(pair["difference"]), pair["difference"], strong=sure),
        Cell(interval(pair["ci95"])),
        Cell(p_value(pair["p_holm"]), pair["p_holm"]),
        *(_count(pair[name]) for name in ("wins", "ties", "losses")),
    ]


def _count(value: int) -> Cell:
    return Cell(str(value), value)
