"""What every ranker looks like, and what all of them share: who can be ranked, and ranks from scores.

A ranker puts the responses of each list in order. To add one, write a class with the two members of `Ranker` and give
it a row in `RANKERS`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from importlib import import_module
from typing import Any, Protocol, cast

from tunalm.recipe import Rank
from tunalm.records import Ranking, Response
from tunalm.store import StageContext

RANKERS = {
    "likelihood": "tunalm.ranking.likelihood:LikelihoodRanker",
    "judge": "tunalm.ranking.judge:JudgeRanker",
    "verifier": "tunalm.ranking.verifier:VerifierRanker",
}
"""`by` in a recipe -> module:class; the module is imported when the stage runs, not before."""


class Ranker(Protocol):
    """Puts the responses of each list in order, best first, ties allowed."""

    @property
    def name(self) -> str:
        """What `Ranking.ranked_by` says."""

    def rank(self, rows: Sequence[Ranking]) -> list[Ranking]:
        """Fill in rank and score of every usable response; the lists, and the responses in them, keep their order.

        Every row has at least two usable responses and carries nothing of an earlier ranking. A list that cannot be
        ranked comes back with `failure` and without ranks.

        Raises:
            DataError: the rows lack what this way of ranking needs; the first such row is named.
        """


def open_ranker(settings: Rank, context: StageContext) -> Ranker:
    """Make the ranker that `settings` describe."""
    module, name = RANKERS[settings.by].split(":")
    make = cast(Callable[[Rank, StageContext], Ranker], getattr(import_module(module), name))
    return make(settings, context)


def is_usable(response: Response) -> bool:
    """Whether a response can be ranked at all: a failed or empty one cannot."""
    return response.failure is None and bool(response.text.strip())


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
    ranks = assign_ranks(scores)
    responses = [
        response.model_copy(update={"score": score, "rank": rank})
        for response, score, rank in zip(row.responses, scores, ranks, strict=True)
    ]
    return row.model_copy(update={"responses": responses, "ranked_by": ranked_by, "judgement": judgement})


def unranked(row: Ranking, reason: str | None = None) -> Ranking:
    """A copy of `row` without anything that a ranker wrote, and with the reason why it is not ranked."""
    cleared = {"score": None, "rank": None}
    responses = [response.model_copy(update=cleared) for response in row.responses]
    update = {"responses": responses, "ranked_by": None, "judgement": None, "failure": reason}
    return row.model_copy(update=update)
