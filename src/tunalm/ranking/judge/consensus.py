"""One order from several: what the replies to the same list in different orders say together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from statistics import fmean

from tunalm.measures.ranks import kendall_w
from tunalm.ranking.base import assign_ranks


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
        borda=[fmean(_beaten(each, thing) for each in totals) for thing in things],
        agreement=kendall_w(totals) if several else None,
        flip_rate=_flips(totals) if several and len(things) > 1 else None,
    )


def _beaten(scores: Sequence[float], thing: int) -> float:
    worse = sum(score < scores[thing] for score in scores)
    equal = sum(score == scores[thing] for score in scores) - 1
    return worse + equal / 2


def _flips(totals: Sequence[Sequence[float]]) -> float:
    pairs = list(combinations(range(len(totals[0])), 2))
    flipped = sum(
        any(each[one] > each[other] for each in totals) and any(each[one] < each[other] for each in totals)
        for one, other in pairs
    )
    return flipped / len(pairs)
