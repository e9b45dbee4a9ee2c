"""What an evaluation asks: models for answers, and judges for comparisons of these answers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tunalm.engines.base import Request
from tunalm.evaluation.base import open_benchmark
from tunalm.evaluation.pairwise.comparisons import JudgeRules, Pair, requests
from tunalm.evaluation.runner import request_for
from tunalm.recipe import Benchmark, Evaluate
from tunalm.records import Instruction, Prediction


@dataclass(frozen=True)
class Question:
    """An instruction of a benchmark, and what every model is asked about it."""

    benchmark: str
    row: Instruction
    request: Request


def questions(settings: Evaluate) -> list[Question]:
    """All questions of an evaluation, as they are asked."""
    opened = {each.label: open_benchmark(each) for each in settings.benchmarks}
    engine = next(iter(settings.models.values()))  # the others' requests differ by a template at most
    return [
        Question(name, row, request_for(name, row, settings, engine))
        for name, each in opened.items()
        for row in each.rows()
    ]


def comparisons(
    settings: Benchmark, asked: Sequence[Question], answers: Mapping[str, Mapping[str, str]]
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
    return [request for pair in pairs for request in requests(pair, rules)]


def _prediction(question: Question, model: str, text: str) -> Prediction:
    return Prediction(id=question.row.id, benchmark=question.benchmark, model=model, prediction=text)
