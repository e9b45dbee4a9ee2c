"""How far two raters agree on the same items, beyond what chance would give."""

from __future__ import annotations

from collections.abc import Hashable, Sequence

import numpy as np
from numpy.typing import NDArray

from tunalm.measures.means import percentile_interval

CountTable = NDArray[np.float64]
"""[categories, categories], how often the first rater says the one and the second the other."""


def cohen_kappa(one: Sequence[Hashable], other: Sequence[Hashable]) -> float | None:
    """Cohen's kappa (1960), unweighted: 1 is full agreement, 0 what the two raters' habits give by chance.

    Returns:
        Kappa, or None where chance alone would already agree on everything, or there is no item.
    """
    return kappa_of_table(_counts(one, other))


def kappa_of_table(table: CountTable) -> float | None:
    """Cohen's kappa of counts; None as in `cohen_kappa`."""
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
    table = _counts(one, other)
    if kappa_of_table(table) is None:
        return None
    drawn = np.random.default_rng(seed).multinomial(len(one), table.ravel() / len(one), size=samples)
    kappas = [kappa_of_table(each.reshape(table.shape)) for each in drawn]
    return percentile_interval([each for each in kappas if each is not None])


def _counts(one: Sequence[Hashable], other: Sequence[Hashable]) -> CountTable:
    places = {name: place for place, name in enumerate(dict.fromkeys([*one, *other]))}
    table = np.zeros((len(places), len(places)))
    for a, b in zip(one, other, strict=True):
        table[places[a], places[b]] += 1
    return table
