"""Every kind of source is found, read, checked whole, and cut to what the recipe selects."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from tunalm.data import load, require_references
from tunalm.errors import DataError
from tunalm.recipe import Data
from tunalm.records import Instruction, Ranking, Response
from tunalm.store import write_rows

ALPACA = [{"instruction": f"Count to {n}.", "input": "", "output": f"{n}"} for n in range(6)]


def write(path: Path, rows: list[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


@pytest.fixture
def alpaca(tmp_path: Path) -> Path:
    return write(tmp_path / "alpaca.jsonl", ALPACA)


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> dict[tuple[str, str], list[dict[str, Any]]]:
    """A dataset hub: (name, split) -> rows."""
    import datasets

    held: dict[tuple[str, str], list[dict[str, Any]]] = {}

    def load_dataset(name: str, *, split: str) -> list[dict[str, Any]]:
        if (name, split) not in held:
            raise FileNotFoundError(f"Dataset {name}\nor split {split} is not there")
        return held[name, split]

    monkeypatch.setattr(datasets, "load_dataset", load_dataset)
    return held


@pytest.mark.parametrize(
    ("selection", "expected"),
    [
        ({}, "012345"),
        ({"rows": ":2"}, "01"),
        ({"rows": "-2:"}, "45"),
        ({"rows": "1:-3"}, "12"),
        ({"rows": "4:100"}, "45"),
        ({"limit": 2}, "01"),
        ({"limit": 100}, "012345"),
        ({"rows": "-3:", "limit": 2}, "34"),
    ],
)
def test_rows_then_limit_select_and_ids_stay(alpaca: Path, selection: dict[str, Any], expected: str) -> None:
    assert "".join(row.id for row in load(Data(source=str(alpaca), **selection))) == expected


@pytest.mark.parametrize("rows", ["", "3", "1:2:3", "a:", "1.5:", "--5:", ": 3"])
def test_what_is_no_slice_is_refused(rows: str) -> None:
    with pytest.raises(ValidationError, match="must be a slice"):
        Data(source="x.jsonl", rows=rows)


def test_references_can_be_kept_from_a_part_alone(alpaca: Path) -> None:
    rows = load(Data(source=str(alpaca), rows="1:4", references="2:3"))
    assert [row.reference is None for row in rows] == [True, False, True]


def test_an_empty_selection_is_refused(alpaca: Path) -> None:
    with pytest.raises(DataError, match=r"alpaca\.jsonl: no row in the slice '9:' of 6 rows"):
        load(Data(source=str(alpaca), rows="9:"))


def test_rows_that_are_not_selected_are_checked_too(tmp_path: Path) -> None:
    path = write(tmp_path / "rows.jsonl", [*ALPACA, {"instruction": 7, "output": "7"}])
    with pytest.raises(DataError, match=r"rows\.jsonl:7: found instruction"):
        load(Data(source=str(path), rows=":2", limit=1))


def test_a_file_of_ranked_rows_is_a_source(tmp_path: Path) -> None:
    path = tmp_path / "rankings.jsonl"
    rows = [Ranking(id=f"r{n}", instruction="Add.", reference=None, responses=[Response(text="3")]) for n in range(2)]
    write_rows(path, rows)
    assert load(Data(source=str(path))) == [Instruction(id=f"r{n}", instruction="Add.") for n in range(2)]


def test_a_home_folder_is_understood(alpaca: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(alpaca.parent))
    assert len(load(Data(source="~/alpaca.jsonl"))) == 6


def test_a_hub_dataset_is_read(hub: dict[tuple[str, str], list[dict[str, Any]]]) -> None:
    hub["owner/some.data-set", "train"] = ALPACA
    hub["owner/some.data-set", "test"] = ALPACA[:1]
    rows = load(Data(source="owner/some.data-set", rows="2:", limit=1))
    assert rows == [Instruction(id="2", instruction="Count to 2.", reference="2")]
    assert len(load(Data(source="owner/some.data-set", split="test"))) == 1


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ([ALPACA[0], {**ALPACA[1], "output": 1}], r"owner/name\[train\], row 2: found output"),
        ([], "owner/name: no rows"),
        (None, "^owner/name: found no file of that name, and no hub dataset .*FileNotFound"),
    ],
)
def test_what_a_hub_cannot_give_is_one_line(
    hub: dict[tuple[str, str], list[dict[str, Any]]], rows: list[dict[str, Any]] | None, said: str
) -> None:
    if rows is not None:
        hub["owner/name", "train"] = rows
    with pytest.raises(DataError, match=said):
        load(Data(source="owner/name"))


@pytest.mark.parametrize(
    "source", ["nowhere.jsonl", "data/nowhere.jsonl.gz", "./owner/name", "/owner/name", "name", "a/b/c"]
)
@pytest.mark.usefixtures("hub")
def test_a_mistyped_path_is_not_looked_for_on_a_hub(
    source: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(DataError, match=r"found no (such file|folder)"):
        load(Data(source=source))


@pytest.mark.usefixtures("hub")
def test_a_name_inside_an_existing_folder_is_a_path(alpaca: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(alpaca.parent.parent)
    with pytest.raises(DataError, match=r"no such file.*Did you mean '.*alpaca\.jsonl'"):
        load(Data(source=f"{alpaca.parent.name}/alpaca"))


def test_a_split_of_built_in_tasks_that_does_not_exist(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"^checkable:helduot: .*Did you mean 'heldout'\?"):
        load(Data(source="checkable:helduot"))


@pytest.mark.parametrize("split", ["train", "heldout"])
def test_built_in_tasks_are_a_source(split: str) -> None:
    rows = load(Data(source=f"checkable:{split}", limit=3))
    assert len(rows) == 3
    assert all(row.checker for row in rows)


def test_the_identity_is_what_the_source_holds(tmp_path: Path, alpaca: Path) -> None:
    same = write(tmp_path / "same.jsonl", ALPACA)
    other = write(tmp_path / "other.jsonl", ALPACA[:5])
    identities = [Data(source=str(path)).identities() for path in (alpaca, same, other)]
    assert identities[0] == identities[1] != identities[2]
    assert Data(source="owner/name", split="a").identities() != Data(source="owner/name", split="b").identities()
    assert Data(source="checkable:train").identities() == Data(source="checkable:train").identities()
    assert Data(source="checkable:train").identities() != Data(source="checkable:heldout").identities()


def test_rows_without_a_reference_are_named() -> None:
    rows = [Instruction(id=f"r{n}", instruction="Add.", reference=None if n else "3") for n in range(6)]
    with pytest.raises(DataError, match=r"^some file: 5 of 6 rows without a reference \(ids r1, r2, r3, \.\.\.\)"):
        require_references(rows, "some file")
    require_references(rows[:1], "some file")
