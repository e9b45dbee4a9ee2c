"""Rows into a file one after the other, as JSONL, JSON or Parquet by the file's name; the file is whole or absent."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

from tunalm.errors import DataError
from tunalm.redaction import without_secrets
from tunalm.store import replacing

Row = dict[str, Any]

ROWS_AT_ONCE = 1000
"""Of a group of rows in Parquet."""


def write_stream(path: Path, rows: Iterable[Row]) -> None:
    """Write rows as they come. No key gets into the file.

    Parquet needs one schema for all rows: that of the first thousand, so later rows must have the same fields.

    Args:
        path: ends in `.jsonl`, `.json` (one array) or `.parquet`.
        rows: plain JSON values.

    Raises:
        DataError: another ending, or a row that the format cannot hold.
        StoreError: the file cannot be written.
    """
    writers = {".jsonl": _write_lines, ".json": _write_array, ".parquet": _write_parquet}
    write = writers.get(path.suffix)
    if write is None:
        raise DataError(
            path, found=f"a file name that ends in '{path.suffix}'", fix="Let it end in .jsonl, .json or .parquet."
        )
    with replacing(path) as temporary:
        try:
            write(temporary, rows)
        except UnicodeEncodeError as error:
            raise DataError(
                path,
                found=f"half a surrogate pair in a text ({error.object[error.start : error.end]!r})",
                fix="Correct or remove the row in the source.",
            ) from error


def _write_lines(path: Path, rows: Iterable[Row]) -> None:
    with open(path, "w", encoding="utf-8") as file:
        for row in rows:
            file.write(_as_json(row) + "\n")


def _write_array(path: Path, rows: Iterable[Row]) -> None:
    with open(path, "w", encoding="utf-8") as file:
        before = "[\n"
        for row in rows:
            file.write(before + _as_json(row))
            before = ",\n"
        file.write("\n]\n" if before == ",\n" else "[]\n")


def _write_parquet(path: Path, rows: Iterable[Row]) -> None:
    import pyarrow
    import pyarrow.parquet

    groups = _groups(iter(rows))
    first = pyarrow.Table.from_pylist(next(groups, []))
    try:
        with pyarrow.parquet.ParquetWriter(path, first.schema) as writer:
            writer.write_table(first)
            for group in groups:
                writer.write_table(pyarrow.Table.from_pylist(group).cast(first.schema))
    except (pyarrow.ArrowException, TypeError, ValueError) as error:
        raise DataError(
            path,
            found=f"rows that Parquet cannot hold together ({str(error).splitlines()[0]})",
            fix="Write .jsonl instead.",
        ) from error


def _groups(rows: Iterator[Row]) -> Iterator[list[Row]]:
    while group := [json.loads(_as_json(row)) for row in islice(rows, ROWS_AT_ONCE)]:
        yield group


def _as_json(row: Row) -> str:
    return without_secrets(json.dumps(row, ensure_ascii=False, separators=(", ", ": ")))
