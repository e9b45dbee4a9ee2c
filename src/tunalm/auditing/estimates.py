"""Figures with their intervals, as they stand in audit.json.

Every figure is one of sums over lists, so its bootstrap draws lists and adds up.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tunalm.measures.means import percentile_interval

SAMPLES = 1000
"""Bootstrap resamples behind an interval; what is drawn are whole lists."""
SEED = 0
DIGITS = 4
FEW_KINDS = 2000
"""Up to so many different lists, it is drawn how often each kind comes; above it, every list."""

Estimate = dict[str, Any]
"""{value, ci95, lists}: the figure (None where there is none), both ends of its 95 % interval (None where resampling
says nothing), and how many lists it is of."""
Sums = NDArray[np.float64]


def mean(values: Sequence[float | None]) -> Estimate:
    """The mean over lists, of those that have a value."""
    return ratio([(value, 1) for value in values if value is not None])


def ratio(parts: Sequence[tuple[float, float]]) -> Estimate:
    """A share of sums over lists: (part, whole) of each; lists with nothing in the whole are left out."""
    known = np.array([each for each in parts if each[1]], dtype=np.float64).reshape(-1, 2)
    return of_sums(known, lambda sums: float(sums[0] / sums[1]))


def of_sums(parts: Sums, statistic: Callable[[Sums], float | None]) -> Estimate:
    """Any figure of what is summed over lists, with its percentile bootstrap interval.

    Args:
        parts: [lists, ...].
        statistic: of a sum, [...]; None where it is not defined, and such draws are left out.
    """
    if not len(parts) or (value := statistic(parts.sum(axis=0))) is None:
        return {"value": None, "ci95": None, "lists": len(parts)}
    flat = parts.reshape(len(parts), -1)
    drawn = (statistic(sums.reshape(parts.shape[1:])) for sums in _resampled(flat))
    values = [each for each in drawn if each is not None]
    says_something = len(parts) > 1 and len(set(values)) > 1
    interval = [round(end, DIGITS) for end in percentile_interval(values)] if says_something else None
    return {"value": round(value, DIGITS), "ci95": interval, "lists": len(parts)}


def _resampled(parts: Sums) -> Iterator[Sums]:
    """Sums of as many lists as there are, drawn with replacement.

    Args:
        parts: [lists, parts].
    """
    generator = np.random.default_rng(SEED)
    kinds, counts = np.unique(parts, axis=0, return_counts=True)
    if len(kinds) <= FEW_KINDS:
        yield from generator.multinomial(len(parts), counts / len(parts), SAMPLES) @ kinds
        return
    for _ in range(SAMPLES):
        times = np.bincount(generator.integers(len(parts), size=len(parts)), minlength=len(parts))
        yield times @ parts
