"""What an evaluation asks: models for answers, and judges for comparisons of these answers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from tunalm.engines.base import Request
from tunalm.evaluation import open_benchmarks, requests
from tunalm.evaluation.pairwise import comparisons as comparing
from tunalm.evaluation.pairwise.comparisons import JudgeRules, Pair
from tunalm.evaluation.runner import ModelRequest
from tunalm.recipe import BenchmarkSettings, Evaluate
from tunalm.records import Prediction


def questions(settings: Evaluate) -> list[ModelRequest]:
    """All questions of an evaluation, as they are asked."""
    engine = next(iter(settings.models.values()))  # the others' requests differ by a template at most
    return requests(settings, open_benchmarks(settings), engine)


def comparisons(
    settings: BenchmarkSettings, asked: Sequence[ModelRequest], answers: Mapping[str, Mapping[str, str]]
) -> list[Request]:
    """What the judge of a benchmark is asked.

    Args:
        settings: of a benchmark with a judge.
        asked: all questions of the evaluation.
        answers: text by key of the question's request, for every model. Answers of a model in a file are taken to be
            like those of the first one.
    """
    first = next(iter(answers))
    other = settings.against or first
    rules = JudgeRules(settings.mode, settings.max_review_tokens)
    pairs = [
        Pair(
            question.row,
            _prediction(question, model, own[question.request.key]),
            _prediction(question, other, answers.get(other, answers[first])[question.request.key] + " "),
        )
        for model, own in answers.items()
        if model != other
        for question in asked
        if question.benchmark == settings.label
    ]
    return [request for pair in pairs for request in comparing.requests(pair, rules)]


def _prediction(question: ModelRequest, model: str, text: str) -> Prediction:
    return Prediction(id=question.row.id, benchmark=question.benchmark, model=model, prediction=text)
