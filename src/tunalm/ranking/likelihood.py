"""Probabilistic ranking: a response is as good as its teacher found it likely (section 2.2 of the paper, Eq. 3).

The log-probabilities are those that were kept when the responses were sampled or, where the stage has an engine, those
that this engine gives the responses now. The ledger keeps them, and so does each list in its `judgement`: ranking again
with another length penalty asks for nothing.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from tunalm.calls.context import Calls
from tunalm.engines.base import Completion, Engine, Request
from tunalm.errors import DataError
from tunalm.measures.equation3 import LengthUnit, Likelihood
from tunalm.ranking.base import REASONS_SHOWN, with_some_scores
from tunalm.recipe import Rank
from tunalm.records import Ranking, Response

REFERENCE = "reference"
"""`Response.model` of a reference that is ranked."""


class LikelihoodRanker:
    """Ranks by Eq. 3."""

    def __init__(self, settings: Rank, calls: Calls) -> None:
        self._settings, self._calls = settings, calls
        self._engine: Engine | None = None
        self._scored = 0
        self._reasons: Counter[str] = Counter()
        self.name = f"likelihood beta={settings.length_penalty:g} length={settings.length_unit}"
        if settings.engine is not None:
            self._engine = calls.open(settings.engine)
            self.name += f" scored by {getattr(settings.engine, 'model', settings.engine.kind)}"

    def rank(self, rows: Sequence[Ranking]) -> list[Ranking]:
        """Score every usable response; a text that was drawn twice has one score.

        Raises:
            DataError: nothing was kept of a response, and no engine is there to be asked.
            EngineError: the engine gives no log-probabilities of given texts.
        """
        if self._engine is None:
            return [self._ranked(row, stored_likelihoods(row, self._settings.responses)) for row in rows]
        lists = [with_reference(row) for row in rows] if self._settings.rank_reference else rows
        asked = [score_requests(row) for row in lists]
        different = {request.key: request for own in asked for request in own.values()}
        answers = self._calls.complete(self._engine, [*different.values()], "scoring")
        return [
            self._read(row, {place: answers[request.key] for place, request in own.items()})
            for row, own in zip(lists, asked, strict=True)
        ]

    def figures(self) -> dict[str, Any]:
        """Who scored how many responses anew, and why others have no score."""
        if self._engine is None:
            return {}
        figures: dict[str, Any] = {"scored_by": self._engine.identity, "responses_scored": self._scored}
        if self._reasons:
            figures["responses_not_scored"] = self._reasons.total()
            figures["reasons_not_scored"] = dict(self._reasons.most_common(REASONS_SHOWN))
        return figures

    def _ranked(
        self,
        row: Ranking,
        known: Mapping[int, Likelihood],
        missing: Mapping[int, str] | None = None,
        judgement: dict[str, Any] | None = None,
    ) -> Ranking:
        settings = self._settings
        scores = list_scores(row, known, settings.length_penalty, settings.length_unit, settings.responses)
        return with_some_scores(row, scores, missing or {}, self.name, judgement)

    def _read(self, row: Ranking, answers: dict[int, Completion]) -> Ranking:
        """Rank a list by what the engine said of its responses, by their place."""
        assert self._engine is not None
        read = {place: _likelihood(answer) for place, answer in answers.items()}
        known = {place: found for place, found in read.items() if isinstance(found, Likelihood)}
        missing = {place: found for place, found in read.items() if isinstance(found, str)}
        self._scored += len(known)
        self._reasons.update(missing.values())
        places = range(len(row.responses))
        judgement: dict[str, Any] = {
            "scored_by": self._engine.identity,
            "logprobs": [known[place].logprob if place in known else None for place in places],
            "num_tokens": [known[place].num_tokens if place in known else None for place in places],
        }
        if self._settings.rank_reference:
            last = len(row.responses) - 1
            judgement["reference_place"] = last if row.responses[last].model == REFERENCE else None
        return self._ranked(row, known, missing, judgement)


def score_requests(row: Ranking) -> dict[int, Request]:
    """What an engine is asked about the usable responses of a list, by their place; equal texts share a key."""
    messages = row.messages()
    return {
        place: Request.to_score(messages, response.text, ended=response.finish_reason != "length")
        for place, response in enumerate(row.responses)
        if response.is_usable
    }


def with_reference(row: Ranking) -> Ranking:
    """A list with its reference as the last candidate, if it has one."""
    if row.reference is None or not row.reference.strip():
        return row
    candidate = Response(text=row.reference, model=REFERENCE)
    return row.model_copy(update={"responses": [*row.responses, candidate]})


def list_scores(
    row: Ranking, known: Mapping[int, Likelihood], length_penalty: float, unit: LengthUnit, where: str
) -> list[float | None]:
    """Eq. 3 for the responses of a list, None where nothing is known of one; a text drawn twice has one score.

    Args:
        row: the list.
        known: what is known of its responses, by their place.
        length_penalty: beta.
        unit: of the length.
        where: the file that the list is from.

    Raises:
        DataError: no model can have given a number that stands there.
    """
    first: dict[tuple[str, int], float] = {}  # two draws of one text differ in rounding, not in rank
    scores: list[float | None] = [None] * len(row.responses)
    for place, likelihood in known.items():
        text = row.responses[place].text
        try:
            score = likelihood.score(text, length_penalty, unit)
        except ValueError as error:
            fix = "No model gives such a number. Sample this row again."
            raise DataError(_place(where, row, place), found=str(error), fix=fix) from error
        scores[place] = first.setdefault((text, likelihood.num_tokens), score)
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
        if not response.is_usable:
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


def kept_likelihoods(row: Ranking) -> dict[int, Likelihood] | None:
    """What an engine said when the list was ranked before, by place; None if none was asked."""
    said = row.judgement or {}
    if "scored_by" not in said:
        return None
    kept = zip(said["logprobs"], said["num_tokens"], strict=True)
    return {
        place: Likelihood(logprob, num_tokens)
        for place, (logprob, num_tokens) in enumerate(kept)
        if logprob is not None and num_tokens is not None
    }


def _likelihood(answer: Completion) -> Likelihood | str:
    """What a completion says, or why it says nothing."""
    if answer.failure is not None or answer.logprob is None or not answer.num_tokens:
        return answer.failure or "the engine gave no log-probabilities"
    if not math.isfinite(answer.logprob):
        return "log-probabilities that are not finite"
    return Likelihood(min(0.0, answer.logprob), answer.num_tokens)


def _place(where: str, row: Ranking, place: int) -> str:
    return f"{where}: row '{row.id}', response {place}"
