"""The built-in tasks: what `generate` promises about its rows."""

from __future__ import annotations

import hashlib
from collections import Counter
from typing import Any

import pytest

from tunalm.data.checkable import FAMILIES, VERSION, check, generate
from tunalm.data.checkable.checkers import CHECKERS, words_of
from tunalm.data.checkable.families import NUMBERS, Split
from tunalm.data.checkable.words import HELDOUT, KINDS, TRAIN
from tunalm.records import Instruction

ROWS: dict[Split, list[Instruction]] = {split: generate(split) for split in NUMBERS}
ALL_ROWS = [row for rows in ROWS.values() for row in rows]
FORM = {"name", "place", "brackets", "times", "count", "most"}
"""Parameters that say what to do with the words and numbers; the splits share them, as they share phrasings."""
SHA256 = "3e2169106a1b793d305ba4385d1332a81e3f076f4c6d05d437ac48bd30ac7a90"
LATER = "338aac7b3958d2f58911bf3348faddbafe9d54106990620a8f4fc6fee1661b9f"
"""Of the rows of edition 1."""

NAMES = {draw.__name__: phrasings for draw, phrasings in FAMILIES.items()}


def family_rows(split: Split, family: str) -> list[Instruction]:
    return [row for row in ROWS[split] if row.task == family]


def content(row: Instruction) -> set[str]:
    """Words and numbers that a row is about."""
    assert row.checker is not None
    found: set[str] = set()
    for key, value in row.checker.items():
        if key not in FORM:
            found.update(words_of(" ".join(map(str, value)) if isinstance(value, list) else str(value)))
    return found - {"the"}


def score(row: Instruction, response: str) -> float:
    assert row.checker is not None
    return check(row.checker, response)


def test_the_rows_are_the_same_everywhere() -> None:
    """Rows that came later stand behind those that edition 1 began with."""
    first = ROWS["train"][:640] + ROWS["heldout"]
    found = [_sha256(rows) for rows in (first, ROWS["train"][640:] + ROWS["test"])]
    assert (VERSION, found) == ("1", [SHA256, LATER]), "a change of rows is a new edition"


def _sha256(rows: list[Instruction]) -> str:
    return hashlib.sha256("\n".join(row.model_dump_json() for row in rows).encode()).hexdigest()


def test_families_come_in_turns_until_one_runs_out() -> None:
    turns: dict[Split, int] = {"train": 48, "heldout": 16, "test": 32}
    for split, in_turns in turns.items():
        tasks = [row.task or "" for row in ROWS[split]]
        assert tasks[: in_turns * len(NAMES)] == list(NAMES) * in_turns
        counts = Counter(tasks)
        assert max(counts.values()) == len(NUMBERS[split])
        assert sorted(name for name, count in counts.items() if count < len(NUMBERS[split])) == (
            [] if split == "heldout" else ["avoids_word", "list_of", "opposite"][split == "train" :]
        )


def test_ids_and_instructions_are_unique() -> None:
    assert len({row.id for row in ALL_ROWS}) == len(ALL_ROWS)
    assert len({row.instruction for row in ALL_ROWS}) == len(ALL_ROWS)
    assert {row.id for row in ROWS["heldout"]} >= {"heldout/contains_words/000", "heldout/json_pair/015"}


@pytest.mark.parametrize("family", NAMES)
def test_no_word_or_number_of_a_family_is_learned_and_asked(family: str) -> None:
    train, heldout, test = (set().union(*map(content, family_rows(split, family))) for split in ROWS)
    assert train
    assert heldout
    assert test
    assert not train & (heldout | test)


def test_no_object_is_a_name_of_a_kind() -> None:
    names = {name for kind in KINDS.values() for name in kind}
    assert not names & {*TRAIN.objects, *HELDOUT.objects}


def test_every_reference_is_right() -> None:
    assert [(row.id, row.reference) for row in ALL_ROWS if score(row, row.reference or "") != 1.0] == []


def test_an_echo_of_the_instruction_is_worth_nothing() -> None:
    assert [row.instruction for row in ALL_ROWS if score(row, row.instruction) != 0.0] == []


@pytest.mark.parametrize("empty", ["", " ", "\n\t\u00a0", "...", "\u200b", "- ", '""'])
def test_an_empty_response_is_worth_nothing(empty: str) -> None:
    assert all(score(row, empty) == 0.0 for row in ALL_ROWS)


@pytest.mark.parametrize("family", NAMES)
def test_no_single_response_answers_more_than_half_of_a_family(family: str) -> None:
    rows = family_rows("heldout", family)
    for response in {row.reference or "" for row in family_rows("train", family) + rows}:
        assert sum(score(row, response) == 1.0 for row in rows) <= len(rows) / 2


def test_what_is_balanced_is_balanced_exactly() -> None:
    for split in ROWS:
        answers = Counter((row.reference or "")[:2] for row in family_rows(split, "yes_or_no"))
        assert answers["Ye"] == answers["No"]
        places = Counter(row.checker and row.checker["place"] for row in family_rows(split, "letter"))
        assert places["first"] == places["last"]


@pytest.mark.parametrize("family", NAMES)
def test_a_family_has_several_phrasings_and_uses_all(family: str) -> None:
    phrasings = NAMES[family]
    assert 3 <= len(phrasings) <= 5
    for phrasing in phrasings:
        opening = phrasing.split("{")[0]
        assert any(row.instruction.startswith(opening) for row in family_rows("train", family))


def test_every_checker_is_used_and_known() -> None:
    used: list[Any] = [row.checker and row.checker["name"] for row in ALL_ROWS]
    assert set(used) == set(CHECKERS)
