"""How sure a mean and a difference of means are: bootstrap intervals, a paired permutation test, Holm's correction.

All functions are deterministic: the same numbers and the same seed give the same result.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from statistics import fmean

import numpy as np
import scipy
from numpy.typing import NDArray

CONFIDENCE = 0.95
PERMUTATIONS = 9999
"""Sign flips of a permutation test; up to 13 rows that differ, all of them are tried and the p-value is exact."""
ELEMENTS_AT_ONCE = 4_000_000
"""Numbers that a resampling may hold in memory together."""

Values = NDArray[np.float64]


def known_mean(values: Sequence[float | None], digits: int | None = None) -> float | None:
    """Mean of the values that are known, rounded if asked; None if none is known."""
    known = [value for value in values if value is not None]
    return rounded(fmean(known), digits) if known else None


def rounded(value: float | None, digits: int | None) -> float | None:
    """The value with so many digits after the point; None stays None."""
    return value if value is None or digits is None else round(value, digits)


def mean_interval(values: Sequence[float], samples: int, seed: int) -> tuple[float, float] | None:
    """Bias-corrected and accelerated bootstrap interval (BCa, Efron 1987) of a mean, with 95 % confidence.

    Given the differences between two models, row by row, it is the paired bootstrap of their difference.

    Args:
        values: one per row; rows are what is drawn with replacement.
        samples: number of resamples.
        seed: of the resampling. Equal seeds draw equal rows from samples of equal length.

    Returns:
        Both ends, or None where resampling says nothing: fewer than two rows, or all of them equal.
    """
    data = np.asarray(values, dtype=np.float64)
    if len(data) < 2 or np.ptp(data) == 0:
        return None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", scipy.stats.DegenerateDataWarning)
        interval = scipy.stats.bootstrap(
            (data,),
            np.mean,
            n_resamples=samples,
            batch=_batch(len(data)),
            confidence_level=CONFIDENCE,
            method="BCa",
            rng=np.random.default_rng(seed),
        ).confidence_interval
    low, high = float(interval.low), float(interval.high)
    return (low, high) if math.isfinite(low) and math.isfinite(high) else None


def percentile_interval(resampled: Sequence[float] | Values) -> tuple[float, float]:
    """Both ends of the percentile bootstrap interval, with 95 % confidence, from what the resamples gave."""
    outside = (1 - CONFIDENCE) / 2
    low, high = np.quantile(resampled, [outside, 1 - outside])
    return float(low), float(high)


def t_interval(values: Sequence[float]) -> tuple[float, float] | None:
    """Student's t interval of a mean with 95 % confidence, for a handful of values such as one per seed.

    Returns:
        Both ends, or None for fewer than two values.
    """
    if len(values) < 2:
        return None
    half = float(scipy.stats.sem(values) * scipy.stats.t.ppf((1 + CONFIDENCE) / 2, len(values) - 1))
    middle = float(np.mean(values))
    return middle - half, middle + half


def standard_error(values: Sequence[float]) -> float | None:
    """Standard error of a mean, or None for fewer than two rows."""
    return float(scipy.stats.sem(values)) if len(values) > 1 else None


def sign_flip_p_value(differences: Sequence[float], seed: int) -> float:
    """Two-sided p-value of a paired permutation test.

    The null hypothesis is that the two models are exchangeable on every row, so that each difference could as well
    have the other sign; the statistic is the mean difference.

    Args:
        differences: one per row, both models on the same row.
        seed: of the random sign flips, which are drawn when there are too many to try all.

    Returns:
        The p-value in (0, 1]; 1 where fewer than two rows differ.
    """
    data = np.asarray(differences, dtype=np.float64)
    data = data[data != 0]
    if len(data) < 2:
        return 1.0
    test = scipy.stats.permutation_test(
        (data,),
        np.sum,
        permutation_type="samples",
        n_resamples=PERMUTATIONS,
        batch=_batch(len(data)),
        alternative="two-sided",
        rng=np.random.default_rng(seed),
    )
    return float(test.pvalue)


def holm(p_values: Sequence[float]) -> list[float]:
    """Adjust p-values for being many (Holm 1979); the chance of any false finding stays below the level.

    Args:
        p_values: of one family, in any order.

    Returns:
        Adjusted p-values in the same order.
    """
    adjusted = [0.0] * len(p_values)
    largest = 0.0
    for place, index in enumerate(sorted(range(len(p_values)), key=lambda index: p_values[index])):
        largest = max(largest, min(1.0, (len(p_values) - place) * p_values[index]))
        adjusted[index] = largest
    return adjusted


def _batch(length: int) -> int:
    return max(1, ELEMENTS_AT_ONCE // length)
