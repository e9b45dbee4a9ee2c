"""The win rate that a model would have if its answers were as long as the other model's.

Judges like long answers. This is the smallest of the models with which AlpacaEval takes the liking out (Dubois et al.
2024, "Length-Controlled AlpacaEval"): a logistic regression of the verdicts on a bounded length difference, whose
intercept is the win rate at no difference. It needs nothing but the verdicts and the lengths; the published figures of
AlpacaEval 2 also use a difficulty of each instruction and further data, so they differ.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import scipy
from numpy.typing import NDArray

from tunalm.measures.means import percentile_interval

RIDGE = 1e-3
"""Penalty on squared coefficients: too weak to matter, but verdicts that are all alike would have no optimum."""
STEPS = 100
LONGEST_STEP = 1.0
PRECISION = 1e-9
RESAMPLES_AT_ONCE = 250

Array = NDArray[np.float64]


def length_controlled(
    points: Sequence[float], differences: Sequence[float], samples: int, seed: int
) -> tuple[float, tuple[float, float]] | None:
    """Fit p = sigmoid(intercept + slope tanh(difference / its standard deviation)).

    Args:
        points: per question 1 for a win, 1/2 for a tie, 0 for a loss, or a judge's probability of a win.
        differences: length of the model's answer less that of the other, in any unit.
        samples: bootstrap resamples of questions behind the interval.
        seed: of the resampling.

    Returns:
        The win rate at no difference and the ends of its 95 % percentile interval, 0-100; None where lengths say
        nothing of it: fewer than two questions, all differences equal, or one model's answers always the longer ones.
    """
    targets, lengths = np.asarray(points, dtype=np.float64), np.asarray(differences, dtype=np.float64)
    if len(lengths) < 2 or np.ptp(lengths) == 0 or lengths.min() > 0 or lengths.max() < 0:
        return None
    features = np.stack([np.ones_like(lengths), np.tanh(lengths / lengths.std(ddof=1))], axis=1)
    value = _win_rates(features, targets, np.ones((1, len(targets))))[0]
    dice = np.random.default_rng(seed)
    drawn: list[Array] = []
    for start in range(0, samples, RESAMPLES_AT_ONCE):
        count = min(RESAMPLES_AT_ONCE, samples - start)
        weights = dice.multinomial(len(targets), np.full(len(targets), 1 / len(targets)), size=count)
        drawn.append(_win_rates(features, targets, weights.astype(np.float64)))
    return float(value), percentile_interval(np.concatenate(drawn))


def _win_rates(features: Array, targets: Array, weights: Array) -> Array:
    """Win rates (0-100) at no difference, for every set of weights, by Newton's method.

    Args:
        features: [questions, 2].
        targets: [questions].
        weights: [sets, questions].
    """
    coefficients = np.zeros((len(weights), 2))
    for _ in range(STEPS):
        predicted = scipy.special.expit(coefficients @ features.T)
        gradient = (weights * (targets - predicted)) @ features - RIDGE * coefficients
        curvature = np.einsum("sq,qi,qj->sij", weights * predicted * (1 - predicted), features, features)
        step = np.linalg.solve(curvature + RIDGE * np.eye(2), gradient[..., None])[..., 0]
        size = np.linalg.norm(step, axis=1, keepdims=True)
        coefficients += step * np.minimum(1.0, LONGEST_STEP / np.maximum(size, PRECISION))
        if size.max() < PRECISION:
            break
    rates: Array = 100 * scipy.special.expit(coefficients[:, 0])
    return rates
