"""How far two raters agree on the same items, beyond what chance would give."""

from __future__ import annotations

from collections.abc import Hashable, Sequence

import numpy as np
from numpy.typing import NDArray

from tunalm.measures.means import CONFIDENCE

Codes = NDArray[np.int64]


def agreement(one: Sequence[Hashable], other: Sequence[Hashable]) -> float:
    """Share (0-1) of items on which two raters say the same; at least one item."""
    return sum(a == b for a, b in zip(one, other, strict=True)) / len(one)


def cohen_kappa(one: Sequence[Hashable], other: Sequence[Hashable]) -> float | None:
    """Cohen's kappa (1960), unweighted: 1 is full agreement, 0 what the two raters' habits give by chance.

    Returns:
        Kappa, or None where chance alone would already agree on everything, or there is no item.
    """
    codes = _coded(one, other)
    kappa = float(_kappas(codes, np.ones((1, codes.shape[1])))[0]) if codes.size else float("nan")
    return None if np.isnan(kappa) else kappa


def kappa_of_table(table: NDArray[np.float64]) -> float | None:
    """Cohen's kappa of counts.

    Args:
        table: [categories, categories], how often the first rater says the one and the second the other.

    Returns:
        Kappa, or None where chance alone would already agree on everything, or there is no item.
    """
    items = float(table.sum())
    if not items:
        return None
    observed = float(np.trace(table)) / items
    expected = float(table.sum(axis=1) @ table.sum(axis=0)) / items**2
    return (observed - expected) / (1 - expected) if expected < 1 else None


def kappa_interval(
    one: Sequence[Hashable], other: Sequence[Hashable], samples: int, seed: int
) -> tuple[float, float] | None:
    """Percentile bootstrap interval of Cohen's kappa over items, with 95 % confidence; None where kappa is None."""
    if cohen_kappa(one, other) is None:
        return None
    codes = _coded(one, other)
    items = codes.shape[1]
    weights = np.random.default_rng(seed).multinomial(items, np.full(items, 1 / items), size=samples)
    kappas = _kappas(codes, weights.astype(np.float64))
    outside = (1 - CONFIDENCE) / 2
    low, high = np.nanquantile(kappas, [outside, 1 - outside])
    return float(low), float(high)


def _coded(one: Sequence[Hashable], other: Sequence[Hashable]) -> Codes:
    """Both raters' categories as numbers, [2, items]."""
    numbers = {name: number for number, name in enumerate(dict.fromkeys([*one, *other]))}
    return np.array([[numbers[name] for name in rater] for rater in (one, other)], dtype=np.int64)


def _kappas(codes: Codes, weights: NDArray[np.float64]) -> NDArray[np.float64]:
    """Kappa for every set of item weights.

    Args:
        codes: [2, items].
        weights: [sets, items].
    """
    says = codes[:, :, None] == np.arange(codes.max() + 1)
    shares = np.stack([weights @ rater for rater in says]) / weights.sum(axis=1)[None, :, None]
    expected = (shares[0] * shares[1]).sum(axis=1)
    observed = weights @ (codes[0] == codes[1]) / weights.sum(axis=1)
    with np.errstate(invalid="ignore", divide="ignore"):
        kappas: NDArray[np.float64] = np.where(expected < 1, (observed - expected) / (1 - expected), np.nan)
    return kappas
