"""How far a model has moved from the one that it began as: KL(model || start), estimated on the model's own samples.

With r a sample of the model, log p(r) - log p_start(r) is an estimate without bias (k1 in Schulman, "Approximating KL
divergence", 2020). It may be negative for a sample, and for a mean that is close to 0. Both models score the text of
the sample, in the tokens that it is encoded in, which may be others than it was drawn in: a model is then at 0 from
itself. A sample that was cut at the token limit counts up to there: what is estimated is the divergence over the first
`max_new_tokens` tokens.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from statistics import fmean

from tunalm.calls.context import Calls
from tunalm.data import load
from tunalm.engines.base import Completion, Request
from tunalm.evaluation.base import Measure
from tunalm.evaluation.draws import by_row, draws, scoring, verdict
from tunalm.recipe import BenchmarkSettings
from tunalm.records import Instruction, Prediction, Verdict


class DriftBenchmark:
    """KL to the start per token, and per response, in nats.

    A row with a sample that failed, or that the start cannot score, is left out, and counted.
    """

    metric = "kl_per_token"
    scored_again = True

    def __init__(self, settings: BenchmarkSettings) -> None:
        self._settings = settings
        self._rows: dict[str, Instruction] = {}

    @property
    def note(self) -> str:
        """What it is the distance to."""
        start = getattr(self._settings.start, "model", None) or getattr(self._settings.start, "kind", "")
        return f"KL of the model to {start}, in nats, estimated on {self._settings.samples} of its own samples per row"

    def rows(self) -> list[Instruction]:
        """The instructions."""
        self._rows = self._rows or {row.id: row for row in load(self._settings.instructions)}
        return list(self._rows.values())

    def asked(self, row: Instruction, seed: int, max_new_tokens: int) -> list[Request]:
        """Samples at temperature 1, which are the model's own distribution."""
        key = f"{self._settings.label}/{row.id}"
        request = Request(key=key, messages=row.messages(), max_new_tokens=max_new_tokens)
        return draws(self._settings, request, seed)

    def measures(self, answers: Sequence[Prediction], calls: Calls) -> list[Measure]:
        """KL per token and per response."""
        assert self._settings.start is not None
        engine = calls.open(self._settings.start)
        self.rows()
        given = [None if answer.failure else scoring(self._rows[answer.id], answer) for answer in answers]
        different = {request.key: request for request in given if request is not None}
        scored = calls.complete(engine, [*different.values()], "the start scores")
        starts = [None if request is None else scored[request.key] for request in given]
        return _measures(self._settings.label, answers, starts)


def _measures(label: str, answers: Sequence[Prediction], starts: Sequence[Completion | None]) -> list[Measure]:
    changes = {id(answer): _change(answer, start) for answer, start in zip(answers, starts, strict=True)}
    reasons = {id(answer): start.failure for answer, start in zip(answers, starts, strict=True) if start is not None}
    tokens: defaultdict[str, list[int]] = defaultdict(list)
    by_token: list[Verdict] = []
    by_response: list[Verdict] = []
    for own in by_row(answers):
        found = [change for answer in own if (change := changes[id(answer)]) is not None]
        count = sum(answer.num_tokens or 0 for answer in own)
        whole = len(found) == len(own)
        response = verdict(f"{label}: kl_per_response", "kl_per_response", own, fmean(found) if whole else None)
        token = verdict(label, "kl_per_token", own, sum(found) / count if whole and count else None)
        token.weight = count
        if token.score is not None:
            tokens[own[0].model].append(count)
        reason = next((reasons[id(answer)] for answer in own if reasons.get(id(answer))), None)
        for each in (token, response):
            each.unjudged = each.score is None
            if each.unjudged:
                each.failure = each.failure or reason or "no log-probabilities"
        by_token.append(token)
        by_response.append(response)
    for each in by_token:
        each.weight = (each.weight or 0) / fmean(tokens[each.model]) if tokens[each.model] else None
    return [
        Measure(label, "kl_per_token", answers, by_token),
        Measure(f"{label}: kl_per_response", "kl_per_response", answers, by_response),
    ]


def _change(answer: Prediction, start: Completion | None) -> float | None:
    """log p(r) - log p_start(r) of a sample, in nats; None where one of them is not known."""
    if answer.logprob is None or start is None or start.failure is not None or start.logprob is None:
        return None
    return answer.logprob - start.logprob
