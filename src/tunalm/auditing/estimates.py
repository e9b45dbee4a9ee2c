"""Figures with their intervals, as they stand in audit.json.

Every figure is one of sums over lists, so its bootstrap draws lists and adds up.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
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
    return of_sums(known, lambda sums: sums[:, 0] / sums[:, 1])


def share(parts: Sums, wholes: Sums) -> Estimate:
    """`ratio` of arrays, [lists] each."""
    return ratio(list(zip(parts, wholes, strict=True)))


def of_sums(parts: Sums, statistic: Callable[[Sums], Sums]) -> Estimate:
    """Any figure of what is summed over lists, with its percentile bootstrap interval.

    Args:
        parts: [lists, ...].
        statistic: of several sums, [sums, ...] -> [sums]; not finite where it is not defined, and such draws are left
            out.
    """
    nothing: Estimate = {"value": None, "ci95": None, "lists": len(parts)}
    if not len(parts):
        return nothing
    flat = parts.reshape(len(parts), -1)
    sums = np.vstack([flat.sum(axis=0), _resampled(flat)]).reshape(-1, *parts.shape[1:])
    with np.errstate(divide="ignore", invalid="ignore"):
        value, *drawn = statistic(sums)
    if not np.isfinite(value):
        return nothing
    values = np.array([each for each in drawn if np.isfinite(each)])
    says_something = len(parts) > 1 and len(values) and np.ptp(values)
    interval = [round(end, DIGITS) for end in percentile_interval(values)] if says_something else None
    return {"value": round(float(value), DIGITS), "ci95": interval, "lists": len(parts)}


def _resampled(parts: Sums) -> Sums:
    """Sums of as many lists as there are, drawn with replacement.

    Args:
        parts: [lists, parts].

    Returns:
        [samples, parts].
    """
    generator, size = np.random.default_rng(SEED), len(parts)
    kinds, counts = np.unique(parts, axis=0, return_counts=True)
    if len(kinds) <= FEW_KINDS:
        return np.asarray(generator.multinomial(size, counts / size, SAMPLES) @ kinds)
    draws = (np.bincount(generator.integers(size, size=size), minlength=size) for _ in range(SAMPLES))
    return np.array([times @ parts for times in draws])
