"""What the place in the prompt does to a judge: from the order or orders in which it was shown each list."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

from tunalm.auditing.estimates import Estimate, mean, ratio
from tunalm.errors import DataError
from tunalm.measures.ranks import kendall_w
from tunalm.records import Ranking


@dataclass(frozen=True)
class Showing:
    """One judgement of a list."""

    shown: tuple[int, ...]
    """Positions in `row.responses`, in the order of the prompt."""
    scores: Mapping[int, float]
    """By position; higher is better."""

    @property
    def places(self) -> list[int]:
        """Positions that were shown and have a score, in the order of the prompt."""
        return [place for place in self.shown if place in self.scores]


def showings(row: Ranking) -> list[Showing]:
    """The judgements of a list that its `judgement` tells of; none for a ranker that shows nothing to anybody.

    `judgement["orders"]` is a list of {shown: [position, ...]} with `scores` {position: total}, or with `marks`, one
    total or mapping of marks per response; an order whose reply failed has neither. `judgement["shown"]` alone is one
    order, whose scores are those of the responses.

    Raises:
        DataError: the judgement has another form; the list is named.
    """
    said = row.judgement or {}
    try:
        if "orders" in said:
            found = [Showing(tuple(each["shown"]), _scores(each)) for each in said["orders"]]
        elif "shown" in said:
            scores = {place: each.score for place, each in enumerate(row.responses) if each.score is not None}
            found = [Showing(tuple(said["shown"]), scores)]
        else:
            return []
        if any(place not in range(len(row.responses)) for each in found for place in each.shown):
            raise ValueError("a position that is not in the list")
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise DataError(
            f"list {row.id}",
            found=f"a judgement that cannot be read ({error!r})",
            expected="orders: [{shown: [position, ...], scores: {position: total}}]",
            fix="Rank the list again, or remove its judgement.",
        ) from error
    return [each for each in found if len(each.places) > 1]


def _scores(order: Mapping[str, Any]) -> dict[int, float]:
    if "scores" in order:
        return {int(place): float(score) for place, score in order["scores"].items()}
    marks = order.get("marks", [])
    return {place: _total(given) for place, given in enumerate(marks) if given is not None}


def _total(marks: Any) -> float:
    return float(sum(marks.values()) if isinstance(marks, Mapping) else marks)


def positions(rows: Sequence[Ranking]) -> dict[str, Any] | None:
    """Figures of a judge's steadiness; None if no list tells in which order it was shown.

    Returns:
        lists: with at least one judgement. orders: judgements in all.
        earlier_wins: share of pairs that the response shown earlier wins, ties as a half: one half is no effect.
        score_by_place: mean score of what stood first, second, ... in the prompt.
        survival: share of lists that have the same order, ties included, in all of their judgements. For pairs this is
            the share of verdicts that survive the swap.
        same_verdicts, flipped: share of pairs whose verdict is the same in all judgements, and share of those that one
            judgement puts one way round and another the other way.
        concordance: Kendall's W of the judgements of a list.
            These four are of lists that were judged in at least two orders, and None where there is none.
    """
    judged = [found for row in rows if (found := showings(row))]
    if not judged:
        return None
    several = [_scores_of_all(found) for found in judged if len({each.shown for each in found}) > 1]
    repeated = [scores for scores in several if scores]
    pairs = [_verdicts(scores) for scores in repeated]
    return {
        "lists": len(judged),
        "orders": sum(map(len, judged)),
        "earlier_wins": ratio([_earlier(found) for found in judged]),
        "score_by_place": _by_place(judged),
        "lists_in_several_orders": len(repeated),
        "survival": mean([all(len(each) == 1 for each in verdicts) for verdicts in pairs]),
        "same_verdicts": ratio([(sum(len(each) == 1 for each in verdicts), len(verdicts)) for verdicts in pairs]),
        "flipped": ratio([(sum({1, -1} <= each for each in verdicts), len(verdicts)) for verdicts in pairs]),
        "concordance": mean([kendall_w(scores) for scores in repeated]),
    }


def _scores_of_all(found: Sequence[Showing]) -> list[list[float]]:
    """Scores of the responses that every judgement scores, [judgements, responses]; none for fewer than two."""
    common = sorted(set.intersection(*(set(each.places) for each in found)))
    return [[each.scores[place] for place in common] for each in found] if len(common) > 1 else []


def _verdicts(scores: Sequence[Sequence[float]]) -> list[set[int]]:
    """The verdicts that there are on each pair of responses."""
    return [
        {_verdict(*both) for both in zip(one, other, strict=True)}
        for one, other in combinations(zip(*scores, strict=True), 2)
    ]


def _verdict(one: float, other: float) -> int:
    return (one > other) - (one < other)


def _earlier(found: Sequence[Showing]) -> tuple[float, float]:
    verdicts = [
        _verdict(each.scores[one], each.scores[other]) for each in found for one, other in combinations(each.places, 2)
    ]
    return sum(verdict + 1 for verdict in verdicts) / 2, len(verdicts)


def _by_place(judged: Sequence[Sequence[Showing]]) -> list[Estimate]:
    sums: defaultdict[int, list[tuple[float, float]]] = defaultdict(list)
    for found in judged:
        scored: defaultdict[int, list[float]] = defaultdict(list)
        for each in found:
            for number, place in enumerate(each.shown):
                if place in each.scores:
                    scored[number].append(each.scores[place])
        for number, scores in scored.items():
            sums[number].append((sum(scores), len(scores)))
    return [{"place": number + 1, **ratio(sums[number])} for number in sorted(sums)]
