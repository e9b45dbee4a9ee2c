"""Rows of every shape become instructions; rows of none are named, never repaired and never skipped."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tunalm.data.files import RawRow
from tunalm.data.shapes import to_instructions
from tunalm.errors import DataError
from tunalm.records import Instruction, Message, Ranking, Response

ALPACA = {"instruction": "Add.", "input": "1 2", "output": "3"}


def read(*values: Any) -> list[Instruction]:
    return to_instructions([RawRow(f"file:{number}", value) for number, value in enumerate(values, start=1)], "file")


def refusal(*values: Any) -> str:
    with pytest.raises(DataError) as caught:
        read(*values)
    line = str(caught.value)
    assert len(line) < 600
    assert line.isprintable()
    return line


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        (ALPACA, {"instruction": "Add.", "input": "1 2", "reference": "3"}),
        ({"instruction": "Add.", "input": None, "output": "3"}, {"instruction": "Add.", "reference": "3"}),
        ({"instruction": "Add.", "output": "3"}, {"instruction": "Add.", "reference": "3"}),
        ({"instruction": "Add.", "output": None}, {"instruction": "Add."}),
        ({"instruction": "Add.", "output": " \n"}, {"instruction": "Add."}),
        ({"instruction": "Add.", "output": " 3\n"}, {"instruction": "Add.", "reference": " 3\n"}),
        (
            {"instruction": "Add.", "context": "1 2", "response": "3", "category": "sums"},
            {"instruction": "Add.", "input": "1 2", "reference": "3", "category": "sums"},
        ),
        (
            {"instruction": "Add.", "instances": [{"input": "1 2", "output": "3"}, {"input": "4", "output": "5"}]},
            {"instruction": "Add.", "input": "1 2", "reference": "3"},
        ),
        (
            {"messages": [{"role": "user", "content": "Hi."}, {"role": "assistant", "content": "Hello."}]},
            {"instruction": "Hi.", "reference": "Hello."},
        ),
        ({"messages": [{"role": "user", "content": "Hi.", "name": None}]}, {"instruction": "Hi."}),
        (
            {"messages": [{"role": "user", "content": "Hi."}, {"role": "assistant", "content": ""}]},
            {"instruction": "Hi."},
        ),
        (
            {"conversations": [{"from": "human", "value": "Hi."}, {"from": "gpt", "value": "Hello."}]},
            {"instruction": "Hi.", "reference": "Hello."},
        ),
        (
            {"instruction": "Add.", "reference": "3", "task": "sums", "checker": {"name": "equals", "value": 3}},
            {"instruction": "Add.", "reference": "3", "task": "sums", "checker": {"name": "equals", "value": 3}},
        ),
        ({"instruction": "Add.", "outputs": {"m": "3"}}, {"instruction": "Add.", "outputs": {"m": "3"}}),
        ({"instruction": "Null \x00, half moon \U0001f313."}, {"instruction": "Null \x00, half moon \U0001f313."}),
    ],
)
def test_shapes(row: dict[str, Any], expected: dict[str, Any]) -> None:
    assert read(row) == [Instruction(id="0", **expected)]


def test_earlier_turns_are_the_history() -> None:
    turns = [
        {"role": "system", "content": "Be short."},
        {"role": "user", "content": "Hi."},
        {"role": "assistant", "content": "Hello."},
        {"role": "user", "content": "Add.", "input": "1 2"},
        {"role": "assistant", "content": "3"},
    ]
    (row,) = read({"messages": turns})
    assert row.history == [Message(**turn) for turn in turns[:3]]
    assert (row.instruction, row.input, row.reference) == ("Add.", "1 2", "3")
    assert row.messages() == [Message(**turn) for turn in turns[:4]]
    speakers = {"system": "system", "user": "human", "assistant": "gpt"}
    (same,) = read({"conversations": [{"from": speakers[turn["role"]], "value": turn["content"]} for turn in turns]})
    assert (same.history, same.instruction, same.reference) == (row.history, row.instruction, row.reference)


def test_ranked_rows_can_be_read_as_instructions() -> None:
    ranking = Ranking(
        id="q-7",
        instruction="Add.",
        input="1 2",
        reference="3",
        history=[Message(role="system", content="Be short.")],
        task="sums",
        checker={"name": "equals"},
        responses=[Response(text="3", rank=0), Response(text="4", rank=1)],
        ranked_by="likelihood",
    )
    expected = Instruction.model_validate(
        ranking.model_dump(exclude={"responses", "ranked_by", "weight", "judgement", "failure"})
    )
    assert read(ranking.model_dump()) == [expected]
    assert read(json.loads(ranking.model_dump_json(exclude_none=True))) == [expected]


def test_rows_without_ids_are_numbered_from_zero() -> None:
    assert [row.id for row in read(ALPACA, {**ALPACA, "id": None}, ALPACA)] == ["0", "1", "2"]


@pytest.mark.parametrize(("given_id", "kept"), [("seed_task_0", "seed_task_0"), (7, "7"), (10**300, str(10**300))])
def test_ids_may_be_text_or_whole_numbers(given_id: str | int, kept: str) -> None:
    assert read({**ALPACA, "id": given_id})[0].id == kept


@pytest.mark.parametrize("given_id", ["", " ", 1.5, True, [1], float("nan")])
def test_other_ids_are_refused(given_id: object) -> None:
    assert refusal({**ALPACA, "id": given_id}).startswith("file:1: found id: ")


@pytest.mark.parametrize(("first", "second"), [("a", "a"), ("1", 1), (None, "0")])
def test_an_id_that_is_used_twice_is_refused(first: object, second: object) -> None:
    line = refusal({**ALPACA, "id": first}, {**ALPACA, "id": second})
    assert line.startswith("file:2: id '")
    assert "(first at file:1)" in line


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ({"output": "3"}, "no 'instruction' among"),
        ({}, "no fields"),
        ({"instruction": " ", "output": "3"}, "instruction: is empty"),
        ({"instruction": None, "output": "3"}, "instruction: must be a text (None)"),
        ({"instruction": "Add.", "output": 3}, "output: must be a text (3)"),
        ({"instruction": "Add.", "output": float("nan")}, "output: must be a text (nan)"),
        ({"instruction": "Add.", "output": ["3"]}, "output: "),
        ({"instruction": "Add.", "input": {"a": 1}, "output": "3"}, "input: "),
        ({"instruction": "x" * 1_000_000, "output": 3}, "output: "),
        ({"instruction": 3, "output": "x" * 1_000_000}, "instruction: "),
        ([ALPACA], "which is no object"),
        ("Add.", "'Add.', which is no object"),
        (None, "None, which is no object"),
        (float("inf"), "inf, which is no object"),
    ],
)
def test_a_row_that_is_not_like_the_first_is_named(row: object, reason: str) -> None:
    line = refusal(ALPACA, row)
    assert line.startswith("file:2: ")
    assert reason in line


TURNS_REASON = "the turns do not end with a user turn, or a user turn and the assistant's reply"


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ({"instruction": "Add.", "context": "", "response": 3}, "response: "),
        ({"text": "Add."}, "the fields 'text'; expected a messages row"),
        ({"messages": None}, "messages: "),
        ({"messages": []}, TURNS_REASON),
        ({"messages": [{"role": "system", "content": "Hi."}]}, TURNS_REASON),
        ({"messages": [{"role": "assistant", "content": "Hi."}]}, TURNS_REASON),
        ({"messages": [{"role": "user", "content": "Hi."}, {"role": "system", "content": "Hi."}]}, TURNS_REASON),
        ({"messages": [{"role": "user", "content": " "}]}, "a user turn is empty"),
        ({"messages": [{"role": "tool", "content": "Hi."}]}, "messages.0.role: "),
        ({"messages": [{"role": "user", "content": None}]}, "messages.0.content: "),
        ({"messages": [{"role": "user"}]}, "messages.0.content: "),
        ({"messages": ["Hi."]}, "messages.0: "),
        ({"conversations": [{"from": "bing", "value": "Hi."}]}, "conversations.0.role: "),
        ({"conversations": [{"from": ["human"], "value": "Hi."}]}, "conversations.0.role: "),
        ({"instruction": "Add.", "instances": []}, "instances: "),
        ({"instruction": "Add.", "instances": [{"input": "1 2"}]}, "instances.0.output: "),
        ({"instruction": "Add.", "history": [{"role": "user"}]}, "history.0.content: "),
        ({"instruction": "Add.", "checker": "equals"}, "checker: "),
    ],
)
def test_a_first_row_that_is_wrong_is_named(row: object, reason: str) -> None:
    line = refusal(row)
    assert line.startswith("file:1: found ")
    assert reason in line


@pytest.mark.parametrize(
    "row",
    [
        {"instruction": "\ud800"},
        {"instruction": "Add.", "input": "\udfff"},
        {"instruction": "Add.", "reference": "a\ud800b"},
        {"instruction": "Add.", "id": "\ud800"},
        {"instruction": "Add.", "checker": {"word": "\ud800"}},
        {"instruction": "Add.", "history": [{"role": "user", "content": "\ud800"}]},
        {"messages": [{"role": "user", "content": "\ud800"}]},
        {"conversations": [{"from": "human", "value": "\ud800"}]},
        {"instruction": "Add.", "instances": [{"input": "", "output": "\ud800"}]},
    ],
)
def test_half_a_surrogate_pair_is_refused_before_it_fails_to_be_written(row: object) -> None:
    assert refusal(row).startswith("file:1: ")


def test_a_checker_that_is_nested_without_end_is_refused() -> None:
    nested: Any = 1
    for _ in range(400):
        nested = [nested]
    assert "depth" in refusal({"instruction": "Add.", "checker": {"value": nested}})


@pytest.mark.parametrize("extra", [None, 3, "x", {"a": [1]}])
def test_fields_of_no_shape_are_kept_and_counted(extra: object, capsys: pytest.CaptureFixture[str]) -> None:
    found = read(ALPACA, {**ALPACA, "subsets": extra, "more": 1}, {**ALPACA, "subsets": 2})
    assert [row.model_extra for row in found] == [{}, {"subsets": extra, "more": 1}, {"subsets": 2}]
    assert "subsets (2), more (1)" in capsys.readouterr().err


TURNS = [{"role": "user", "content": "hi"}, {"role": "assistant", "content": "yo"}]
SHARED = [{"from": "human", "value": "hi"}, {"from": "gpt", "value": "yo"}]


@pytest.mark.parametrize(
    ("row", "conversation", "reference"),
    [
        ({**ALPACA, "system": "Be rude."}, ["Be rude.", "Add.\n\n1 2"], "3"),
        ({**ALPACA, "history": [["Hi", "Hello"], ["And?", "Yes"]]}, ["Hi", "Hello", "And?", "Yes", "Add.\n\n1 2"], "3"),
        ({**ALPACA, "system": "", "history": [], "tools": "[]", "weight": None}, ["Add.\n\n1 2"], "3"),
        ({"messages": TURNS, "system": "Be rude."}, ["Be rude.", "hi"], "yo"),
        ({"conversations": SHARED, "system": "Be rude.", "tools": "[]"}, ["Be rude.", "hi"], "yo"),
        ({"conversations": TURNS}, ["hi"], "yo"),
        ({"messages": [TURNS[0], {**TURNS[1], "weight": 0}]}, ["hi"], None),
        ({"messages": [TURNS[0], {**TURNS[1], "weight": 1}]}, ["hi"], "yo"),
    ],
)
def test_context_beside_a_known_shape_is_read(row: Any, conversation: list[str], reference: str | None) -> None:
    (found,) = read(row)
    assert [turn.text for turn in found.messages()] == conversation
    assert found.reference == reference


@pytest.mark.parametrize(
    ("row", "named"),
    [
        ({**ALPACA, "tools": '[{"name": "f"}]'}, "'tools'"),
        ({**ALPACA, "weight": 0.5}, "'weight'"),
        ({**ALPACA, "images": ["a.png"]}, "'images'"),
        ({**ALPACA, "chosen": "3", "rejected": "4"}, "'chosen'"),
        ({**ALPACA, "response": "4"}, "'response'"),
        ({"messages": TURNS, "history": [["a", "b"]]}, "'history'"),
        ({"messages": TURNS, "tools": [{"name": "f"}]}, "'tools'"),
        ({"messages": [TURNS[0], {**TURNS[1], "weight": 0.5}]}, "messages.1.weight"),
        ({"messages": [TURNS[0], {**TURNS[1], "tool_calls": [1]}]}, "'tool_calls'"),
        ({"messages": [{"role": "system", "content": "Be kind."}, *TURNS], "system": "Be rude."}, "system message"),
    ],
)
def test_context_that_is_not_read_is_refused_by_name(row: Any, named: str) -> None:
    assert named in refusal(row)


def test_every_row_decides_its_own_shape() -> None:
    found = read({"instruction": "a"}, {"instruction": "b", "output": "B"}, {"messages": TURNS})
    assert [row.reference for row in found] == [None, "B", "yo"]


FIELDS = ["id", "instruction", "input", "output", "response", "reference", "task", "checker", "history", "instances"]
TURN_FIELDS = ["messages", "conversations", "role", "content", "from", "value", "user", "assistant", "gpt"]
NAMES = st.sampled_from([*FIELDS, *TURN_FIELDS])
TEXTS = NAMES | st.text(st.characters(), max_size=4) | st.sampled_from(["\ud800", "\x1b[31m", " "])
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=4),
    max_leaves=8,
)


@settings(deadline=None)
@given(st.lists(st.dictionaries(TEXTS, JSON, max_size=5) | JSON, min_size=1, max_size=3))
def test_any_rows_become_instructions_that_can_be_stored_or_one_line(values: list[Mapping[str, Any]]) -> None:
    try:
        rows = read(*values)
    except DataError:
        assert refusal(*values).startswith("file:")
    else:
        assert len({row.id for row in rows}) == len(values)
        for row in rows:
            assert row.instruction.strip()
            assert Instruction.model_validate_json(row.model_dump_json(exclude_none=True)).id == row.id
