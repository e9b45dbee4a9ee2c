"""Raw rows out of a local file: a JSON array, JSONL or Parquet, gzipped or not.

The format is told from the content, not from the name: a `.json` file with one object per line is JSONL.
"""

from __future__ import annotations

import gzip
import json
import zlib
from difflib import get_close_matches
from pathlib import Path
from typing import Any, NamedTuple

from tunalm.errors import DataError

SUFFIXES = (".json", ".jsonl", ".parquet", ".gz")
"""How the names of data files usually end."""
_BETWEEN_ELEMENTS = " \t\r\n,"
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
        raise DataError(path, found="no rows", expected="at least one instruction", fix="Check the file.")
    return rows


def _names(folder: Path) -> list[str]:
    try:
        return sorted(entry.name for entry in folder.iterdir())
    except OSError:
        return []


def _content(path: Path) -> bytes:
    """Bytes of the file, decompressed."""
    try:
        content = path.read_bytes()
        return gzip.decompress(content) if content.startswith(b"\x1f\x8b") else content
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(
            path,
            found=f"a file that cannot be read ({getattr(error, 'strerror', None) or error})",
            expected=_FORMATS,
            fix="Check the file's permissions, or fetch it again: it may be cut short.",
        ) from error


def _decode(path: Path, content: bytes) -> str:
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
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
    expected = "one JSON object per line, or a JSON array, or Parquet"
    return [
        RawRow(f"{path}:{number}", _parse(line, path, number, expected))
        for number, line in enumerate(text.split("\n"), start=1)
        if line.strip()
    ]


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
    import pyarrow.parquet

    try:
        values = pyarrow.parquet.read_table(pyarrow.BufferReader(content)).to_pylist()
    except (pyarrow.ArrowException, OSError, ValueError) as error:
        raise DataError(
            path,
            found=f"Parquet that cannot be read ({str(error).splitlines()[0]})",
            expected=_FORMATS,
            fix="Fetch or write the file again.",
        ) from error
    return [RawRow(f"{path}, row {number}", value) for number, value in enumerate(values, start=1)]
