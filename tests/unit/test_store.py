"""Files are whole or absent, and a bad line is named."""

from __future__ import annotations

import os
import pickle
from pathlib import Path

import pytest

from tunalm.errors import DataError, StoreError, TunaError
from tunalm.records import Ranking, Response
from tunalm.store import digest, folder_identity, read_rows, write_rows, write_text


def test_rows_survive_a_round_trip(tmp_path: Path) -> None:
    rows = [
        Ranking(id="1", instruction="Viết một câu.", responses=[Response(text="Một.\n\u2028Hai", rank=0, score=-0.5)]),
        Ranking(id="2", instruction="x", responses=[], failure="refused"),
    ]
    assert write_rows(tmp_path / "rows.jsonl", rows) == 2
    assert read_rows(tmp_path / "rows.jsonl", Ranking) == rows


def test_unknown_fields_of_a_row_are_kept(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text('{"id": "1", "instruction": "x", "responses": [], "mine": 7}\n', encoding="utf-8")
    assert read_rows(path, Ranking)[0].model_dump()["mine"] == 7


@pytest.mark.parametrize("line", ["{", "[]", '{"id": "1"}', '{"id": 1, "instruction": "x", "responses": []}'])
def test_a_bad_line_is_named(tmp_path: Path, line: str) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text('{"id": "1", "instruction": "x", "responses": []}\n' + line + "\n", encoding="utf-8")
    with pytest.raises(DataError, match=r"rows\.jsonl:2: found"):
        read_rows(path, Ranking)


def test_a_write_that_fails_leaves_the_old_file_and_no_rubbish(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "file"
    write_text(path, "old")

    def full(handle: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(StoreError, match="No space left on device"):
        write_text(path, "new")
    assert path.read_text(encoding="utf-8") == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_the_digest_does_not_depend_on_the_order_of_keys() -> None:
    assert digest({"a": 1, "b": [2]}) == digest({"b": [2], "a": 1})
    assert digest({"a": 1}) != digest({"a": 2})


def test_a_model_folder_changes_its_identity_with_its_files(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}", encoding="utf-8")
    before = folder_identity(tmp_path)
    (tmp_path / "config.json").write_text('{"a": 1}', encoding="utf-8")
    assert folder_identity(tmp_path) != before


def test_errors_keep_their_parts_through_pickling() -> None:
    error = DataError("f:1", found="x", expected="y", fix="Do z.")
    again = pickle.loads(pickle.dumps(error))
    assert isinstance(again, TunaError)
    assert (str(again), again.where, again.fix) == (str(error), "f:1", "Do z.")
    assert str(error) == "f:1: found x; expected y. Do z."
