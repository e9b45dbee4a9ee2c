"""How far two or more orders of the same things agree, for short lists with ties and gaps.

An order is a sequence of ranks: one number per thing, a lower number is a better rank, equal numbers are ties and None
is a thing without a rank. Things that either order leaves out are dropped from both. Nothing here is random but
`bootstrap`, which is deterministic given its seed.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
import scipy
from numpy.typing import NDArray

from tunalm.measures.means import known_mean, percentile_interval

Ranks = Sequence[float | None]
Values = NDArray[np.float64]

LENGTH_BIAS = 0.5
"""Kendall's tau between rank and length, on average over the lists, beyond which a ranking is warned of."""


def kendall_tau(one: Ranks, other: Ranks) -> float | None:
    """Kendall's tau-b (1945) of two orders: 1 the same, -1 reversed, ties corrected for.

    Time and memory grow with the square of the length.

    Returns:
        Tau, or None where it is not defined: fewer than two things are left, or one of the orders ties them all.

    Raises:
        ValueError: the orders differ in length or hold a number that is not finite.
    """
    signs, other_signs = (_signs(ranks) for ranks in _both(one, other))
    size = math.sqrt(np.square(signs).sum() * np.square(other_signs).sum())
    return float((signs * other_signs).sum() / size) if size else None


def spearman_rho(one: Ranks, other: Ranks) -> float | None:
    """Spearman's rho (1904): the correlation of the ranks, tied things sharing the mean of their places.

    Returns:
        Rho, or None where it is not defined (see `kendall_tau`).

    Raises:
        ValueError: the orders differ in length or hold a number that is not finite.
    """
    ranks, other_ranks = _both(one, other)
    if len(ranks) < 2 or not np.ptp(ranks) or not np.ptp(other_ranks):
        return None
    return float(np.corrcoef(scipy.stats.rankdata(ranks), scipy.stats.rankdata(other_ranks))[0, 1])


def weighted_tau(one: Ranks, other: Ranks) -> float | None:
    """Vigna's weighted tau (2015): like tau, but an exchange near the top costs more than one near the bottom.

    Weights are hyperbolic and added, and the mean is taken over the importance that either order gives, which are the
    defaults of `scipy.stats.weightedtau`.

    Returns:
        The weighted tau, or None where it is not defined (see `kendall_tau`).

    Raises:
        ValueError: the orders differ in length or hold a number that is not finite.
    """
    ranks, other_ranks = _both(one, other)
    if len(ranks) < 2 or not np.ptp(ranks) or not np.ptp(other_ranks):
        return None
    return float(scipy.stats.weightedtau(-ranks, -other_ranks).statistic)


def kendall_w(orders: Sequence[Sequence[float]]) -> float | None:
    """Kendall's coefficient of concordance W (1939) of several judges: 1 all say the same, 0 no agreement at all.

    Args:
        orders: [judges, things], the scores or ranks that each judge gives; higher may be better or worse as long as
            it is so for all judges. Ties are corrected for.

    Returns:
        W in 0-1, or None where it is not defined: fewer than two judges or things, or every judge ties everything.

    Raises:
        ValueError: the judges did not score the same number of things, or a score is not finite.
    """
    if len({len(order) for order in orders}) > 1:
        raise ValueError("every judge must score the same things")
    scores = _finite(orders)
    if scores.ndim != 2 or scores.shape[0] < 2 or scores.shape[1] < 2:
        return None
    judges, things = scores.shape
    spread = np.square(scipy.stats.rankdata(scores, axis=1).sum(axis=0) - judges * (things + 1) / 2).sum()
    sharing = [np.unique(order, return_counts=True)[1].astype(np.float64) for order in scores]
    ties = sum(float((counts**3 - counts).sum()) for counts in sharing)
    largest = judges**2 * (things**3 - things) - judges * ties
    return float(min(1.0, 12 * spread / largest)) if largest > 0 else None


def top1_agrees(one: Ranks, other: Ranks) -> float:
    """How far two orders name the same best: things that both put first over things that either puts first.

    Without ties this is 1 or 0; a tie for the first place shares it, and an order agrees with itself fully.

    Raises:
        ValueError: no thing is ranked by both, the orders differ in length, or a number is not finite.
    """
    ranks, other_ranks = _both(one, other)
    if not len(ranks):
        raise ValueError("nothing is ranked by both orders")
    best, other_best = ranks == ranks.min(), other_ranks == other_ranks.min()
    return float((best & other_best).sum() / (best | other_best).sum())


def pair_accuracy(truth: Ranks, other: Ranks) -> tuple[float, int]:
    """On how many pairs of things an order says what the truth says.

    Pairs that the truth ties are left out; a tie of the other order is half right, as a coin would be.

    Returns:
        The pairs that are right (halves are possible) and all pairs, to be added up over lists.

    Raises:
        ValueError: the orders differ in length or hold a number that is not finite.
    """
    signs, other_signs = (_signs(ranks) for ranks in _both(truth, other))
    decided = np.triu(signs != 0)
    agreement = (signs * other_signs)[decided]
    return float((agreement + 1).sum() / 2), int(decided.sum())


def length_tau(lists: Iterable[tuple[Ranks, Sequence[int]]]) -> float | None:
    """Kendall's tau of the ranks of responses and their lengths, mean over the lists in which it is defined.

    Args:
        lists: ranks of the responses of a list, and their lengths.

    Returns:
        Tau: above 0 longer responses rank better, below 0 shorter ones; None where no list has one.
    """
    return known_mean([kendall_tau(ranks, [-length for length in lengths]) for ranks, lengths in lists])


def length_bias(tau: float | None) -> str | None:
    """What to say of ranks that go with length; None where tau (see `length_tau`) is within `LENGTH_BIAS`."""
    if tau is None or abs(tau) <= LENGTH_BIAS:
        return None
    prefers = "longer" if tau > 0 else "shorter"
    return (
        f"its ranks go with length: Kendall's tau of rank and length is {abs(tau):.2f} on average over the lists, and"
        f" {prefers} responses rank higher"
    )


def bootstrap(
    items: Values, statistic: Callable[[Values], float | None], samples: int, seed: int
) -> tuple[float, float] | None:
    """Percentile bootstrap interval of any statistic, with 95 % confidence.

    Args:
        items: [items, ...], drawn with replacement along the first axis.
        statistic: of the items drawn; None (or NaN) where it is not defined, and such draws are left out.
        samples: number of resamples.
        seed: of the resampling. Equal seeds draw equal items from samples of equal length.

    Returns:
        Both ends, or None where resampling says nothing: fewer than two items, a statistic that is not defined on the
        items themselves, or the same for every draw.
    """
    size = len(items)
    if size < 2 or not _defined(statistic(items)):
        return None
    generator = np.random.default_rng(seed)
    values: list[float] = []
    for _ in range(samples):
        drawn = generator.integers(size, size=size)
        value = statistic(items[drawn])
        if value is not None and _defined(value):
            values.append(value)
    if not values or min(values) == max(values):
        return None
    return percentile_interval(values)


def _defined(value: float | None) -> bool:
    return value is not None and not math.isnan(value)


def _both(one: Ranks, other: Ranks) -> tuple[Values, Values]:
    """The ranks of the things that both orders rank."""
    pairs = [(a, b) for a, b in zip(one, other, strict=True) if a is not None and b is not None]
    ranks = _finite(pairs).reshape(len(pairs), 2)
    return ranks[:, 0], ranks[:, 1]


def _finite(numbers: Sequence[Any]) -> Values:
    values = np.asarray(numbers, dtype=np.float64)
    if not np.isfinite(values).all():
        raise ValueError("ranks and scores must be finite numbers")
    return values


def _signs(ranks: Values) -> Values:
    """For every pair whether the first is behind (1), ahead (-1) or tied (0), [things, things]."""
    return np.sign(ranks[:, None] - ranks[None, :])
