"""Ties and lengths: whether a ranking decides, and whether it decides by length (Table 4 of the paper)."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from itertools import combinations
from math import comb
from typing import Any

from tunalm.auditing.estimates import mean, ratio
from tunalm.measures.ranks import kendall_tau, top1_agrees
from tunalm.records import Ranking, Response

Measure = Callable[[Response], int | None]
UNITS: dict[str, Measure] = {
    "characters": lambda response: len(response.text),
    "tokens": lambda response: response.num_tokens,
}


def ties(rows: Sequence[Ranking]) -> dict[str, Any]:
    """How often a ranking does not decide.

    Returns:
        tied_pairs: share of the pairs of ranked responses with equal ranks.
        tied_best: share of the lists in which the first rank is shared.
        all_tied: share of the lists in which no response is better than another.
    """
    ranks = [_ranks(row) for row in rows]
    pairs = [[one == other for one, other in combinations(each, 2)] for each in ranks]
    return {
        "tied_pairs": ratio([(sum(each), len(each)) for each in pairs]),
        "tied_best": mean([each.count(min(each)) > 1 for each in ranks]),
        "all_tied": mean([len(set(each)) == 1 for each in ranks]),
    }


def lengths(rows: Sequence[Ranking]) -> dict[str, Any]:
    """Length at every rank, and how far length and rank go together.

    Returns:
        For each unit that is known of some responses: `by_rank` with the mean length of the responses at each rank;
        `tau`, Kendall's tau-b of rank and length within lists, 1 if the longer response is always the better one;
        `best_is_longest`, the share of the lists whose best is also the longest, beside what `by_chance` would be. The
        last two are of lists in which the length of every ranked response is known.
    """
    found = {unit: _of_unit(rows, measure) for unit, measure in UNITS.items()}
    return {unit: figures for unit, figures in found.items() if figures["by_rank"]}


def _of_unit(rows: Sequence[Ranking], measure: Measure) -> dict[str, Any]:
    by_rank: defaultdict[int, list[tuple[float, float]]] = defaultdict(list)
    whole: list[tuple[list[int], list[int]]] = []
    for row in rows:
        known = [(each.rank, measure(each)) for each in row.responses if each.rank is not None]
        sized = [(rank, length) for rank, length in known if length is not None]
        for rank in {rank for rank, _ in sized}:
            own = [length for other, length in sized if other == rank]
            by_rank[rank].append((sum(own), len(own)))
        if len(sized) == len(known) > 1:
            whole.append(([rank for rank, _ in sized], [-length for _, length in sized]))
    return {
        "by_rank": [
            {"rank": rank, "responses": int(sum(count for _, count in by_rank[rank])), **ratio(by_rank[rank])}
            for rank in sorted(by_rank)
        ],
        "tau": mean([kendall_tau(ranks, shortness) for ranks, shortness in whole]),
        "best_is_longest": mean([top1_agrees(ranks, shortness) for ranks, shortness in whole]),
        "by_chance": mean([_chance(ranks, shortness) for ranks, shortness in whole])["value"],
    }


def _chance(ranks: Sequence[int], shortness: Sequence[int]) -> float:
    """What `top1_agrees` would be on average if the lengths were dealt to the ranks at random."""
    size, best, longest = len(ranks), ranks.count(min(ranks)), shortness.count(min(shortness))
    return sum(
        comb(best, both) * comb(size - best, longest - both) / comb(size, longest) * both / (best + longest - both)
        for both in range(1, min(best, longest) + 1)
    )


def _ranks(row: Ranking) -> list[int]:
    return [response.rank for response in row.responses if response.rank is not None]
