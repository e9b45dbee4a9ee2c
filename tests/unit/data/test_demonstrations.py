"""Which worked examples stand before an instruction, and where."""

from __future__ import annotations

import random

from hypothesis import given, settings
from hypothesis import strategies as st

from tunalm.data import with_demonstrations
from tunalm.records import Instruction, Message

POOL = [
    Instruction(id=f"{task}-{n}", instruction=f"{task} {n}", input=str(n), reference=f"done {n}", task=task)
    for n in range(20)
    for task in ("count", "spell")
]
NEW = Instruction(id="new", instruction="count 99", task="count")


def shown(row: Instruction, count: int = 4, seed: int = 0, pool: list[Instruction] = POOL) -> list[str]:
    """Instructions of the examples in order; the conversation must be made of them and the row's own turns."""
    messages = with_demonstrations(row, pool, count, seed)
    own = len(row.messages())
    opening = [turn for turn in row.history[:1] if turn.role == "system"]
    assert [*messages[: len(opening)], *messages[len(messages) - own + len(opening) :]] == row.messages()
    turns = messages[len(opening) : len(messages) - own + len(opening)]
    assert [turn.role for turn in turns] == ["user", "assistant"] * (len(turns) // 2)
    return [turn.content for turn in turns[::2]]


def test_an_example_is_its_instruction_and_its_reference() -> None:
    messages = with_demonstrations(NEW, POOL[:1], 1, seed=0)
    assert messages == [
        Message(role="user", content="count 0", input="0"),
        Message(role="assistant", content="done 0"),
        Message(role="user", content="count 99"),
    ]


def test_rows_of_a_task_share_their_examples_which_are_of_the_task() -> None:
    examples = shown(NEW)
    assert len(set(examples)) == 4
    assert all(example.startswith("count ") for example in examples)
    others = [row for row in POOL if row.task == "count" and row.instruction not in examples]
    assert len(others) == 16
    assert all(shown(row) == examples for row in others)


def test_a_row_is_never_its_own_example() -> None:
    for row in POOL:
        assert row.instruction not in shown(row, count=100)
    twin = NEW.model_copy(update={"instruction": "count 3", "input": "3"})
    assert "count 3" not in shown(twin, count=100)


def test_a_row_without_a_task_takes_examples_of_any() -> None:
    tasks = {example.split()[0] for example in shown(NEW.model_copy(update={"task": None}), count=10)}
    assert tasks == {"count", "spell"}


def test_the_seed_decides() -> None:
    assert shown(NEW, seed=1) == shown(NEW, seed=1)
    assert len({tuple(shown(NEW, seed=seed)) for seed in range(5)}) == 5


def test_fewer_are_given_when_there_are_no_more() -> None:
    assert len(shown(NEW, count=100)) == 20
    assert shown(NEW, count=4, pool=[]) == []
    assert with_demonstrations(NEW, POOL, 0, seed=0) == NEW.messages()


def test_rows_without_a_reference_or_with_a_history_are_no_examples() -> None:
    silent = POOL[0].model_copy(update={"reference": None})
    late = POOL[2].model_copy(update={"history": [Message(role="system", content="Be short.")]})
    assert shown(NEW, pool=[silent, late]) == []


def test_a_system_message_stays_in_front_and_earlier_turns_behind() -> None:
    system = Message(role="system", content="Be short.")
    earlier = [Message(role="user", content="Hi."), Message(role="assistant", content="Hello.")]
    row = NEW.model_copy(update={"history": [system, *earlier]})
    messages = with_demonstrations(row, POOL, 2, seed=0)
    assert messages[0] == system
    assert messages[-3:-1] == earlier
    assert len(shown(row, count=2)) == 2
    assert len(shown(NEW.model_copy(update={"history": earlier}), count=2)) == 2


@settings(deadline=None)
@given(st.integers(0, 30), st.integers(0, 30), st.integers(0, 2**32))
def test_no_example_is_drawn_twice_and_none_is_changed(size: int, count: int, seed: int) -> None:
    pool = POOL[:size]
    before = [row.model_dump() for row in pool]
    examples = shown(NEW.model_copy(update={"task": None}), count=count, seed=seed, pool=pool)
    assert len(examples) == len(set(examples)) == min(size, count)
    assert [row.model_dump() for row in pool] == before


def test_every_row_of_the_pool_is_drawn_as_often_as_any_other() -> None:
    picker = random.Random(0)
    counts = dict.fromkeys((row.instruction for row in POOL[:8]), 0)
    for _ in range(2000):
        for example in shown(NEW.model_copy(update={"task": None}), 2, picker.randrange(2**32), POOL[:8]):
            counts[example] += 1
    assert all(400 < count < 600 for count in counts.values()), counts
