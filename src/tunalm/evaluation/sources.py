"""Where published benchmarks come from, and which of their rows are asked."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

from tunalm.errors import DataError
from tunalm.recipe import BenchmarkSettings
from tunalm.store import local_path

Row = TypeVar("Row")


def whole_folder(settings: BenchmarkSettings) -> Path:
    """The folder or file that the settings name.

    Raises:
        DataError: they select a slice of rows, which for a benchmark with tasks says nothing.
    """
    if settings.instructions.rows != ":":
        found = f"it cannot take a slice of rows ('{settings.instructions.rows}')"
        fix = "Set `limit` instead: it takes rows from all tasks in turn."
        raise DataError(f"benchmark {settings.name}", found=found, fix=fix)
    return local_path(settings.instructions.source)


def in_turn(rows: Sequence[Row], task: Callable[[Row], str], limit: int | None) -> list[Row]:
    """At most `limit` rows: the first of every task, then the second of every task ...; in their own order."""
    if limit is None:
        return list(rows)
    seen: dict[str, int] = {}
    order = []
    for place, row in enumerate(rows):
        turn = seen.get(task(row), 0)
        seen[task(row)] = turn + 1
        order.append((turn, place))
    return [rows[place] for place in sorted(place for _, place in sorted(order)[:limit])]
