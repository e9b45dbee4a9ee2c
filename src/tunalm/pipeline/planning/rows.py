"""Rows that a plan counts: a sample of what is there, and stand-ins for what an earlier stage will make."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from random import Random
from typing import Generic, TypeVar

from tunalm.records import Instruction, Ranking

MOST_ROWS = 300
"""Rows of a source that are counted."""

Row = TypeVar("Row")


@dataclass(frozen=True)
class Sampled(Generic[Row]):
    """Some rows that stand for all."""

    rows: list[Row]
    weight: float = 1.0
    """Rows for each that was sampled."""


def sampled(rows: Sequence[Row], size: Callable[[Row], float], most: int = MOST_ROWS) -> Sampled[Row]:
    """A systematic sample: rows sorted by size, every k-th of them from a seeded start. All rows if they are few.

    Sizes thus stand in the sample as often as in the whole, which a plain random sample would not give.
    """
    if len(rows) <= most:
        return Sampled(list(rows))
    ordered = sorted(rows, key=size)
    step = len(rows) / most
    start = Random(0).random()
    return Sampled([ordered[int((number + start) * step)] for number in range(most)], step)


def characters(row: Instruction) -> int:
    """The size of a row by which samples are taken."""
    lists = sum(len(each.text) for each in row.responses) if isinstance(row, Ranking) else 0
    return len(row.instruction) + len(row.input or "") + len(row.reference or "") + lists


@dataclass(frozen=True)
class PlannedLists:
    """Lists of responses, of which only a sample is ever made."""

    base: Sequence[Instruction]
    """A row for every list: the list itself where it exists, else the instruction."""
    make: Callable[[Sequence[Instruction]], list[Ranking]]
    """The lists of some of these rows."""

    def part(self, which: slice) -> PlannedLists:
        """The lists of a slice."""
        return PlannedLists(self.base[which], self.make)

    @cached_property
    def sample(self) -> Sampled[Ranking]:
        """Lists that stand for all, made."""
        few = sampled(self._ordered, lambda row: 0)
        return Sampled(self.make(few.rows), few.weight)

    @cached_property
    def longest(self) -> Ranking:
        """The largest list: what memory depends on."""
        return self.make(self._ordered[-1:])[0]

    @cached_property
    def _ordered(self) -> Sequence[Instruction]:
        return sorted(self.base, key=characters)


def lists_of(rows: Sequence[Instruction]) -> PlannedLists:
    """Lists that exist already; instructions are lists without responses."""
    return PlannedLists(
        rows, lambda some: [row if isinstance(row, Ranking) else row.with_responses([]) for row in some]
    )
