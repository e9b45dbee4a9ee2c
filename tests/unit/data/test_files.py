"""Files of every format are read whole, and what is wrong in one is named by its line."""

from __future__ import annotations

import gzip
import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import pyarrow
import pyarrow.parquet
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tunalm.data import files
from tunalm.data.files import existing_file, read_raw, stream_raw
from tunalm.errors import DataError

ROWS = [{"instruction": "Say yes.", "output": "Yes."}, {"instruction": "Sag schön.", "output": "a\u2028b"}]
LINES = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in ROWS).encode()


def parquet(rows: Sequence[Mapping[str, object]]) -> bytes:
    sink = pyarrow.BufferOutputStream()
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), sink)
    return bytes(sink.getvalue())


def read(folder: Path, content: bytes, name: str = "rows.jsonl") -> list[tuple[str, object]]:
    """Rows of a file with this content, each with its place inside the folder."""
    (folder / name).write_bytes(content)
    return [(row.where.removeprefix(f"{folder}/"), row.value) for row in read_raw(folder / name)]


def refusal(folder: Path, content: bytes) -> str:
    with pytest.raises(DataError) as caught:
        read(folder, content)
    assert "\n" not in str(caught.value)
    return str(caught.value).removeprefix(f"{folder}/")


@pytest.mark.parametrize(
    "content",
    [
        LINES,
        LINES.rstrip(),
        b"\xef\xbb\xbf" + LINES,
        LINES.replace(b"\n", b"\r\n"),
        gzip.compress(LINES, mtime=0),
        gzip.compress(LINES[:-20], mtime=0) + gzip.compress(LINES[-20:], mtime=0),
        json.dumps(ROWS).encode(),
        json.dumps(ROWS, indent=4, ensure_ascii=False).encode(),
        gzip.compress(json.dumps(ROWS).encode(), mtime=0),
        b"\xef\xbb\xbf \r\n" + json.dumps(ROWS).encode() + b"\n\n",
        parquet(ROWS),
        gzip.compress(parquet(ROWS), mtime=0),
    ],
)
@pytest.mark.parametrize("name", ["rows.jsonl", "rows.json", "rows"])
def test_the_content_tells_the_format_whatever_the_name(tmp_path: Path, content: bytes, name: str) -> None:
    assert [value for _, value in read(tmp_path, content, name)] == ROWS


def test_places_in_jsonl_count_blank_lines(tmp_path: Path) -> None:
    assert [where for where, _ in read(tmp_path, b'\n{"a": 1}\r\n  \n\n{"a": 2}\n\n')] == [
        "rows.jsonl:2",
        "rows.jsonl:5",
    ]


def test_places_in_an_array_are_the_lines_on_which_rows_begin(tmp_path: Path) -> None:
    content = b'\n[ {"a": 1},\r\n\n{"a":\n2}\n, [\n],3 , {"a": "]\\n,"}\n]'
    assert read(tmp_path, content) == [
        ("rows.jsonl:2, row 1", {"a": 1}),
        ("rows.jsonl:4, row 2", {"a": 2}),
        ("rows.jsonl:6, row 3", []),
        ("rows.jsonl:7, row 4", 3),
        ("rows.jsonl:7, row 5", {"a": "]\n,"}),
    ]


@settings(deadline=None)
@given(st.lists(st.dictionaries(st.text(max_size=3), st.text(max_size=5) | st.integers(), max_size=3), min_size=1))
def test_indentation_does_not_change_the_rows_of_an_array(
    tmp_path_factory: pytest.TempPathFactory, rows: list[dict[str, object]]
) -> None:
    folder = tmp_path_factory.getbasetemp()
    for indent in (None, 2):
        found = read(folder, json.dumps(rows, indent=indent).encode())
        assert [value for _, value in found] == rows
        assert len({where for where, _ in found}) == len(rows)


def test_parquet_keeps_nulls_and_nesting(tmp_path: Path) -> None:
    rows: list[dict[str, object]] = [
        {"messages": [{"role": "user", "content": "a"}], "id": None},
        {"messages": [], "id": 7},
    ]
    assert read(tmp_path, parquet(rows)) == [("rows.jsonl, row 1", rows[0]), ("rows.jsonl, row 2", rows[1])]


@pytest.mark.parametrize(
    "content", [b"", b"\n \r\n\n", b"\xef\xbb\xbf", b"[]", b"[\n]", gzip.compress(b"", mtime=0), parquet([])]
)
def test_a_file_without_rows_is_refused(tmp_path: Path, content: bytes) -> None:
    assert refusal(tmp_path, content).startswith("rows.jsonl: no rows.")


@pytest.mark.parametrize(
    ("content", "place", "reason"),
    [
        (LINES + b'{"a": }\n', "rows.jsonl:3", "Expecting value, column 7"),
        (LINES + b'{"a": "cut', "rows.jsonl:3", "Unterminated string"),
        (LINES + b"plain text\n", "rows.jsonl:3", "not JSON"),
        (LINES + b'{"a": "nul \x00 byte"}\n', "rows.jsonl:3", "control character"),
        (LINES + b"\x00" * 512, "rows.jsonl:3", "not JSON"),
        (LINES + b'{"a": "latin \xe9"}\n', "rows.jsonl:3", "byte 0xe9, which is not UTF-8"),
        (LINES.decode().encode("utf-16"), "rows.jsonl:1", "byte 0xff, which is not UTF-8"),
        (LINES + b'{"id": ' + b"9" * 5000 + b"}\n", "rows.jsonl:3", "4300 digits"),
        (LINES + b'{"a": ' + b"[" * 100_000 + b"]" * 100_000 + b"}\n", "rows.jsonl:3", "recursion"),
        (b"[" * 100_000, "rows.jsonl:1", "recursion"),
        (b'[\n{"a": 1},\n{"a": 2},\n]', "rows.jsonl:4", "not JSON"),
        (b'[\n{"a": 1}\n{"a": 2}\n]', "rows.jsonl:3", "','"),
        (b'[{"a": 1}]\n[{"a": 2}]', "rows.jsonl:2", "Extra data"),
        (b'{\n  "instruction": "one row over several lines"\n}', "rows.jsonl:1", "column 2"),
        (gzip.compress(LINES, mtime=0)[:-9], "rows.jsonl", "cannot be read"),
        (gzip.compress(LINES, mtime=0)[:10] + b"\xff" * 40, "rows.jsonl", "cannot be read"),
        (b"\x1f\x8b not gzip", "rows.jsonl", "cannot be read"),
        (b"PAR1 not Parquet", "rows.jsonl", "Parquet that cannot be read"),
        (parquet([{"a": 1}])[:-12], "rows.jsonl", "Parquet that cannot be read"),
    ],
)
def test_a_broken_file_is_refused_in_one_line_that_names_the_place(
    tmp_path: Path, content: bytes, place: str, reason: str
) -> None:
    line = refusal(tmp_path, content)
    assert line.startswith(f"{place}: ")
    assert reason in line


@settings(deadline=None)
@given(st.binary() | st.binary().map(gzip.compress) | st.binary().map(b"PAR1".__add__))
def test_any_content_is_rows_or_one_line(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    folder = tmp_path_factory.getbasetemp()
    try:
        assert read(folder, content)
    except DataError:
        assert refusal(folder, content).startswith("rows.jsonl")


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("alpaca.json", r"no such file.* Did you mean '.*/alpaca\.jsonl\.gz'\?"),
        ("", r"found a folder.*for instance .*/alpaca\.jsonl\.gz"),
        ("nowhere/rows.jsonl", r"no folder '.*/nowhere'"),
    ],
)
def test_what_is_no_file_is_refused_and_one_that_may_be_meant_is_named(tmp_path: Path, name: str, said: str) -> None:
    for there in ("README.md", "alpaca.jsonl.gz"):
        (tmp_path / there).touch()
    with pytest.raises(DataError, match=said):
        existing_file(str(tmp_path / name))


def test_a_stream_gives_rows_before_it_meets_what_is_wrong(tmp_path: Path) -> None:
    path = tmp_path / "rows"
    path.write_bytes(LINES + b"rubbish\n")
    rows = stream_raw(path)
    assert [next(rows).value, next(rows).value] == ROWS
    with pytest.raises(DataError, match="rows:3"):
        next(rows)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (gzip.compress(b"{" + b" " * 5000, mtime=0), "more than"),
        (gzip.compress(b"[" + b" " * 5000, mtime=0), "more than"),
        (parquet([{f"c{number}": 1 for number in range(1001)}]), "1001 columns"),
    ],
)
def test_a_file_that_unpacks_without_end_is_one_line(
    tmp_path: Path, content: bytes, reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files, "_LONGEST_LINE", 1000)
    monkeypatch.setattr(files, "_MOST_AT_ONCE", 1000 if reason == "more than" else 1 << 30)
    assert reason in refusal(tmp_path, content)
