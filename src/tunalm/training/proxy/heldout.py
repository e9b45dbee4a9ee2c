"""How far a proxy agrees with the judge on lists that it has not seen, beside what length alone and chance would reach.

The baseline by length ranks the longer response higher, or the shorter one, whichever agrees better with the lists that
the proxy was trained on. Chance is the expectation of an order drawn at random.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tunalm.measures.ranks import bootstrap, kendall_tau, pair_accuracy, top1_agrees
from tunalm.records import Ranking

SAMPLES = 1000
"""Bootstrap resamples behind an interval; what is drawn are whole lists."""
DIGITS = 4

Sums = NDArray[np.float64]


@dataclass(frozen=True)
class ScoredList:
    """One list: the judge's ranks, the proxy's scores, and the lengths of the texts in characters."""

    ranks: Sequence[int]
    scores: Sequence[float]
    lengths: Sequence[int]


def split(rows: Sequence[Ranking], share: float, seed: int) -> tuple[list[Ranking], list[Ranking]]:
    """Rows to train on, and about a share of them to hold out; all lists of an instruction go the same way.

    At least one instruction is held out where the share is above 0 and there is more than one.
    """
    asked = list(dict.fromkeys(map(conversation, rows)))
    random.Random(seed).shuffle(asked)
    number = min(len(asked) - 1, max(1, round(share * len(asked)))) if share else 0
    held_out = set(asked[:number])
    return (
        [row for row in rows if conversation(row) not in held_out],
        [row for row in rows if conversation(row) in held_out],
    )


def conversation(row: Ranking) -> tuple[tuple[str, str], ...]:
    """What the responses of a list answer."""
    return tuple((turn.role, turn.text) for turn in row.messages())


def length_preference(rows: Sequence[Ranking]) -> int:
    """1 if the judge prefers longer responses on more pairs than shorter ones, else -1."""
    right = pairs = 0.0
    for row in rows:
        ranked = [(each.rank, len(each.text)) for each in row.responses if each.rank is not None]
        if ranked:
            here = pair_accuracy([rank for rank, _ in ranked], [-length for _, length in ranked])
            right, pairs = right + here[0], pairs + here[1]
    return 1 if right >= pairs / 2 else -1


def agreement(lists: Sequence[ScoredList], preference: int, seed: int) -> dict[str, Any]:
    """Figures of the held-out lists.

    Args:
        lists: in which the judge ranks at least one response above another.
        preference: 1 for a baseline that prefers longer responses, -1 for shorter ones.
        seed: of the resampling.

    Returns:
        lists: how many.
        length_prefers: `longer` or `shorter`.
        kendall_tau, top1, pair_accuracy: each `{proxy, length, chance, gain}` of `{value, ci95}`. Tau is the mean of
            tau-b over the lists, 0 where an order ties everything; top1 shares a tie for the best; a tied pair is half
            right; `gain` is proxy less length, both on the same lists.
    """
    by_proxy = np.array([_counts(each, [-score for score in each.scores]) for each in lists]).reshape(-1, 4)
    by_length = np.array([_counts(each, [-preference * length for length in each.lengths]) for each in lists])
    both = np.concatenate([by_proxy, by_length.reshape(-1, 4)], axis=1)
    chance = {
        "kendall_tau": 0.0,
        "top1": fmean(1 / len(each.ranks) for each in lists) if lists else None,
        "pair_accuracy": 0.5,
    }

    def estimate(statistic: Callable[[Sums], float]) -> dict[str, Any]:
        if not lists:
            return {"value": None, "ci95": None}
        ends = bootstrap(both, statistic, SAMPLES, seed)
        interval = None if ends is None else [round(end, DIGITS) for end in ends]
        return {"value": round(statistic(both), DIGITS), "ci95": interval}

    figures: dict[str, Any] = {
        name: {
            "proxy": estimate(lambda table, of=of: of(table[:, :4])),  # type: ignore[misc]
            "length": estimate(lambda table, of=of: of(table[:, 4:])),  # type: ignore[misc]
            "chance": {"value": chance[name], "ci95": None},
            "gain": estimate(lambda table, of=of: of(table[:, :4]) - of(table[:, 4:])),  # type: ignore[misc]
        }
        for name, of in _MEASURES.items()
    }
    return {"lists": len(lists), "length_prefers": "longer" if preference > 0 else "shorter", **figures}


_MEASURES: dict[str, Callable[[Sums], float]] = {
    "kendall_tau": lambda counts: float(counts[:, 0].mean()),
    "top1": lambda counts: float(counts[:, 1].mean()),
    "pair_accuracy": lambda counts: float(counts[:, 2].sum() / counts[:, 3].sum()),
}
"""Of the counts [lists, 4] of one order."""


def _counts(judged: ScoredList, order: Sequence[float]) -> tuple[float, float, float, int]:
    """Tau, agreement on the best, pairs that are right, and pairs, of one list."""
    return (
        kendall_tau(judged.ranks, order) or 0.0,
        top1_agrees(judged.ranks, order),
        *pair_accuracy(judged.ranks, order),
    )
