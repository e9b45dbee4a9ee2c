"""Saved predictions as `tunalm score` takes them: rows of one's own, or `predictions.jsonl` of an evaluation."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from pathlib import Path
from typing import Any, NoReturn

from tunalm.data.files import RawRow, read_raw
from tunalm.errors import DataError, did_you_mean


def read_predictions(path: Path, benchmark: str, model: str | None) -> list[RawRow]:
    """Read rows that each have an `id` and a text `prediction`; in the file of an evaluation, those of one model.

    Args:
        path: JSON, JSONL or Parquet, also gzipped.
        benchmark: rows that name another one are left out.
        model: rows that name another one are left out; needed where rows name several.

    Raises:
        DataError: a row is wrong (it is named), no row is left, or several models are.
    """
    rows = rows_of(path, benchmark)
    models = dict.fromkeys(name for row in rows if (name := _field(row, "model", None)) is not None)
    if model is None and len(models) > 1:
        names = ", ".join(map(str, models))
        raise DataError(path, found=f"predictions of {len(models)} models ({names})", fix="Choose one with --model.")
    if model is not None:
        rows = [row for row in rows if row.value.get("model") == model]
    if not rows:
        found = f"no prediction for {benchmark}" + (f" by '{model}'" if model else "")
        raise DataError(path, found=found, fix=did_you_mean(model, map(str, models)) if model else "Check the file.")
    for row in rows:
        text(row, "id")
        text(row, "prediction", empty=True)
    return rows


def rows_of(path: str | Path, benchmark: str) -> list[RawRow]:
    """The rows of a file of answers that name a benchmark, or none at all.

    Raises:
        DataError: a row is no object, or all rows name other benchmarks.
    """
    everything = read_raw(path)
    rows = [row for row in everything if _field(row, "benchmark", benchmark) == benchmark]
    if everything and not rows:
        others = dict.fromkeys(str(row.value["benchmark"]) for row in everything)
        raise DataError(
            path,
            found=f"predictions for {', '.join(others)}",
            expected=f"some for {benchmark}",
            fix="Name one: --benchmark, or `title` in a recipe; or give another file.",
        )
    return rows


def text(row: RawRow, name: str, *, empty: bool = False) -> str:
    """A field of a row that must be a text (an `id` may be a whole number)."""
    value = _field(row, name, None)
    if name == "id" and isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    if not isinstance(value, str) or not (value or empty):
        refuse(row, name, value, "a text (empty if the model said nothing)" if empty else "a text")
    return value


def refuse(row: RawRow, name: str, value: object, expected: str) -> NoReturn:
    """Raise the error for a field that is missing or of the wrong type."""
    found = f"no '{name}'" if value is None else f"{name}: {value!r:.60}"
    raise DataError(row.where, found=found, expected=expected, fix="Correct the row.")


def require_distinct(rows: Sequence[RawRow], key: Callable[[RawRow], Hashable]) -> None:
    """Make sure that no two rows answer the same question.

    Raises:
        DataError: two do; both are named.
    """
    seen: dict[Hashable, str] = {}
    for row in rows:
        name = key(row)
        if name in seen:
            found = f"a second prediction for {name} (the first is at {seen[name]})"
            raise DataError(row.where, found=found, fix="Remove one of them.")
        seen[name] = row.where


def _field(row: RawRow, name: str, default: Any) -> Any:
    if not isinstance(row.value, dict):
        found = type(row.value).__name__
        raise DataError(row.where, found=found, expected="an object with a prediction", fix="Correct the row.")
    return row.value.get(name, default)
