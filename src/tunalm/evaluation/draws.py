"""Several samples to each instruction: how they are asked for, and pass@1, pass@k and likeliest@k of them."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import groupby

from tunalm.engines.base import Request
from tunalm.errors import DataError
from tunalm.evaluation.base import Curve, Measure
from tunalm.measures.best_of import chosen_of_k, pass_at_k
from tunalm.measures.equation3 import likelihood_score
from tunalm.recipe import BenchmarkSettings
from tunalm.records import Instruction, Prediction, Verdict
from tunalm.store import digest


def draws(settings: BenchmarkSettings, asked: Request, seed: int) -> list[Request]:
    """Requests for `settings.samples` responses where one greedy answer is asked for.

    Each has a seed of its own, from that of the evaluation and the key of the greedy request.
    """
    return [
        asked.model_copy(
            update={
                "key": f"{asked.key}/{number}",
                "temperature": settings.temperature,
                "seed": int(digest([seed, asked.key, number])[:16], 16) >> 1,
                "logprobs": settings.logprobs,
            }
        )
        for number in range(settings.samples)
    ]


def scoring(row: Instruction, answer: Prediction) -> Request:
    """Ask how likely an answer to a row is."""
    return Request.to_score(row.messages(), answer.prediction, ended=answer.finish_reason != "length")


def by_row(answers: Sequence[Prediction]) -> Iterator[list[Prediction]]:
    """Answers of one model about one row together, in their order."""
    for _, own in groupby(answers, key=lambda answer: (answer.model, answer.id)):
        yield list(own)


def verdict(name: str, metric: str, answers: Sequence[Prediction], score: float | None) -> Verdict:
    """What some answers of one model to one row add to a measure; without a score their failure says why.

    Where no value is the worst (`PLAIN_METRICS`) the caller marks a row without a score as `unjudged`.
    """
    first = answers[0]
    failures = [answer.failure for answer in answers if answer.failure is not None]
    return Verdict(
        id=first.id,
        benchmark=name,
        model=first.model,
        metric=metric,
        score=score,
        weight=first.weight,
        task=first.task,
        failure=failures[0] if score is None and failures else None,
    )


def length_normalised(answer: Prediction, length_penalty: float) -> float:
    """How likely a model finds a response, its length taken out (v); a response that failed, or has no token, is the
    least likely of all."""
    if answer.failure is not None or answer.logprob is None or not answer.num_tokens:
        return -math.inf
    return likelihood_score(min(0.0, answer.logprob), answer.num_tokens, length_penalty=length_penalty)


def sample_measures(
    settings: BenchmarkSettings, score: Callable[[Prediction], float], samples: Sequence[Prediction]
) -> list[Measure]:
    """pass@1, pass@k and likeliest@k of all models. A sample that failed is wrong.

    Args:
        settings: of the benchmark.
        score: 1 for a right answer and 0 for a wrong one.
        samples: `settings.samples` to each row, model by model.

    Raises:
        DataError: a score is neither 0 nor 1.
    """
    rows = [(own, [_right(answer, score) for answer in own]) for own in by_row(samples)]
    most = settings.k or settings.samples

    def measure(metric: str, value: Callable[[list[Prediction], list[float], int], float], k: int) -> Measure:
        name = f"{settings.label}: {metric}@{k}"
        verdicts = [
            verdict(name, f"{metric}@{k}", own, None if all(each.failure for each in own) else value(own, scores, k))
            for own, scores in rows
        ]
        models = dict.fromkeys(own[0].model for own, _ in rows)
        curves = {model: _curve([row for row in rows if row[0][0].model == model], value, most) for model in models}
        return Measure(name, f"{metric}@{k}", samples, verdicts, curves if k == most > 1 else {})

    def likeliest(own: list[Prediction], scores: list[float], k: int) -> float:
        return chosen_of_k(scores, [length_normalised(answer, settings.length_penalty) for answer in own], k)

    passed = partial(measure, "pass", lambda own, scores, k: pass_at_k(scores, k))
    measures = [passed(k) for k in dict.fromkeys((1, most))]
    return [*measures, measure("likeliest", likeliest, most)] if settings.logprobs and most > 1 else measures


def _right(answer: Prediction, score: Callable[[Prediction], float]) -> float:
    found = 0.0 if answer.failure is not None else score(answer)
    if found not in (0.0, 1.0):
        where = f"benchmark {answer.benchmark}, row '{answer.id}'"
        raise DataError(where, found=f"a score of {found:g}", expected="1 or 0 with samples", fix="Set samples: 0.")
    return found


def _curve(
    rows: Sequence[tuple[list[Prediction], list[float]]],
    value: Callable[[list[Prediction], list[float], int], float],
    most: int,
) -> Curve:
    """A measure for k = 1, 2, 4 ... and the largest."""
    sizes = sorted({*(1 << power for power in range(most.bit_length()) if 1 << power < most), most})
    weights = [1.0 if own[0].weight is None else own[0].weight for own, _ in rows]
    points = {
        str(k): [
            (100 * weight * value(own, scores, k), 1.0) for weight, (own, scores) in zip(weights, rows, strict=True)
        ]
        for k in sizes
    }
    return Curve("samples (k)", points)
