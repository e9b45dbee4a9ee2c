"""What every ranker looks like, and what all of them share: who can be ranked, and ranks from scores.

A ranker puts the responses of each list in order. To add one, write a class that is made from the stage's settings and
its `Calls` and has the members of `Ranker`, and give it a row in `tunalm.recipe.RANKERS`. One of the user's own needs
no row: a recipe names it as `by: FILE.py:NAME` or `by: package.module:NAME`, and it may be a plain function, too.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from tunalm.records import Ranking

REASONS_SHOWN = 5
"""The commonest reasons for failures, in the figures of a ranking."""


class Ranker(Protocol):
    """Puts the responses of each list in order, best first, ties allowed."""

    @property
    def name(self) -> str:
        """What `Ranking.ranked_by` says."""

    def rank(self, rows: Sequence[Ranking]) -> list[Ranking]:
        """Fill in rank and score of every usable response; the lists, and the responses in them, keep their order.

        Every row has at least two usable responses and carries nothing of an earlier ranking. A list that cannot be
        ranked comes back with `failure` and without ranks. A ranker that knows how sure it is of a list, as a
        probability that the response ranked first is the best, says so in `judgement["confidence"]`.

        Raises:
            DataError: the rows lack what this way of ranking needs; the first such row is named.
        """

    def figures(self) -> dict[str, Any]:
        """What the ranker says of its work so far, for the record of the stage and the report; plain JSON values."""


def assign_ranks(scores: Sequence[float | None]) -> list[int | None]:
    """Dense ranks by descending score.

    Args:
        scores: one per response; None is not ranked.

    Returns:
        0 for the best score, equal numbers for equal scores, no number left out, None where the score is None.

    Raises:
        ValueError: a score is not a number.
    """
    if any(score is not None and math.isnan(score) for score in scores):
        raise ValueError("a score is not a number")
    ordered = sorted({score for score in scores if score is not None}, reverse=True)
    place = {score: rank for rank, score in enumerate(ordered)}
    return [None if score is None else place[score] for score in scores]


def with_scores(
    row: Ranking, scores: Sequence[float | None], ranked_by: str, judgement: dict[str, Any] | None = None
) -> Ranking:
    """A copy of `row` with these scores, one per response, and the ranks that follow from them."""
    return with_ranks(row, assign_ranks(scores), scores).model_copy(
        update={"ranked_by": ranked_by, "judgement": judgement}
    )


def with_ranks(row: Ranking, ranks: Sequence[int | None], scores: Sequence[float | None]) -> Ranking:
    """A copy of `row` with these ranks and scores, one of each per response."""
    responses = [
        response.model_copy(update={"rank": rank, "score": score})
        for response, rank, score in zip(row.responses, ranks, scores, strict=True)
    ]
    return row.model_copy(update={"responses": responses})


def with_some_scores(
    row: Ranking,
    scores: Sequence[float | None],
    reasons: Mapping[int, str],
    ranked_by: str,
    judgement: Mapping[str, Any] | None = None,
) -> Ranking:
    """As `with_scores`, where some responses have no score for a reason.

    Args:
        row: the list.
        scores: one per response.
        reasons: why a response has none, by its place; kept as `judgement["not_scored"]`.
        ranked_by: name of the ranker.
        judgement: what it says beside the scores.

    Returns:
        The ranked list; one with a failure if fewer than two responses have a score.
    """
    if reasons and sum(score is not None for score in scores) < 2:
        return unranked(row, f"fewer than two responses have a score: {next(iter(reasons.values()))}")
    said = dict(judgement or {})
    if reasons:
        said["not_scored"] = {str(place): reason for place, reason in reasons.items()}
    return with_scores(row, scores, ranked_by, said or None)


def unranked(row: Ranking, reason: str | None = None) -> Ranking:
    """A copy of `row` without anything that a ranker wrote, and with the reason why it is not ranked."""
    nothing = [None] * len(row.responses)
    update = {"ranked_by": None, "judgement": None, "failure": reason}
    return with_ranks(row, nothing, nothing).model_copy(update=update)
