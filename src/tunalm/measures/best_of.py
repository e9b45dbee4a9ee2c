"""What the best of k samples is worth, from n samples: the mean over all ways to choose k of the n."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from math import comb
from statistics import fmean


def pass_at_k(scores: Sequence[float], k: int) -> float:
    """Expected score of the best of k samples (pass@k), without bias.

    With scores of 0 and 1 it is 1 - C(n - c, k) / C(n, k) of Chen et al. (2021), where c of n samples are right.

    Args:
        scores: of n samples.
        k: at most n.

    Raises:
        ValueError: k is not in 1..n.
    """
    return chosen_of_k(scores, scores, k)


def chosen_of_k(scores: Sequence[float], values: Sequence[float], k: int) -> float:
    """Expected score of the one of k samples whose value is largest, without bias; ties are broken by a coin.

    Args:
        scores: of n samples.
        values: of the same samples, by which one is chosen.
        k: at most n.

    Raises:
        ValueError: k is not in 1..n, or there are not as many values as scores.
    """
    size = len(scores)
    if not 1 <= k <= size:
        raise ValueError(f"k is {k}, and there are {size} samples")
    ordered = sorted(zip(values, scores, strict=True), key=lambda pair: -pair[0])
    shared: list[float] = []
    for _, tied in groupby(ordered, key=lambda pair: pair[0]):
        found = [score for _, score in tied]
        shared += [fmean(found)] * len(found)
    # The sample at `place` is chosen if it is drawn and the k - 1 others all stand behind it.
    chances = [comb(size - place, k - 1) / comb(size, k) for place in range(1, size + 1)]
    return sum(chance * score for chance, score in zip(chances, shared, strict=True))
