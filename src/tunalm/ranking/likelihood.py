"""Probabilistic ranking: a response is as good as its teacher found it likely (section 2.2 of the paper, Eq. 3).

The log-probabilities are those that were kept when the responses were sampled or, where the stage has an engine, those
that this engine gives the responses now. They are kept too, so that another length penalty asks for nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tunalm.calls.context import StageContext
from tunalm.errors import DataError
from tunalm.ranking.base import is_usable, with_some_scores
from tunalm.ranking.equation3 import LengthUnit, Likelihood, Likelihoods
from tunalm.ranking.rescoring import Rescorer
from tunalm.recipe import Rank
from tunalm.records import Ranking


class LikelihoodRanker:
    """Ranks by Eq. 3."""

    def __init__(self, settings: Rank, context: StageContext) -> None:
        self._settings = settings
        self._rescorer: Rescorer | None = None
        self.name = f"likelihood beta={settings.length_penalty:g} length={settings.length_unit}"
        if settings.engine is not None:
            self._rescorer = Rescorer(settings.engine, context, with_references=settings.rank_reference)
            self.name += f" scored by {getattr(settings.engine, 'model', settings.engine.kind)}"

    def rank(self, rows: Sequence[Ranking]) -> list[Ranking]:
        """Score every usable response; a text that was drawn twice has one score."""
        if self._rescorer is None:
            found = [Likelihoods(row, stored_likelihoods(row, self._settings.responses)) for row in rows]
        else:
            found = self._rescorer.likelihoods(rows)
        return [self._ranked(each) for each in found]

    def figures(self) -> dict[str, Any]:
        """What was scored anew, if anything was."""
        return {} if self._rescorer is None else self._rescorer.figures()

    def _ranked(self, found: Likelihoods) -> Ranking:
        scores = list_scores(found, self._settings.length_penalty, self._settings.length_unit, self._settings.responses)
        return with_some_scores(found.row, scores, found.missing, self.name, found.judgement)


def list_scores(found: Likelihoods, length_penalty: float, unit: LengthUnit, where: str) -> list[float | None]:
    """Eq. 3 for the responses of a list, None where nothing is known of one; a text drawn twice has one score.

    Args:
        found: what is known of them.
        length_penalty: beta.
        unit: of the length.
        where: the file that the list is from.

    Raises:
        DataError: a number is none that a model can have given.
    """
    known: dict[tuple[str, int], float] = {}  # two draws of one text differ in rounding, not in rank
    scores: list[float | None] = [None] * len(found.row.responses)
    for place, likelihood in found.known.items():
        text = found.row.responses[place].text
        try:
            score = likelihood.score(text, length_penalty, unit)
        except ValueError as error:
            raise DataError(
                _place(where, found.row, place),
                found=str(error),
                expected="numbers that a model can have given",
                fix="Sample this row again.",
            ) from error
        scores[place] = known.setdefault((text, likelihood.num_tokens), score)
    return scores


def stored_likelihoods(row: Ranking, where: str) -> dict[int, Likelihood]:
    """What was kept of the usable responses of a list when they were sampled, by their place.

    Args:
        row: the list.
        where: the file that it is from.

    Raises:
        DataError: nothing was kept of one of them.
    """
    known = {}
    for place, response in enumerate(row.responses):
        if not is_usable(response):
            continue
        if response.logprob is None or response.num_tokens is None:
            raise DataError(
                _place(where, row, place),
                found="no log-probability",
                expected="logprob and num_tokens, which by: likelihood reads",
                fix="Sample with logprobs: true, give an engine that scores the responses, or rank with by: judge.",
            )
        known[place] = Likelihood(response.logprob, response.num_tokens)
    return known


def _place(where: str, row: Ranking, place: int) -> str:
    return f"{where}: row '{row.id}', response {place}"
