"""Worked examples in front of an instruction: a model that is shown some is a better teacher than without."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from itertools import islice

from tunalm.records import Instruction, Message


def with_demonstrations(row: Instruction, pool: Sequence[Instruction], count: int, seed: int) -> list[Message]:
    """Return the conversation of `row` with up to `count` worked examples before its own turns.

    Examples come from rows of the pool with a reference and no history, of the same `task` if the row has one, never
    one that asks what the row asks. The draw depends on the pool, the seed and the task alone, so all rows of a task
    get the same examples in the same order (and share a prefix), but for rows that are among them. Fewer than `count`
    are given when the pool has no more.
    """
    shuffled = _shuffled(pool, random.Random(f"{seed}/{row.task}")) if count else iter(())
    examples = islice((example for example in shuffled if _suits(example, row)), count)
    turns = [turn for example in examples for turn in _turns(example)]
    opening = [turn for turn in row.history[:1] if turn.role == "system"]
    return [*opening, *turns, *row.messages()[len(opening) :]]


def _suits(example: Instruction, row: Instruction) -> bool:
    return (
        example.reference is not None
        and not example.history
        and row.task in (None, example.task)
        and (example.instruction, example.input) != (row.instruction, row.input)
    )


def _turns(example: Instruction) -> list[Message]:
    return [*example.messages(), Message(role="assistant", content=example.reference or "")]


def _shuffled(pool: Sequence[Instruction], order: random.Random) -> Iterator[Instruction]:
    """Yield the pool in random order without shuffling more of it than is asked for (Fisher-Yates on a sparse list)."""
    moved: dict[int, int] = {}
    for index in range(len(pool)):
        drawn = order.randrange(index, len(pool))
        yield pool[moved.get(drawn, drawn)]
        moved[drawn] = moved.get(index, index)
