"""Raw rows out of a local file: a JSON array, JSONL or Parquet, gzipped or not.

The format is told from the content, not from the name: a `.json` file with one object per line is JSONL.
"""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Iterator
from difflib import get_close_matches
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple, cast

from tunalm.errors import DataError

SUFFIXES = (".json", ".jsonl", ".parquet", ".gz")
"""How the names of data files usually end."""
_BETWEEN_ELEMENTS = " \t\r\n,"
_LINES = "one JSON object per line, or a JSON array, or Parquet"
_GZIP = b"\x1f\x8b"
_START = 4096
_ROWS_AT_ONCE = 1000
_UNREADABLE = (OSError, EOFError, zlib.error)
_FORMATS = "a JSON array, JSONL or Parquet file of instructions (.json and .jsonl also gzipped)"


class RawRow(NamedTuple):
    """One row as it was found, not yet checked."""

    where: str
    """`file:line`; in a JSON array `file:line, row N`, in Parquet `file, row N` (the first is row 1)."""
    value: Any


def existing_file(source: str) -> Path:
    """Return the path of a local file.

    Raises:
        DataError: there is none; a name beside it that looks alike is suggested.
    """
    path = Path(source).expanduser()
    if path.is_file():
        return path
    if path.is_dir():
        names = [name for name in _names(path) if name.endswith(SUFFIXES)]
        found, fix = "a folder", f"Name a file in it{f', for instance {path / names[0]}' if names else ''}."
    elif path.exists():
        found, fix = "something that is not a regular file", "Save the rows in a file first."
    elif not path.parent.is_dir():
        found, fix = f"no folder '{path.parent}'", "Check the path."
    else:
        near = get_close_matches(path.name, _names(path.parent), n=1)
        found, fix = "no such file", f"Did you mean '{path.parent / near[0]}'?" if near else "Check the path."
    raise DataError(source, found=found, expected=_FORMATS, fix=fix)


def read_raw(path: Path) -> list[RawRow]:
    """Read all rows of a file, with the place of each.

    Raises:
        DataError: the file cannot be read, is broken (the line is named), or has no rows.
    """
    content = _content(path)
    if content.startswith(b"PAR1"):
        rows = _parquet_rows(path, content)
    else:
        text = _decode(path, content)
        rows = _array_rows(path, text) if text.lstrip().startswith("[") else _line_rows(path, text)
    if not rows:
        raise _no_rows(path)
    return rows


def stream_raw(path: Path) -> Iterator[RawRow]:
    """Yield what `read_raw` reads, a few rows at a time where the format allows it: a JSON array is read whole.

    Raises:
        DataError: as `read_raw`, but what is wrong further down is met only there.
    """
    start = _start(path)
    if start.startswith(b"PAR1") and not _is_compressed(path):
        rows = _parquet_stream(path)
    elif start.removeprefix(b"\xef\xbb\xbf").lstrip().startswith(b"{"):
        rows = _line_stream(path)
    else:
        rows = iter(read_raw(path))
    first = next(rows, None)
    if first is None:
        raise _no_rows(path)
    yield first
    yield from rows


def _names(folder: Path) -> list[str]:
    try:
        return sorted(entry.name for entry in folder.iterdir())
    except OSError:
        return []


def _content(path: Path) -> bytes:
    """Bytes of the file, decompressed."""
    try:
        content = path.read_bytes()
        return gzip.decompress(content) if content.startswith(_GZIP) else content
    except _UNREADABLE as error:
        raise _unreadable(path, error) from error


def _start(path: Path) -> bytes:
    """The first bytes of the file, decompressed."""
    try:
        with _open(path) as file:
            return file.read(_START)
    except _UNREADABLE as error:
        raise _unreadable(path, error) from error


def _open(path: Path) -> BinaryIO:
    return cast(BinaryIO, gzip.open(path)) if _is_compressed(path) else open(path, "rb")


def _is_compressed(path: Path) -> bool:
    with open(path, "rb") as file:
        return file.read(len(_GZIP)) == _GZIP


def _no_rows(path: Path) -> DataError:
    return DataError(path, found="no rows", expected="at least one instruction", fix="Check the file.")


def _unreadable(path: Path, error: Exception) -> DataError:
    return DataError(
        path,
        found=f"a file that cannot be read ({getattr(error, 'strerror', None) or error})",
        expected=_FORMATS,
        fix="Check the file's permissions, or fetch it again: it may be cut short.",
    )


def _decode(path: Path, content: bytes, first_line: int = 1) -> str:
    """Text of the file from a line on."""
    try:
        return content.decode("utf-8-sig" if first_line == 1 else "utf-8")
    except UnicodeDecodeError as error:
        line = first_line + content.count(b"\n", 0, error.start)
        raise DataError(
            f"{path}:{line}",
            found=f"byte 0x{error.object[error.start]:02x}, which is not UTF-8",
            expected=_FORMATS,
            fix="Save the file as UTF-8.",
        ) from error


def _parse(text: str, path: Path, first_line: int, expected: str) -> Any:
    """Parse JSON that starts at a line of a file."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        line, reason = first_line, str(error)
        if isinstance(error, json.JSONDecodeError):
            line, reason = first_line + error.lineno - 1, f"{error.msg}, column {error.colno}"
        raise DataError(
            f"{path}:{line}",
            found=f"text that is not JSON ({reason})",
            expected=expected,
            fix="Correct the line, or convert the file.",
        ) from error


def _line_rows(path: Path, text: str) -> list[RawRow]:
    # Not str.splitlines: JSON strings may hold U+2028 and its like, which end no line here.
    return [
        RawRow(f"{path}:{number}", _parse(line, path, number, _LINES))
        for number, line in enumerate(text.split("\n"), start=1)
        if line.strip()
    ]


def _line_stream(path: Path) -> Iterator[RawRow]:
    try:
        with _open(path) as file:
            for number, content in enumerate(file, start=1):
                line = _decode(path, content, number)
                if line.strip():
                    yield RawRow(f"{path}:{number}", _parse(line, path, number, _LINES))
    except _UNREADABLE as error:
        raise _unreadable(path, error) from error


def _array_rows(path: Path, text: str) -> list[RawRow]:
    count = len(_parse(text, path, 1, "a JSON array of objects"))
    # The whole is known to be right, so what is left to find out is the line on which each element begins.
    decoder = json.JSONDecoder()
    rows: list[RawRow] = []
    end = text.index("[") + 1
    line = 1 + text.count("\n", 0, end)
    for number in range(1, count + 1):
        start = end
        while text[start] in _BETWEEN_ELEMENTS:
            start += 1
        line += text.count("\n", end, start)
        value, end = decoder.raw_decode(text, start)
        rows.append(RawRow(f"{path}:{line}, row {number}", value))
        line += text.count("\n", start, end)
    return rows


def _parquet_rows(path: Path, content: bytes) -> list[RawRow]:
    import pyarrow

    return list(_parquet_stream(path, pyarrow.BufferReader(content)))


def _parquet_stream(path: Path, source: Any = None) -> Iterator[RawRow]:
    """Rows of a Parquet file, or of the `source` that has its content."""
    import pyarrow
    import pyarrow.parquet

    number = 0
    try:
        for batch in pyarrow.parquet.ParquetFile(source or path).iter_batches(_ROWS_AT_ONCE):
            for value in batch.to_pylist():
                number += 1
                yield RawRow(f"{path}, row {number}", value)
    except (pyarrow.ArrowException, OSError, ValueError) as error:
        raise DataError(
            path,
            found=f"Parquet that cannot be read ({str(error).splitlines()[0]})",
            expected=_FORMATS,
            fix="Fetch or write the file again.",
        ) from error
