"""Raw rows out of a local file: a JSON array, JSONL or Parquet, gzipped or not.

The format is told from the content, not from the name: a `.json` file with one object per line is JSONL. JSONL and
Parquet are read a few rows at a time.
"""

from __future__ import annotations

import gzip
import io
import json
import reprlib
import zlib
from collections.abc import Iterator
from difflib import get_close_matches
from itertools import chain
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple, cast

from tunalm.errors import DataError
from tunalm.store import local_path

SUFFIXES = (".json", ".jsonl", ".parquet", ".gz")
"""How the names of data files usually end."""
_BETWEEN_ELEMENTS = " \t\r\n,"
_LINES = "one JSON object per line, or a JSON array, or Parquet"
_GZIP = b"\x1f\x8b"
_START = 4096
_ROWS_AT_ONCE = 1000
_LONGEST_LINE = 1 << 26
"""Bytes of a row in JSONL; a file that unpacks to more without end is no data."""
_MOST_AT_ONCE = 1 << 30
"""Bytes, unpacked, of a file that can only be read whole."""
_MOST_COLUMNS = 1000
_LFS = b"version https://git-lfs"
_NOT_ROWS = {
    b"PK\x03\x04": ("a zip archive", "Unpack it and name a file in it."),
    _GZIP: ("a file that is packed twice", "Unpack it once."),
    _LFS: ("a Git LFS pointer in place of the file", "Fetch it with `git lfs pull`."),
    b"<": ("a web page, or another text in angle brackets", "Fetch the file itself, and not the page about it."),
}
"""How files begin that are no data, and what to say of them."""
_FORMATS = "a JSON array, JSONL or Parquet file of instructions (.json and .jsonl also gzipped)"


class _TwiceError(ValueError):
    """A field stands twice in an object."""


def _fields(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """The fields of an object, in which none may stand twice: most readers take the last, some the first."""
    fields = dict(pairs)
    if len(fields) < len(pairs):
        names = [name for name, _ in pairs]
        raise _TwiceError(f"the field {reprlib.repr(next(name for name in names if names.count(name) > 1))} twice")
    return fields


_DECODER = json.JSONDecoder(object_pairs_hook=_fields)


class RawRow(NamedTuple):
    """One row as it was found, not yet checked."""

    where: str
    """`file:line`; in a JSON array `file:line, row N`, in Parquet `file, row N` (the first is row 1)."""
    value: Any


def existing_file(source: Path | str) -> Path:
    """Return the path of a local file.

    Raises:
        DataError: there is none; a name beside it that looks alike is suggested.
    """
    path = local_path(source)
    try:
        if path.is_file():
            return path
    except OSError as error:
        raise DataError(f"{source!s:.60}", found=str(error.strerror), fix="Check the path.") from error
    if path.is_dir():
        names = [name for name in _names(path) if name.endswith(SUFFIXES)]
        found, fix = "a folder", f"Name a file in it{f', for instance {path / names[0]}' if names else ''}."
    elif path.exists():
        found, fix = "something that is not a regular file", "Save the rows in a file first."
    elif path.is_symlink():
        found, fix = "a link that leads nowhere", "Correct the link."
    elif not path.parent.is_dir():
        found, fix = f"no folder '{path.parent}'", "Check the path."
    else:
        near = get_close_matches(path.name, _names(path.parent), n=1)
        found, fix = "no such file", f"Did you mean '{path.parent / near[0]}'?" if near else "Check the path."
    raise DataError(source, found=found, expected=_FORMATS, fix=fix)


def read_raw(path: Path | str) -> list[RawRow]:
    """Read all rows of a file, with the place of each.

    Raises:
        DataError: as `stream_raw`.
    """
    return list(stream_raw(path))


def stream_raw(source: Path | str, *, lenient: bool = False) -> Iterator[RawRow]:
    """Yield the rows of a file one after the other, with the place of each.

    Args:
        source: path of the file.
        lenient: yield the error of a line that is no JSON as its value, and go on.

    Raises:
        DataError: there is no such file, or it cannot be read, is broken (the line is named when it is reached), or has
            no rows.
    """
    path = existing_file(source)
    try:
        rows = _rows(path)
        first = next(rows, None)
        if first is None:
            raise DataError(path, found="no rows", fix="Check the file.")
        for row in chain([first], rows):
            if isinstance(row.value, DataError) and not lenient:
                raise row.value
            yield row
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(
            path,
            found=f"a file that cannot be read ({getattr(error, 'strerror', None) or error})",
            fix="Check the file's permissions, or fetch it again: it may be cut short.",
        ) from error


def _rows(path: Path) -> Iterator[RawRow]:
    with _open(path) as file:
        start = file.read(_START)
    if start.startswith(b"PAR1"):
        return _parquet_rows(path)
    start = start.removeprefix(b"\xef\xbb\xbf").lstrip()
    for beginning, (found, fix) in _NOT_ROWS.items():
        if start.startswith(beginning):
            raise DataError(path, found=found, fix=fix)
    array = start.startswith(b"[")
    return _array_rows(path, _decode(path, _whole(path))) if array else _line_rows(path)


def _names(folder: Path) -> list[str]:
    try:
        return sorted(entry.name for entry in folder.iterdir())
    except OSError:
        return []


def _open(path: Path) -> BinaryIO:
    """The file, unpacked."""
    with open(path, "rb") as file:
        packed = file.read(len(_GZIP)) == _GZIP
    return cast(BinaryIO, gzip.open(path)) if packed else open(path, "rb")


def _whole(path: Path) -> bytes:
    with _open(path) as file:
        content = file.read(_MOST_AT_ONCE + 1)
    if len(content) > _MOST_AT_ONCE:
        raise DataError(path, found="more than 1 GiB that can only be read whole", fix="Write it as plain JSONL.")
    return content


def _decode(path: Path, content: bytes, first_line: int = 1) -> str:
    """Text of the file from a line on."""
    try:
        return content.decode("utf-8-sig" if first_line == 1 else "utf-8")
    except UnicodeDecodeError as error:
        line = first_line + content.count(b"\n", 0, error.start)
        raise DataError(
            f"{path}:{line}",
            found=f"byte 0x{error.object[error.start]:02x}, which is not UTF-8",
            fix="Save the file as UTF-8.",
        ) from error


def _parse(text: str, path: Path, first_line: int, expected: str) -> Any:
    """Parse JSON that starts at a line of a file."""
    try:
        return _DECODER.decode(text)
    except (ValueError, RecursionError) as error:
        line, reason = first_line, str(error)
        if isinstance(error, _TwiceError):
            raise DataError(f"{path}:{line}", found=reason, fix="Remove or rename one.") from error
        if isinstance(error, json.JSONDecodeError):
            line, reason = first_line + error.lineno - 1, f"{error.msg}, column {error.colno}"
        raise DataError(
            f"{path}:{line}",
            found=f"text that is not JSON ({reason})",
            expected=expected,
            fix="Correct the line, or convert the file.",
        ) from error


def _line_rows(path: Path) -> Iterator[RawRow]:
    # Not str.splitlines: JSON strings may hold U+2028 and its like, which end no line here.
    with _open(path) as file:
        number = 0
        while content := file.readline(_LONGEST_LINE + 1):
            number += 1
            if len(content) > _LONGEST_LINE:
                raise DataError(f"{path}:{number}", found="a line of more than 64 MiB", fix="Check the file.")
            try:
                line = _decode(path, content, number)
                if line.strip():
                    yield RawRow(f"{path}:{number}", _parse(line.rstrip("\r\n"), path, number, _LINES))
            except DataError as error:
                yield RawRow(f"{path}:{number}", error)


def _array_rows(path: Path, text: str) -> Iterator[RawRow]:
    count = len(_parse(text, path, 1, "a JSON array of objects"))
    # The whole is known to be right, so what is left to find out is the line on which each element begins.
    end = text.index("[") + 1
    line = 1 + text.count("\n", 0, end)
    for number in range(1, count + 1):
        start = end
        while text[start] in _BETWEEN_ELEMENTS:
            start += 1
        line += text.count("\n", end, start)
        value, end = _DECODER.raw_decode(text, start)
        yield RawRow(f"{path}:{line}, row {number}", value)
        line += text.count("\n", start, end)


def _parquet_rows(path: Path) -> Iterator[RawRow]:
    import pyarrow
    import pyarrow.parquet

    number = 0
    with _open(path) as file:
        source = io.BytesIO(_whole(path)) if isinstance(file, gzip.GzipFile) else file
        try:
            parquet = pyarrow.parquet.ParquetFile(source)
            if (columns := len(parquet.schema_arrow)) > _MOST_COLUMNS:
                raise DataError(path, found=f"{columns} columns", fix="Check the file.")
            for batch in parquet.iter_batches(_ROWS_AT_ONCE):
                for value in batch.to_pylist():
                    number += 1
                    yield RawRow(f"{path}, row {number}", value)
        except (pyarrow.ArrowException, OSError, ValueError) as error:
            raise DataError(
                path,
                found=f"Parquet that cannot be read ({str(error).splitlines()[0]})",
                fix="Fetch or write the file again.",
            ) from error
