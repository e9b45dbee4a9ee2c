"""A ranking beside several raters: how far they agree with each other, and the ranking with each and with all."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from itertools import combinations, permutations
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tunalm.auditing.estimates import mean, of_sums, ratio
from tunalm.auditing.matching import Matched
from tunalm.measures.means import known_mean
from tunalm.measures.ranks import Ranks, kendall_tau, pair_accuracy, spearman_rho, top1_agrees

Orders = tuple[Ranks, Ranks]
"""Two orders of one list; the first one is taken for the truth."""
PEOPLE, EVERYBODY = "people with each other", "ranking with their mean order"


def people(lists: Sequence[Matched]) -> dict[str, Any] | None:
    """Figures of several raters; None if there is only one.

    Returns:
        raters: lists by rater. comparisons: figures by what is compared: people with each other (every pair of raters
        of a list, averaged), the ranking with each of them, and with their mean order. categories: the first and the
        last of these for every `task` of the lists, if there are several.
    """
    names = Counter(name for each in lists for name in each.raters)
    if len(names) < 2:
        return None
    ways: dict[str, Callable[[Matched], list[Orders]]] = {
        PEOPLE: lambda each: list(permutations(each.raters.values(), 2)),
        **{f"ranking with {name}": _with(name) for name in names},
        EVERYBODY: lambda each: [(each.others, each.ranks)],
    }
    tasks = dict.fromkeys(each.row.task for each in lists if each.row.task is not None)
    return {
        "raters": dict(names),
        "comparisons": {name: _figures(lists, way) for name, way in ways.items()},
        "categories": {
            task: {
                name: _figures([each for each in lists if each.row.task == task], ways[name])
                for name in (PEOPLE, EVERYBODY)
            }
            for task in (tasks if len(tasks) > 1 else ())
        },
    }


def _with(name: str) -> Callable[[Matched], list[Orders]]:
    return lambda each: [(each.raters[name], each.ranks)] if name in each.raters else []


def _figures(lists: Sequence[Matched], way: Callable[[Matched], list[Orders]]) -> dict[str, Any]:
    """Figures of the orders that `way` takes from each list.

    Returns:
        kendall_tau, spearman_rho, top1: means over lists. pair_accuracy: share of the pairs that the truth decides.
        pooled_tau: Kendall's tau-b over the pairs of all lists together; and tau_without_length, the same after the
        lengths of the responses are held constant: Kendall's partial tau (1942) over the signs of the pairs.
    """
    taken = [(each, orders) for each in lists if (orders := way(each))]
    accuracies = [[pair_accuracy(*each) for each in orders] for _, orders in taken]
    products = np.array([_products(each, orders) for each, orders in taken]).reshape(-1, 6)
    return {
        "kendall_tau": mean([known_mean([kendall_tau(*each) for each in orders]) for _, orders in taken]),
        "spearman_rho": mean([known_mean([spearman_rho(*each) for each in orders]) for _, orders in taken]),
        "top1": mean([known_mean([top1_agrees(*each) for each in orders]) for _, orders in taken]),
        "pair_accuracy": ratio([(sum(a for a, _ in each), sum(b for _, b in each)) for each in accuracies]),
        "pooled_tau": of_sums(products, lambda sums: _correlations(sums)[0]),
        "tau_without_length": of_sums(products, _partial),
    }


def _products(matched: Matched, orders: Sequence[Orders]) -> NDArray[np.float64]:
    """Sums over the pairs of a list of the products of signs: of truth, ranking and length, each with each."""
    lengths = [-len(matched.row.responses[place].text) for place in matched.places]
    sums = np.zeros(6)
    for truth, ranks in orders:
        for one, other in combinations(range(len(lengths)), 2):
            x, y, z = (np.sign(float(each[one]) - float(each[other])) for each in (truth, ranks, lengths))  # type: ignore[arg-type]
            sums += [x * x, y * y, z * z, x * y, x * z, y * z]
    return sums


def _correlations(sums: NDArray[np.float64]) -> tuple[float | None, float, float]:
    """Tau of truth and ranking, of truth and length, and of ranking and length, the last two 0 if not defined."""
    xx, yy, zz, xy, xz, yz = (float(each) for each in sums)
    tau = xy / (xx * yy) ** 0.5 if xx and yy else None
    return tau, xz / (xx * zz) ** 0.5 if xx and zz else 0.0, yz / (yy * zz) ** 0.5 if yy and zz else 0.0


def _partial(sums: NDArray[np.float64]) -> float | None:
    tau, with_truth, with_ranking = _correlations(sums)
    rest = (1 - with_truth**2) * (1 - with_ranking**2)
    return None if tau is None or rest <= 0 else (tau - with_truth * with_ranking) / rest**0.5
