"""Rows into files that are whole or absent."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tunalm import redaction
from tunalm.data.files import read_raw
from tunalm.data.streaming import ROWS_AT_ONCE, write_stream
from tunalm.errors import DataError


def make_rows(count: int) -> Iterator[dict[str, Any]]:
    for number in range(count):
        yield {"id": str(number), "chosen": [{"role": "assistant", "content": f"é\u2028{number}"}]}


@pytest.mark.parametrize("ending", [".jsonl", ".json", ".parquet"])
@pytest.mark.parametrize("count", [1, 2 * ROWS_AT_ONCE + 1])
def test_what_is_written_is_what_is_read(tmp_path: Path, ending: str, count: int) -> None:
    path = tmp_path / f"rows{ending}"
    write_stream(path, make_rows(count))
    assert [row.value for row in read_raw(path)] == list(make_rows(count))


@pytest.mark.parametrize("ending", [".jsonl", ".json", ".parquet"])
def test_a_source_that_fails_midway_leaves_the_old_file_and_no_rubbish(tmp_path: Path, ending: str) -> None:
    def broken() -> Iterator[dict[str, Any]]:
        yield from make_rows(ROWS_AT_ONCE + 5)
        raise DataError("in.jsonl:9", found="rubbish", expected="a row", fix="Correct it.")

    path = tmp_path / f"rows{ending}"
    path.write_text("old", encoding="utf-8")
    with pytest.raises(DataError, match=r"in\.jsonl:9"):
        write_stream(path, broken())
    assert path.read_text(encoding="utf-8") == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_no_rows_are_an_empty_file(tmp_path: Path) -> None:
    write_stream(tmp_path / "rows.jsonl", [])
    write_stream(tmp_path / "rows.json", [])
    assert (tmp_path / "rows.jsonl").read_text(encoding="utf-8") == ""
    assert (tmp_path / "rows.json").read_text(encoding="utf-8") == "[]\n"


def test_another_ending_is_refused_before_anything_is_read(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"ends in '\.csv'"):
        write_stream(tmp_path / "rows.csv", (1 / 0 for _ in "x"))  # type: ignore[misc]


def test_later_rows_with_other_fields_are_refused_in_parquet(tmp_path: Path) -> None:
    rows = [*make_rows(ROWS_AT_ONCE), {"id": "x", "more": 1}]
    with pytest.raises(DataError, match=r"cannot hold together.*Write \.jsonl instead"):
        write_stream(tmp_path / "rows.parquet", rows)


@pytest.mark.parametrize("ending", [".jsonl", ".json", ".parquet"])
def test_half_a_surrogate_pair_is_one_line(tmp_path: Path, ending: str) -> None:
    with pytest.raises(DataError, match="rows"):
        write_stream(tmp_path / f"rows{ending}", [{"id": "\ud83d"}])
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("ending", [".jsonl", ".parquet"])
def test_no_key_gets_into_the_file(tmp_path: Path, ending: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(redaction, "_known", {})
    redaction.remember("a-very-secret-key")
    path = tmp_path / f"rows{ending}"
    write_stream(path, [{"text": "it is a-very-secret-key"}])
    assert [row.value for row in read_raw(path)] == [{"text": "it is [key]"}]
