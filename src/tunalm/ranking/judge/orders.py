"""In which orders responses are shown, so that no place helps one of them more than another, and what the replies to
several orders say together."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from statistics import fmean

from scipy.stats import rankdata

from tunalm.measures.ranks import kendall_w
from tunalm.ranking.base import assign_ranks
from tunalm.store import digest


def balanced_orders(size: int, count: int, drawn_with: object) -> list[tuple[int, ...]]:
    """Permutations of 0..size-1 that differ, drawn as whole Latin squares.

    In the `size` rows of a square every item stands in every place once, and for an even size every item follows every
    other one once (a Williams design). So with `count` a multiple of `size` every item stands in every place equally
    often; with another count the times differ by one at most.

    Args:
        size: of the list, at least 1.
        count: orders wanted. There are size! in all, and no more are given.
        drawn_with: decides the draw.
    """
    wanted = min(count, math.factorial(size)) if size < 20 else count
    found: dict[tuple[int, ...], None] = {}
    square = 0
    while len(found) < wanted:
        items = list(range(size))
        random.Random(digest([drawn_with, square])).shuffle(items)
        found |= dict.fromkeys(tuple(items[place] for place in row) for row in _square(size))
        square += 1
    return list(found)[:wanted]


def _square(size: int) -> list[list[int]]:
    first = [(place + 1) // 2 if place % 2 else -(place // 2) for place in range(size)]
    return [[(place + shift) % size for place in first] for shift in range(size)]


@dataclass(frozen=True)
class Consensus:
    """What several judgements of the same things have in common; lists are by thing."""

    scores: list[float]
    """Mean of the totals."""
    borda: list[float]
    """Mean number of things that are worse; one that is equal counts half."""
    agreement: float | None
    """Kendall's W: 1 if all orders are the same, about 1 over their number if they have nothing in common. None where
    it is not defined: one judgement, or ties only."""
    flip_rate: float | None
    """Share of the pairs that one judgement puts one way round and another the other way; None for one judgement."""

    @property
    def borda_ranks(self) -> list[int | None]:
        """0 for the best, by Borda's count."""
        return assign_ranks(self.borda)


def consensus(totals: Sequence[Sequence[float]]) -> Consensus:
    """Take several judgements together.

    Args:
        totals: [judgements, things], at least one of either; more is better.
    """
    things = range(len(totals[0]))
    several = len(totals) > 1
    return Consensus(
        scores=[fmean(each[thing] for each in totals) for thing in things],
        borda=(rankdata(totals, axis=1).mean(axis=0) - 1).tolist(),
        agreement=kendall_w(totals) if several else None,
        flip_rate=_flips(totals) if several and len(things) > 1 else None,
    )


def _flips(totals: Sequence[Sequence[float]]) -> float:
    pairs = list(combinations(range(len(totals[0])), 2))
    flipped = sum(
        any(each[one] > each[other] for each in totals) and any(each[one] < each[other] for each in totals)
        for one, other in pairs
    )
    return flipped / len(pairs)
