"""The ranker behind `by: judge`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tunalm.calls.context import Calls
from tunalm.engines.base import Completion
from tunalm.progress import console, tracked
from tunalm.ranking.judge.degenerate import find_degenerate
from tunalm.ranking.judge.health import health
from tunalm.ranking.judge.outcomes import Outcome, conclude, read_answer
from tunalm.ranking.judge.questions import inquiries, request_for
from tunalm.recipe import Rank
from tunalm.records import Ranking


class JudgeRanker:
    """Asks a language model about every list, at temperature 0."""

    def __init__(self, settings: Rank, calls: Calls) -> None:
        assert settings.engine is not None  # Rank has checked it
        self._settings, self._calls = settings, calls
        self._engine = calls.open(settings.engine)
        self.name = f"judge {getattr(settings.engine, 'model', settings.engine.kind)}"
        self._outcomes: list[Outcome] = []

    def rank(self, rows: Sequence[Ranking]) -> list[Ranking]:
        """Ask about every list and read the replies."""
        asked = inquiries(rows, self._settings, find_degenerate(rows))
        structured = self._engine.capabilities.json_schema
        questions = [question for inquiry in asked for question in inquiry.asked]
        requests = [request_for(question, self._settings, structured) for question in questions]
        asked_in = {request.key: question for request, question in zip(requests, questions, strict=True)}

        def unusable(answer: Completion) -> str | None:
            found = read_answer(asked_in[answer.key], answer, self._settings)
            return found if isinstance(found, str) else None

        answers = self._calls.complete(self._engine, requests, "judging", unusable=unusable)
        outcomes = []
        for inquiry in tracked(asked, "reading judgements"):
            outcomes.append(conclude(inquiry, answers, self._settings, self.name))
        self._outcomes += outcomes
        for alarm in health(outcomes, self._settings.protocol).alarms:
            console().print(f"      warning: {alarm}", markup=False, soft_wrap=True)
        return [outcome.row for outcome in outcomes]

    def figures(self) -> dict[str, Any]:
        """How the judge did, as `health.health` puts it."""
        return {"judge": health(self._outcomes, self._settings.protocol).model_dump(mode="json")}
