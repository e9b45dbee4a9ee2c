"""Replies of a judge: what counts as one, what is salvaged, what is refused. No rank is ever made up."""

from __future__ import annotations

import json
import math
import random
import re
from collections.abc import Callable
from functools import partial
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.judges import marking
from tunalm.ranking.judge.paper_replies import read_paper
from tunalm.ranking.judge.prompts import CRITERIA, KINDS, reply_schema
from tunalm.ranking.judge.replies import LONGEST_REPAIR, JudgeReading, read_audited

LABELS = ["R1", "R2"]
GOOD: dict[str, list[Any]] = {"R1": [5, 0, 3], "R2": [1, 2, 3]}
NAMED = {label: {"evidence": "fine", **dict(zip(CRITERIA, marks, strict=True))} for label, marks in GOOD.items()}
SOUND = marking(GOOD)


def marks_of(reading: JudgeReading) -> list[list[int]]:
    return [list(reading.marks[label].values()) for label in sorted(reading.marks)]


@pytest.mark.parametrize(
    "reply",
    [
        "",
        "R1 is better",
        "[1, 2]",
        "{",
        "}{",
        "{}",
        "1" * 5000,
        '{"a": ' + "1" * 5000 + "}",
        '{"a":' * 5000,
        "{" * LONGEST_REPAIR * 2,
        marking({"R1": [5, 5, 5]}),
        marking({**GOOD, "R3": [1, 1, 1]}),
        marking({"r1": [1, 1, 1], "R2": [1, 1, 1]}),
        marking({**GOOD, "R2": [1, 2]}),
        marking({**GOOD, "R2": [1, 2, 6]}),
        marking({**GOOD, "R2": [1, 2, -1]}),
        marking({**GOOD, "R2": [1, 2, "3.5"]}),
        marking(GOOD).replace(": 5,", ': "five",'),
        marking({**GOOD, "R2": [1.5, 2, 3]}),
        marking({**GOOD, "R2": [True, 2, 3]}),
        marking({**GOOD, "R2": [math.nan, 2, 3]}),
        marking(GOOD, scores={**NAMED, "R2": {**NAMED["R2"], "total": 5}}),
        marking(GOOD, scores={**NAMED, "R2": {**NAMED["R2"], "evidence": " "}}),
        marking(GOOD, scores={**NAMED, "R2": None}),
        marking(GOOD, scores={**NAMED, "R2": [1, 2, 3]}),
        marking(GOOD, scores=[NAMED["R1"], NAMED["R2"]]),
        marking(GOOD, kind="both"),
        marking(GOOD, reference=None),
        marking(GOOD, reference=""),
        marking(GOOD, winner="R1"),
        marking(GOOD, ranking=["R1"]),
        marking(GOOD, ranking=["R1", "R1"]),
        marking(GOOD, ranking=["R1", "R2", "R2"]),
        marking(GOOD, ranking=["R1", "R9"]),
        SOUND.replace('"R2"', '"R1"', 1),
        SOUND.replace('"detail"', '"accuracy"', 1),
        SOUND[:-30],
        f"{SOUND} On second thought: {marking({'R1': [0, 0, 0], 'R2': [5, 5, 5]})}",
        f"{marking({'R1': [0, 0, 0], 'R2': [5, 5, 5]})}\n{SOUND}",
        f'{SOUND} The other way round: ["R2", "R1"]',
    ],
)
def test_a_reply_that_is_not_exactly_what_was_asked_for_is_refused(reply: str) -> None:
    with pytest.raises(ValueError, match=r"^the judge's reply"):
        read_audited(reply, LABELS)


@settings(max_examples=100, deadline=None)
@given(st.text(max_size=200) | st.recursive(st.none() | st.integers() | st.text(), st.lists).map(json.dumps))
def test_no_other_text_becomes_a_reading(reply: str) -> None:
    for read in (read_audited, read_paper):
        with pytest.raises(ValueError, match=r"^the judge's reply"):
            read(reply, LABELS)


marks_strategy = st.lists(st.integers(0, 5), min_size=3, max_size=3)


@given(marks_strategy, marks_strategy, st.sampled_from(KINDS), st.permutations(LABELS))
def test_a_good_reply_is_read_whole(first: list[int], second: list[int], kind: str, order: list[str]) -> None:
    reading = read_audited(marking({"R1": first, "R2": second}, kind=kind, ranking=order), LABELS)
    assert marks_of(reading) == [first, second]
    assert reading.totals == {"R1": sum(first), "R2": sum(second)}
    assert (reading.kind, reading.ranking, reading.salvaged) == (kind, tuple(order), False)
    better = sum(first) - sum(second)
    assert reading.agrees == (better == 0 or (better > 0) == (order[0] == "R1"))


def test_the_schema_is_plain_and_closed_and_puts_evidence_first() -> None:
    schema = reply_schema(["R1", "R2", "R3"])
    text = json.dumps(schema)
    assert "$" not in text
    assert "anyOf" not in text
    assert schema["required"] == ["kind", "reference", "scores", "ranking"]
    assert schema["properties"]["scores"]["required"] == ["R1", "R2", "R3"]
    assert schema["properties"]["scores"]["properties"]["R1"]["required"] == ["evidence", *CRITERIA]
    assert text.count('"additionalProperties": false') == 5


# Salvage

SHAPES = [
    f"Sure! Here it is:\n```json\n{SOUND}\n```",
    SOUND.replace("}", ",}"),
    SOUND.replace('", "', '" "').replace(', "scores"', ' "scores"'),
    SOUND.replace('"', "'"),
    SOUND[:-1],
    SOUND[:-2],
    SOUND + "}}",
    SOUND.replace("Read r1.", "Read\nit\tonce."),
    SOUND.replace("Read r1.", 'Says "yes" once.'),
    re.sub(r'"(\w+)":', r"\1:", SOUND),
]
"""Broken replies as language models write them, in which nothing is missing but signs."""


@pytest.mark.parametrize("reply", SHAPES, ids=range(len(SHAPES)))
def test_a_reply_with_broken_signs_is_salvaged_and_says_so(reply: str) -> None:
    reading = read_audited(reply, LABELS)
    assert marks_of(reading) == list(GOOD.values())
    assert reading.ranking == ("R1", "R2")
    assert reading.salvaged


@pytest.mark.parametrize("written", ["4.0", '"4"', '"4.0"', " 4"])
def test_a_whole_number_is_one_however_it_is_written(written: str) -> None:
    reading = read_audited(marking({"R1": [4, 0, 3], "R2": [1, 2, 3]}).replace(": 4,", f": {written},"), LABELS)
    assert marks_of(reading) == [[4, 0, 3], [1, 2, 3]]
    assert not reading.salvaged


@pytest.mark.parametrize("kind", ["Close-ended", "close_ended", "close ended"])
def test_a_kind_is_one_however_it_is_spelt(kind: str) -> None:
    assert read_audited(marking(GOOD, kind=kind), LABELS).kind == "close-ended"


@pytest.mark.parametrize("thoughts", ["<think>R1 is [maybe] right: {}</think>\n", "R1 {} is best.</think>"])
def test_what_a_judge_thought_is_no_part_of_its_reply(thoughts: str) -> None:
    assert read_audited(thoughts + SOUND, LABELS) == read_audited(SOUND, LABELS)
    assert read_paper(thoughts + PAPER, PAPER_LABELS) == read_paper(PAPER, PAPER_LABELS)
    for read in (read_audited, read_paper):
        with pytest.raises(ValueError, match="cut inside its thoughts"):
            read("<think>R1 is", LABELS)


@pytest.mark.parametrize("reply", [SOUND[:-1], SOUND[:-2], f"So: {SOUND}"])
def test_what_was_cut_is_not_salvaged(reply: str) -> None:
    with pytest.raises(ValueError, match="was cut"):
        read_audited(reply, LABELS, whole=False)


@pytest.mark.parametrize(
    ("written", "instead"),
    [
        ('"accuracy": 5', '"accuracy": \u22655'),
        ('"accuracy": 5', '"accuracy": 5 or 4'),
        ('"accuracy": 5', '"accuracy": 5/5'),
        ('"accuracy": 5', '"accuracy": 5 // or less'),
        ('"accuracy": 5', '"accuracy": 5.'),
        ('"accuracy": 5', '"accuracy": +5'),
        ('"accuracy": 5', '"accuracy": five'),
        ('"accuracy": 5', '"accuracy": '),
        ('"accuracy": 5', '"accuracy" 5 0'),
        ('"accuracy": 5', '"accuracy": 5, "accuracy": 0'),
        ('"accuracy": 5,', '"accuracy": 5, 0,'),
        ('"R1": {', '"R1": {}, {'),
        ('"ranking": ["R1", "R2"', '"ranking": ["R1", "R2", ...'),
        ('"ranking": ["R1", "R2"', '"ranking": ["R1" = "R2"'),
    ],
)
def test_a_repair_that_would_leave_something_out_is_refused(written: str, instead: str) -> None:
    assert SOUND.count(written) == 1
    with pytest.raises(ValueError, match=r"^the judge's reply"):
        read_audited(f"Here: {SOUND.replace(written, instead)}", LABELS)


PIECES = [*"{}[],:\"\\'`/*", "\n", " ", "0", "5", "6", "-", ".", "1e0", "null", "true", "NaN", "R1", "R2", "R3"]
PIECES += ["accuracy", '"R1": {', '"scores": ', "```", "<think>", "</think>", "\x00", "\u2028", "\U0001f600", "..."]


def mutated(reply: str, dice: random.Random) -> str:
    """A reply with one to five mishaps: signs lost, doubled or put in, parts moved, repeated or cut off."""
    for _ in range(dice.randint(1, 5)):
        start, end = sorted(dice.randrange(len(reply) + 1) for _ in range(2))
        near = min(end, start + dice.choice([1, 1, 2, 8, 40]))
        match dice.randrange(6):
            case 0:
                reply = reply[:start] + reply[near:]
            case 1:
                reply = reply[:start] + dice.choice(PIECES) + reply[start:]
            case 2:
                reply = reply[:start] + dice.choice(PIECES) + reply[near:]
            case 3:
                reply = reply[:end] + reply[start:near] + reply[end:]
            case 4:
                reply = reply[:start] + reply[near:end] + reply[start:near] + reply[end:]
            case _ if dice.random() < 0.3:
                reply = reply[:end]
    return reply


def written_marks(reply: str) -> dict[str, list[str]] | None:
    """The marks as a person would read them off a text, without any parser of JSON: label -> what stands there.

    None where a label or a criterion is named more or less often than once.
    """
    body = reply.partition("scores")[2].rpartition("ranking")[0]
    starts = [(found.start(), found[0]) for found in re.finditer(r"\bR\d+\b", body)]
    if len({label for _, label in starts}) != len(starts):
        return None
    ends = [*[start for start, _ in starts][1:], len(body)]
    found = {}
    for (start, label), end in zip(starts, ends, strict=True):
        part = body[start:end]
        if any(part.count(name) != 1 for name in CRITERIA):
            return None
        found[label] = [part.partition(name)[2].strip(" \t\n\r:\"'\\{}[],").partition(",")[0] for name in CRITERIA]
    return found


def is_invented(reply: str, reading: JudgeReading) -> bool:
    """Whether a reading says something that does not stand in the text; what evidence says proves nothing."""
    for evidence in reading.evidence.values():
        if re.search(r"R\d|" + "|".join(CRITERIA), evidence):
            reply = reply.replace(evidence, "", 1)
    written = written_marks(reply)
    if written is None or written.keys() != reading.marks.keys():
        return True
    digits = {label: [re.sub(r"[\s\"'\\{}\[\]:]", "", mark) for mark in marks] for label, marks in written.items()}
    for label, marks in reading.marks.items():
        read = [str(mark) for mark in marks.values()]
        if [text[:1] for text in digits[label]] != read or any(re.match(r"\d[\d.eE]", t) for t in digits[label]):
            return True
    ranked = re.findall(r"R\d+", re.split("[]}`]", reply.rpartition("ranking")[2])[0])
    return tuple(ranked) != reading.ranking


def read_or_reason(read: Callable[..., JudgeReading], reply: str, labels: list[str]) -> JudgeReading | str:
    """What a reply says, or why it says nothing; any other exception is a crash."""
    try:
        return read(reply, labels)
    except ValueError as error:
        return str(error)


def test_the_oracle_notices_what_is_made_up() -> None:
    reading = read_audited(SOUND, LABELS)
    assert not is_invented(SOUND, reading)
    for changed in [
        SOUND.replace('"accuracy": 5', '"accuracy": 4'),
        SOUND.replace('"accuracy": 5', '"accuracy": 55'),
        SOUND.replace('"accuracy": 5', '"accuracy": '),
        SOUND.replace('"detail": 0', ""),
        SOUND.replace('["R1", "R2"]', '["R2", "R1"]'),
        SOUND.replace('["R1", "R2"]', '["R1"]'),
    ]:
        assert is_invented(changed, reading)


def test_ten_thousand_malformed_replies_crash_nothing_and_invent_nothing() -> None:
    dice = random.Random(0)
    outcomes: dict[bool, int] = {True: 0, False: 0}
    labels = ["R1", "R2", "R3", "R4"]
    refused = 0
    for number in range(10_000):
        marks = {label: [dice.randint(0, 5) for _ in CRITERIA] for label in labels}
        reply = marking(marks)
        reply = mutated(dice.choice([reply, f"```json\n{reply}\n```", f"Well.\n{reply}"]), dice)
        reading = read_or_reason(partial(read_audited, whole=dice.random() < 0.9), reply, labels)
        if isinstance(reading, str):
            assert reading.startswith("the judge's reply"), (number, reply)
            refused += 1
        else:
            assert not is_invented(reply, reading), (number, reply)
            outcomes[reading.salvaged] += 1
    assert refused > 5000
    assert outcomes[True] > 100, "some are salvaged"
    assert outcomes[False] > 10, "some mishaps are harmless, within a text for instance"


# The paper's form

PAPER = """\
kind: open-ended
reference: First line.

Another line.
duplicates: R3=R1
marks:
R1: 5 0 3
R2: 1 2 3
R4: 2 2 2
rank: R1 > R4 > R2"""
PAPER_LABELS = ["R1", "R2", "R3"]


def test_a_reply_in_the_papers_form_is_read_whole() -> None:
    reading = read_paper(f"\n{PAPER}\n", PAPER_LABELS)
    assert reading.kind == "open-ended"
    assert reading.reference == "First line.\n\nAnother line."
    assert reading.duplicates == {"R3": "R1"}
    assert marks_of(reading) == [[5, 0, 3], [1, 2, 3], [2, 2, 2]]
    assert reading.ranking == ("R1", "R4", "R2")


@pytest.mark.parametrize(
    "changes",
    [
        {"kind: open-ended": "Kind: Open-ended."},
        {"kind: open-ended": "Kind: open ended"},
        {"kind:": "Here it is.\nkind:"},
        {"kind:": "**Kind:**", "reference:": "**Reference:**", "marks:": "**Marks:**", "rank:": "**Rank:**"},
        {"kind:": "## kind:", "rank:": "Ranking:"},
        {"duplicates:": "\nduplicates:", "marks:\n": "\nmarks:\n\n", "R2: 1": "\nR2: 1", "rank:": "\nrank:"},
        {"duplicates: R3=R1": "Duplicates: R3 = R1."},
        {"5 0 3": "5, 0, 3", "1 2 3": "1,2,3"},
        {"5 0 3": "5.0 0 3.00", "1 2 3": "1/5 2/5 3/5"},
        {"R1: 5 0 3": "R1: 5 0 3 = 8", "R2: 1 2 3": "R2: 1 2 3 (6)", "R4: 2 2 2": "R4: 2 2 2 total: 6/15"},
        {"R1: 5 0 3": "- **R1**: 5 0 3", "R2: 1 2 3": "R2 - 1 2 3", "R4: 2 2 2": "Response R4: 2 2 2"},
        {"R1: 5 0 3": "| R1 | 5 | 0 | 3 |"},
        {"R1: 5 0 3\nR2: 1 2 3": "R2: 1 2 3\nR1: 5 0 3"},
        {"R1 > R4 > R2": "R1 > R4 > R2."},
        {"R1 > R4 > R2": "**R1 > R4 > R2**"},
        {"R1 > R4 > R2": "r1>r4>r2"},
        {"R1 > R4 > R2": "R1, R4, R2"},
        {"kind:": "```\nkind:", "R1 > R4 > R2": "R1 > R4 > R2\n```"},
        {"rank: R1 > R4 > R2": "rank:\nR1 > R4 > R2\n\nR1 is the most thorough; I hope this helps!"},
    ],
    ids=lambda changes: " ".join(changes.values()).replace("\n", "/"),
)
def test_a_reply_that_any_reader_would_understand_is_understood(changes: dict[str, str]) -> None:
    reply = PAPER
    for written, instead in changes.items():
        assert written in reply
        reply = reply.replace(written, instead)
    assert read_paper(reply, PAPER_LABELS) == read_paper(PAPER, PAPER_LABELS)


def test_ends_of_lines_may_be_those_of_another_system() -> None:
    reading = read_paper(PAPER.replace("\n", "\r\n"), PAPER_LABELS)
    assert (reading.ranking, reading.kind, marks_of(reading)) == (
        ("R1", "R4", "R2"),
        "open-ended",
        [[5, 0, 3], [1, 2, 3], [2, 2, 2]],
    )


@pytest.mark.parametrize("said", ["duplicates: none", "Duplicates: None.", "duplicates: no", "duplicates:", ""])
def test_there_may_be_no_duplicates(said: str) -> None:
    reply = PAPER.replace("duplicates: R3=R1", said).replace("R4: 2 2 2", "R3: 1 1 1\nR4: 2 2 2")
    assert read_paper(reply.replace("R4 > R2", "R4 > R2 > R3"), PAPER_LABELS).duplicates == {}


@pytest.mark.parametrize(
    ("written", "instead"),
    [
        ("kind: open-ended", "kind: both"),
        ("kind: open-ended", "kind: open-ended or close-ended"),
        ("kind: open-ended\n", ""),
        ("R1 > R4 > R2", "R1 > R4 > R2\nOn second thought: R4 > R1 > R2"),
        ("R1 > R4 > R2", "R1 > R4 > R2\nrank: R4 > R1 > R2"),
        ("R1 > R4 > R2", "R1 > R4"),
        ("R1 > R4 > R2", "R1 > R4 > R2 > R3"),
        ("R1 > R4 > R2", "R1 > R4 > R4"),
        ("R1 > R4 > R2", "R1 > R4 = R2"),
        ("R1 > R4 > R2", "R1 > R4 > R2 or R1 > R2 > R4"),
        ("R1 > R4 > R2", "R2 > R1 > R4"),
        ("R1 > R4 > R2", "R2 < R4 < R1"),
        ("R1 > R4 > R2", "1 > 4 > 2"),
        ("R1 > R4 > R2", "R1 > R4 > R5"),
        ("R1: 5 0 3", "R1: 5 0"),
        ("R1: 5 0 3", "R1: 5 0 6"),
        ("R1: 5 0 3", "R1: 5 0 3.5"),
        ("R1: 5 0 3", "R1: 5 0 3 = 9"),
        ("R1: 5 0 3", "R1: 5 0 3 2"),
        ("R1: 5 0 3", "R1: 5 0 3/4"),
        ("R1: 5 0 3", "R1: 5 0 -3"),
        ("R1: 5 0 3", "R1: 503"),
        ("R1: 5 0 3", "R1: 5 0 \u0663"),
        ("R1: 5 0 3", "R1: 5 0 3\nR1: 5 0 3"),
        ("R2: 1 2 3\n", ""),
        ("R4: 2 2 2\n", ""),
        ("R4: 2 2 2", "R4: 2 2 2\nR3: 1 1 1"),
        ("duplicates: R3=R1", "duplicates: none"),
        ("duplicates: R3=R1", "duplicates: R1=R3"),
        ("duplicates: R3=R1", "duplicates: R3=R1, R3=R2"),
        ("duplicates: R3=R1", "duplicates: R3=R4"),
        ("duplicates: R3=R1", "duplicates: R4=R3"),
        ("duplicates: R3=R1", "duplicates: R3=R1, perhaps"),
        ("duplicates: R3=R1", "duplicates: R3 is like R1"),
        ("duplicates: R3=R1\n", ""),
        ("First line.\n\nAnother line.", " "),
        ("Another line.", "rank: R2 > R1"),
    ],
)
def test_a_reply_that_leaves_something_to_guess_is_refused(written: str, instead: str) -> None:
    assert written in PAPER
    with pytest.raises(ValueError, match=r"^the judge's reply"):
        read_paper(PAPER.replace(written, instead), PAPER_LABELS)


def test_mishaps_never_change_the_papers_order_unseen() -> None:
    dice = random.Random(1)
    accepted = 0
    for number in range(3000):
        reply = mutated(PAPER, dice)
        reading = read_or_reason(read_paper, reply, PAPER_LABELS)
        if isinstance(reading, str):
            assert reading.startswith("the judge's reply"), (number, reply)
            continue
        accepted += 1
        marks, rank = re.split(r"\brank\W*:", re.split(r"\bmarks\W*:", reply)[-1])
        assert tuple(re.findall(r"R\d+", rank)[: len(reading.ranking)]) == reading.ranking, reply
        for label, read in reading.marks.items():
            (line,) = [line for line in marks.splitlines() if label in line]
            written = re.findall(r"\d(?:\.0+)?", line.partition(label)[2])
            assert [int(mark[0]) for mark in written[:3]] == [*read.values()]
        totals = [reading.totals[label] for label in reading.ranking]
        assert all(better >= worse for better, worse in pairwise(totals))
    assert 0 < accepted < 1500
