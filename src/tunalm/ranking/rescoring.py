"""The log-probabilities that a teacher gives responses which others wrote, and the reference if asked.

What it says is in the run's ledger: a kill loses at most the few responses that were under way, and ranking again with
another length penalty asks for nothing.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from typing import Any

from tunalm.calls.context import StageContext
from tunalm.engines.base import Completion, Request
from tunalm.ranking.base import is_usable
from tunalm.ranking.equation3 import Likelihood, Likelihoods
from tunalm.recipe import EngineSettings
from tunalm.records import Ranking, Response

REFERENCE = "reference"
"""`Response.model` of a reference that is ranked."""
REASONS_SHOWN = 5


class Rescorer:
    """Has an engine score the responses of lists.

    Args:
        settings: of the engine.
        context: of the stage.
        with_references: score the reference of each list too, as one more candidate.
    """

    def __init__(self, settings: EngineSettings, context: StageContext, *, with_references: bool) -> None:
        self._calls, self._with_references = context.calls, with_references
        self._engine = self._calls.open(settings)
        self._scored = self._references = 0
        self._reasons: Counter[str] = Counter()

    def likelihoods(self, rows: Sequence[Ranking]) -> list[Likelihoods]:
        """Score every usable response.

        Raises:
            EngineError: the engine scores no given responses.
        """
        lists = [with_reference(row) for row in rows] if self._with_references else rows
        requests = [score_requests(row) for row in lists]
        different = {request.key: request for own in requests for request in own.values()}
        answers = self._calls.complete(self._engine, [*different.values()], "scoring")
        return [
            self._read(row, {place: answers[request.key] for place, request in own.items()}, len(before.responses))
            for before, row, own in zip(rows, lists, requests, strict=True)
        ]

    def figures(self) -> dict[str, Any]:
        """Who scored how many responses, and why others have no score."""
        figures: dict[str, Any] = {"scored_by": self._engine.identity, "responses_scored": self._scored}
        if self._with_references:
            figures["references_scored"] = self._references
        if self._reasons:
            figures["responses_not_scored"] = self._reasons.total()
            figures["reasons_not_scored"] = dict(self._reasons.most_common(REASONS_SHOWN))
        return figures

    def _read(self, row: Ranking, answers: dict[int, Completion], reference_place: int) -> Likelihoods:
        known: dict[int, Likelihood] = {}
        missing: dict[int, str] = {}
        for place, answer in answers.items():
            found = _likelihood(answer)
            if isinstance(found, Likelihood):
                known[place] = found
            else:
                missing[place] = found
        self._scored += len(known)
        self._references += reference_place in known
        self._reasons.update(missing.values())
        places = range(len(row.responses))
        judgement: dict[str, Any] = {
            "scored_by": self._engine.identity,
            "logprobs": [known[place].logprob if place in known else None for place in places],
            "num_tokens": [known[place].num_tokens if place in known else None for place in places],
        }
        if self._with_references:
            judgement["reference_place"] = reference_place if reference_place in places else None
        return Likelihoods(row, known, missing, judgement)


def with_reference(row: Ranking) -> Ranking:
    """A list with its reference as the last candidate, if it has one."""
    if row.reference is None or not row.reference.strip():
        return row
    candidate = Response(text=row.reference, model=REFERENCE)
    return row.model_copy(update={"responses": [*row.responses, candidate]})


def kept_likelihoods(row: Ranking) -> dict[int, Likelihood] | None:
    """What an earlier ranking put down of a list, by place; None if it put down nothing."""
    said = row.judgement or {}
    if "scored_by" not in said:
        return None
    kept = zip(said["logprobs"], said["num_tokens"], strict=True)
    return {
        place: Likelihood(logprob, num_tokens)
        for place, (logprob, num_tokens) in enumerate(kept)
        if logprob is not None and num_tokens is not None
    }


def score_requests(row: Ranking) -> dict[int, Request]:
    """What an engine is asked about the usable responses of a list, by their place; equal texts share a key."""
    messages = row.messages()
    return {
        place: Request.to_score(messages, response.text, ended=response.finish_reason != "length")
        for place, response in enumerate(row.responses)
        if is_usable(response)
    }


def _likelihood(answer: Completion) -> Likelihood | str:
    """What a completion says, or why it says nothing."""
    if answer.failure is not None or answer.logprob is None or not answer.num_tokens:
        return answer.failure or "the engine gave no log-probabilities"
    if not math.isfinite(answer.logprob):
        return "log-probabilities that are not finite"
    return Likelihood(min(0.0, answer.logprob), answer.num_tokens)
