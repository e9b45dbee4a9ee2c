"""In which orders responses are shown, so that no place helps one of them more than another, and what the replies to
several orders say together."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from statistics import fmean

import scipy

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
    borda_ranks: list[int | None]
    """0 for the best, by Borda's count: the things that are worse, where one that is equal counts half."""
    agreement: float | None
    """Kendall's W: 1 if all orders are the same, about 1 over their number if they have nothing in common. None where
    it is not defined: one judgement, or ties only."""
    flip_rate: float | None
    """Share of the pairs that one judgement puts one way round and another the other way; None for one judgement."""


def consensus(totals: Sequence[Sequence[float]]) -> Consensus:
    """Take several judgements together.

    Args:
        totals: [judgements, things], at least one of either; more is better.
    """
    pairs = [[one - other for one, other in combinations(each, 2)] for each in totals]
    flips = [min(differences) < 0 < max(differences) for differences in zip(*pairs, strict=True)]
    return Consensus(
        scores=[fmean(each) for each in zip(*totals, strict=True)],
        borda_ranks=assign_ranks(scipy.stats.rankdata(totals, axis=1).mean(axis=0).tolist()),
        agreement=kendall_w(totals),
        flip_rate=fmean(flips) if flips and len(totals) > 1 else None,
    )
