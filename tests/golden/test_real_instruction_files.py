"""Public instruction files as their authors published them, read whole."""

from __future__ import annotations

from pathlib import Path

import pytest

from tunalm.data import load, require_references
from tunalm.errors import DataError
from tunalm.recipe import Data

SHARED = Path(__file__).parents[2].parent / "shared" / "data"

pytestmark = pytest.mark.skipif(not SHARED.is_dir(), reason="the public files are not beside the repository")


@pytest.mark.parametrize(
    ("name", "count", "with_input", "first", "last"),
    [
        ("alpaca/alpaca_18k.jsonl.gz", 18_789, 7_458, "0", "18788"),
        ("dolly/dolly_subset.jsonl.gz", 4_158, None, "0", "4157"),
        ("self_instruct/seed_tasks.jsonl", 175, None, "seed_task_0", "seed_task_174"),
        ("self_instruct/user_oriented_instructions_252.jsonl", 252, None, "user_oriented_task_0", None),
    ],
)
def test_all_rows_are_read(name: str, count: int, with_input: int | None, first: str, last: str | None) -> None:
    rows = load(Data(source=str(SHARED / name)))
    assert len(rows) == len({row.id for row in rows}) == count
    assert rows[0].id == first
    assert last is None or rows[-1].id == last
    assert with_input is None or sum(bool(row.input) for row in rows) == with_input
    assert any(row.reference for row in rows)


def test_self_instruct_seeds_all_have_references() -> None:
    source = str(SHARED / "self_instruct" / "seed_tasks.jsonl")
    require_references(load(Data(source=source)), source)


def test_a_slice_of_alpaca_keeps_the_ids_of_the_file() -> None:
    rows = load(Data(source=str(SHARED / "alpaca" / "alpaca_18k.jsonl.gz"), rows="-100:", limit=64))
    assert [row.id for row in rows] == [str(number) for number in range(18_689, 18_753)]


def test_lists_of_outputs_are_no_references() -> None:
    with pytest.raises(DataError, match=r"8 rows that are wrong .*sft\.json:2, row 1: output: "):
        load(Data(source=str(SHARED / "rank_data" / "alpaca_farm_multisamples_sft.json")))
