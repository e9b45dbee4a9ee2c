"""How far a ranking agrees with other raters, and they with each other."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from functools import lru_cache
from itertools import permutations
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tunalm.auditing.estimates import Sums, mean, of_sums, share
from tunalm.auditing.matching import Matched, Matching
from tunalm.measures.means import known_mean
from tunalm.measures.ranks import Ranks, kendall_tau, spearman_rho, top1_agrees, weighted_tau

Orders = tuple[Ranks, Ranks]
"""Two orders of one list; the first one is taken for the truth."""
MEASURES: dict[str, Callable[[Ranks, Ranks], float | None]] = {
    "kendall_tau": kendall_tau,
    "weighted_tau": weighted_tau,
    "spearman_rho": spearman_rho,
    "top1": top1_agrees,
}
Way = Callable[[Matched], list[Orders]]
"""What is compared in a list."""
RATERS, TOGETHER = "raters with each other", "ranking with their mean order"
SIGNS = np.array([-1.0, 0.0, 1.0])
"""Verdicts on a pair: the first response is better, a tie, the second one is."""


def agreement(matching: Matching) -> dict[str, Any]:
    """Figures of a ranking beside one or more raters.

    Returns:
        lists, lists_alone, responses_alone: see `Matching`. raters: lists by rater. comparisons: figures by what is
        compared: the ranking with each rater; and of several raters, every two of them with each other, and the
        ranking with their mean order. categories: the same for every `task` of the lists, if there are several.
    """
    lists = matching.lists
    names = Counter(name for each in lists for name in each.raters)
    ways: dict[str, Way] = {f"ranking with {name}": _with(name) for name in names}
    if len(names) > 1:
        each_other: Way = lambda each: list(permutations(each.raters.values(), 2))  # noqa: E731
        ways = {RATERS: each_other, **ways, TOGETHER: lambda each: [(each.others, each.ranks)]}
    taken = {name: [_Compared(each, orders) for each in lists if (orders := way(each))] for name, way in ways.items()}
    tasks = dict.fromkeys(each.row.task for each in lists if each.row.task is not None)
    return {
        "lists": len(lists),
        "lists_alone": matching.lists_alone,
        "responses_alone": matching.responses_alone,
        "raters": dict(names),
        "comparisons": {name: _figures(rows) for name, rows in taken.items()},
        "categories": {
            task: {name: _figures([row for row in rows if row.task == task]) for name, rows in taken.items()}
            for task in (tasks if len(tasks) > 1 else ())
        },
    }


def _with(name: str) -> Way:
    return lambda each: [(each.raters[name], each.ranks)] if name in each.raters else []


@lru_cache(1 << 16)
def _measured(truth: Ranks, ranks: Ranks) -> dict[str, float | None]:
    """Short lists have few different orders."""
    return {name: measure(truth, ranks) for name, measure in MEASURES.items()}


class _Compared:
    """What one or more pairs of orders of a list say."""

    def __init__(self, matched: Matched, orders: Sequence[Orders]) -> None:
        self.task = matched.row.task
        found = [_measured(tuple(truth), tuple(ranks)) for truth, ranks in orders]
        self.means = {name: known_mean([each[name] for each in found]) for name in MEASURES}
        self.verdicts = np.sum([_verdicts(matched, *both) for both in orders], axis=0)


def _figures(lists: Sequence[_Compared]) -> dict[str, Any]:
    """Figures of some lists.

    Returns:
        kendall_tau, weighted_tau, spearman_rho: means over the lists in which both orders decide something.
        top1: how far both name the same best response.
        pair_accuracy: share of the pairs that the truth decides on which the other order says the same; where it
            ties, it is half right.
        same_verdict, kappa: over all pairs, ties as a third verdict: share with the same verdict, and Cohen's kappa.
            Pairs are in the order of the responses, so kappa corrects for a habit of preferring the first.
        pooled_tau: Kendall's tau-b over the pairs of all lists together.
        tau_without_length: the same with the lengths of the responses held constant: Kendall's partial tau (1942).
    """
    verdicts = np.array([each.verdicts for each in lists], dtype=np.float64).reshape(-1, 3, 3, 3)
    tables = verdicts.sum(axis=-1)
    decided = tables[:, [0, 2]]
    right = decided * [[1, 0.5, 0], [0, 0.5, 1]]
    return {
        **{name: mean([each.means[name] for each in lists]) for name in MEASURES},
        "pair_accuracy": share(right.sum(axis=(1, 2)), decided.sum(axis=(1, 2))),
        "same_verdict": share(np.trace(tables, axis1=1, axis2=2), tables.sum(axis=(1, 2))),
        "kappa": of_sums(tables, _kappa),
        "pooled_tau": of_sums(verdicts, lambda sums: _correlation(sums, 0, 1)),
        "tau_without_length": of_sums(verdicts, _partial),
        "pairs": int(tables.sum()),
        "decided_pairs": int(decided.sum()),
    }


def _verdicts(matched: Matched, truth: Ranks, ranks: Ranks) -> NDArray[np.int64]:
    """Pairs by what is said of them, [verdict of the truth, of the ranking, of length: the longer is better]."""
    longer = [-len(matched.row.responses[place].text) for place in matched.places]
    orders = np.array([truth, ranks, longer], dtype=np.float64)
    one, other = np.triu_indices(orders.shape[1], 1)
    signs = np.sign(orders[:, one] - orders[:, other]).astype(int) + 1
    return np.bincount(np.ravel_multi_index(tuple(signs), (3, 3, 3)), minlength=27).reshape(3, 3, 3)


def _kappa(tables: Sums) -> Sums:
    """Cohen's kappa (1960) of each table, [..., 3, 3]."""
    pairs = tables.sum(axis=(-1, -2))
    observed = np.trace(tables, axis1=-2, axis2=-1) / pairs
    expected = (tables.sum(axis=-1) * tables.sum(axis=-2)).sum(axis=-1) / pairs**2
    return np.asarray((observed - expected) / (1 - expected))


def _correlation(verdicts: Sums, one: int, other: int) -> Sums:
    """Tau-b of two of truth, ranking and length (0, 1, 2) over pairs, by verdicts [..., 3, 3, 3]."""
    third = 3 - one - other
    table = verdicts.sum(axis=third - 3)
    decided = (table.sum(axis=-1) @ SIGNS**2) * (table.sum(axis=-2) @ SIGNS**2)
    return np.asarray(SIGNS @ table @ SIGNS / np.sqrt(decided))


def _partial(verdicts: Sums) -> Sums:
    """Kendall's partial tau; a length that never differs takes nothing out."""
    tau = _correlation(verdicts, 0, 1)
    truth, ranking = (np.nan_to_num(_correlation(verdicts, which, 2)) for which in (0, 1))
    return np.asarray((tau - truth * ranking) / np.sqrt((1 - truth**2) * (1 - ranking**2)))
