"""How far two rankings of the same lists agree."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tunalm.auditing.estimates import mean, of_sums, ratio
from tunalm.auditing.matching import Matched
from tunalm.measures.agreement import kappa_of_table
from tunalm.measures.ranks import kendall_tau, pair_accuracy, top1_agrees, weighted_tau

VERDICTS = 3
"""Of a pair: the first is better, a tie, the second is better."""


def agreement(lists: Sequence[Matched]) -> dict[str, Any]:
    """Figures of two orders per list.

    Returns:
        kendall_tau, weighted_tau: means over the lists in which both orders decide something.
        top1: how far both name the same best response.
        pair_accuracy: share of the pairs that the other file decides on which the first one says the same; where the
            first one ties, it is half right.
        same_verdict, kappa: over all pairs, ties as a third verdict: share with the same verdict, and Cohen's kappa.
            Pairs are in the order of the responses, so kappa corrects for a habit of preferring the first.
    """
    orders = [(each.ranks, each.others) for each in lists]
    accuracies = [pair_accuracy(others, ranks) for ranks, others in orders]
    tables = np.array([_verdicts(each) for each in lists]).reshape(-1, VERDICTS, VERDICTS)
    return {
        "kendall_tau": mean([kendall_tau(*each) for each in orders]),
        "weighted_tau": mean([weighted_tau(*each) for each in orders]),
        "top1": mean([top1_agrees(*each) for each in orders]),
        "pair_accuracy": ratio(accuracies),
        "same_verdict": of_sums(tables, _share_on_the_diagonal),
        "kappa": of_sums(tables, kappa_of_table),
        "pairs": int(tables.sum()),
        "decided_pairs": sum(decided for _, decided in accuracies),
    }


def _verdicts(matched: Matched) -> NDArray[np.float64]:
    """Pairs by what each file says of them, [verdict of the first file, verdict of the other]."""
    table = np.zeros((VERDICTS, VERDICTS))
    ranks, others = np.array(matched.ranks, dtype=float), np.array(matched.others, dtype=float)
    for one, other in combinations(range(len(ranks)), 2):
        said = (int(np.sign(order[one] - order[other])) + 1 for order in (ranks, others))
        table[tuple(said)] += 1
    return table


def _share_on_the_diagonal(table: NDArray[np.float64]) -> float | None:
    return float(np.trace(table) / table.sum()) if table.sum() else None
