"""Which models a ranking prefers, and whether a judge prefers its own."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import numpy as np

from tunalm.auditing.estimates import of_sums, ratio
from tunalm.auditing.matching import Matched
from tunalm.records import Ranking

_JUDGE = re.compile(r"judge (\S+?),?(?:\s|$)")
_FAMILY = re.compile(r"[a-z]+")

Contest = tuple[str, float]
"""Model and rank of a response."""


def models(rows: Sequence[Ranking]) -> list[dict[str, Any]]:
    """How the responses of every model fare against those of others in the same lists.

    Returns:
        For each model, the best one first, `responses` and `wins`: the share of pairs with a response of another model
        that it wins, ties as a half. Nothing where there is one model only.
    """
    counts: defaultdict[str, int] = defaultdict(int)
    won: defaultdict[str, list[tuple[float, float]]] = defaultdict(list)
    for row in rows:
        contests = _contests(row)
        for name in {name for name, _ in contests}:
            counts[name] += sum(each == name for each, _ in contests)
            won[name].append(_wins(contests, {name}))
    if len(counts) < 2:
        return []
    found = [{"model": name, "responses": counts[name], "wins": ratio(won[name])} for name in counts]
    return sorted(found, key=lambda each: -(each["wins"]["value"] or 0))


def self_preference(
    rows: Sequence[Ranking], matched: Sequence[Matched] = (), own: Sequence[str] = ()
) -> dict[str, Any] | None:
    """How the judge's own responses fare against those of other models.

    A judge's own are the responses of its family: of models whose names, without the owner, begin with the same word.

    Args:
        rows: lists, with the models of the responses.
        matched: the same lists with the order of somebody else, for whom the judge's responses are not his own.
        own: models that count as the judge's own, instead of its family.

    Returns:
        own: those models. wins: the share of pairs with a response of another model that they win, ties as a half.
        wins_elsewhere: the same by the other file, and difference: how much more the judge gives them, which is what a
        preference for oneself would be; both None without `matched`. The whole is None if no list holds responses of
        the judge's own and of others.
    """
    found = [(_own(row, own), row) for row in rows]
    shares = [_wins(_contests(row), mine) for mine, row in found]
    if not any(pairs for _, pairs in shares):
        return None
    tables = np.array([_both(each, _own(each.row, own)) for each in matched]).reshape(-1, 3)
    return {
        "own": sorted({each.model for mine, row in found for each in row.responses if each.model in mine}),
        "wins": ratio(shares),
        "wins_elsewhere": of_sums(tables, lambda sums: sums[:, 1] / sums[:, 2]) if matched else None,
        "difference": of_sums(tables, lambda sums: (sums[:, 0] - sums[:, 1]) / sums[:, 2]) if matched else None,
    }


def _contests(row: Ranking) -> list[Contest]:
    return [(each.model, each.rank) for each in row.responses if each.rank is not None]


def _own(row: Ranking, own: Sequence[str]) -> set[str]:
    """The models of a list that are its judge's own."""
    there = {response.model for response in row.responses}
    judge = _JUDGE.match(row.ranked_by or "")
    family = judge and _family(judge[1])
    return there & set(own) if own else {name for name in there if family and _family(name) == family}


def _family(model: str) -> str | None:
    word = _FAMILY.search(model.lower().rpartition("/")[2])
    return word and word[0]


def _wins(contests: Sequence[Contest], mine: set[str]) -> tuple[float, float]:
    """Pairs won, a tie as a half, and pairs, of the responses of some models against all others."""
    own = [rank for name, rank in contests if name in mine]
    rest = [rank for name, rank in contests if name not in mine]
    won = sum((rank < other) + (rank == other) / 2 for rank in own for other in rest)
    return won, len(own) * len(rest)


def _both(matched: Matched, mine: set[str]) -> tuple[float, float, float]:
    """Pairs that a judge's own responses win by the judge, by the other file, and pairs."""
    names = [matched.row.responses[place].model for place in matched.places]
    judged, pairs = _wins(list(zip(names, matched.ranks, strict=True)), mine)
    elsewhere, _ = _wins(list(zip(names, matched.others, strict=True)), mine)
    return judged, elsewhere, pairs
