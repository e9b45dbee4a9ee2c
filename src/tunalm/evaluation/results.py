"""From verdicts to results.json: a mean with its interval per model and benchmark, and pairs of models compared.

An instruction that a model failed to answer (a server that is down, not a wrong answer) has no score. It enters every
mean as 0, the worst, and is counted in `failed`: a model never gains by failing, and n is the same for all models. An
answer that a judge could not be brought to compare is left out of the mean, and counted in `unjudged`.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from itertools import combinations
from statistics import fmean

from tunalm.measures.means import holm, known_mean, mean_interval, rounded, sign_flip_p_value, standard_error
from tunalm.progress import progress
from tunalm.recipe import Evaluate
from tunalm.records import (
    Difference,
    EvaluationKnobs,
    EvaluationResults,
    Interval,
    ModelResults,
    Prediction,
    Result,
    TaskMean,
    Verdict,
)

DIGITS = 4

Scored = Sequence[tuple[Prediction, Verdict]]
Answers = Mapping[tuple[str, str], Scored]
"""(model, benchmark) -> what became of the instructions."""
Points = Mapping[tuple[str, str], Mapping[str, float | None]]
"""(model, benchmark) -> what each instruction adds to the mean, by its id; None leaves it out."""


def summarise(answers: Answers, identities: Mapping[str, str], settings: Evaluate) -> EvaluationResults:
    """Make the content of results.json. Values, differences and their intervals are 0-100.

    Args:
        answers: of every model to every benchmark.
        identities: what each model was, by its name; the first is the baseline.
        settings: of the evaluation.
    """
    first, *_ = identities
    knobs = EvaluationKnobs(
        bootstrap_samples=settings.bootstrap_samples, seed=settings.seed, max_new_tokens=settings.max_new_tokens
    )
    metrics = {each.label: answers[first, each.label][0][1].metric for each in settings.benchmarks}
    models = {
        model: ModelResults(
            identity=identity, results={benchmark: _result(answers[model, benchmark], knobs) for benchmark in metrics}
        )
        for model, identity in identities.items()
    }
    points = {
        place: {verdict.id: counted(prediction, verdict) for prediction, verdict in scored}
        for place, scored in answers.items()
    }
    pairs = [
        (model, against)
        for against, model in combinations(identities, 2)
        if settings.comparisons == "all" or against == first
    ]
    comparisons = compare(points, pairs, metrics, knobs)
    return EvaluationResults(baseline=first, models=models, comparisons=comparisons, settings=knobs)


def counted(prediction: Prediction, verdict: Verdict) -> float | None:
    """What an answer adds to a mean, 0-100 on average.

    A failed answer adds nothing; one that was given and could not be judged is None, and left out.
    """
    if prediction.failure is None and verdict.failure is not None:
        return None
    return 100 * (verdict.score or 0.0) * (1.0 if verdict.weight is None else verdict.weight)


def compare(
    points: Points, pairs: Sequence[tuple[str, str]], metrics: Mapping[str, str], knobs: EvaluationKnobs
) -> list[Difference]:
    """Compare models on the instructions that both have; p-values are corrected for all comparisons together.

    Args:
        points: of all models on all benchmarks.
        pairs: a model, and the one that it is compared with.
        metrics: by benchmark.
        knobs: of the resampling.
    """
    found = []
    with progress("comparing", len(metrics) * len(pairs)) as advance:
        for benchmark, metric in metrics.items():
            for model, against in pairs:
                pair = Difference(benchmark=benchmark, model=model, against=against, metric=metric)
                found.append(_compared(pair, points, knobs))
                advance(1)
    for each, p_holm in zip(found, holm([each.p_value for each in found]), strict=True):
        each.p_holm = round(p_holm, 6)
    return found


def _compared(pair: Difference, points: Points, knobs: EvaluationKnobs) -> Difference:
    new, old = points[pair.model, pair.benchmark], points[pair.against, pair.benchmark]
    both = [(value, old.get(row)) for row, value in new.items()]
    differences = [value - other for value, other in both if value is not None and other is not None]
    pair.difference = known_mean(differences, DIGITS)
    pair.ci95 = _interval(differences, knobs)
    pair.p_value = round(sign_flip_p_value(differences, knobs.seed), 6)
    pair.wins = sum(difference > 0 for difference in differences)
    pair.losses = sum(difference < 0 for difference in differences)
    pair.ties = len(differences) - pair.wins - pair.losses
    return pair


def _result(answers: Scored, knobs: EvaluationKnobs) -> Result:
    judged = [(counted(prediction, verdict), verdict) for prediction, verdict in answers]
    values = [value for value, _ in judged if value is not None]
    given = [prediction for prediction, _ in answers if prediction.failure is None]
    return Result(
        metric=answers[0][1].metric,
        value=known_mean(values, DIGITS),
        stderr=rounded(standard_error(values), DIGITS),
        ci95=_interval(values, knobs),
        n=len(values),
        failed=len(answers) - len(given),
        unjudged=len(answers) - len(values),
        by_task=_by_task([verdict for value, verdict in judged if value is not None]),
        mean_tokens=known_mean([prediction.num_tokens for prediction in given], DIGITS),
        template=", ".join(dict.fromkeys(prediction.template for prediction in given if prediction.template)),
        cut=known_mean([prediction.finish_reason == "length" for prediction in given], DIGITS),
    )


def _by_task(verdicts: Sequence[Verdict]) -> dict[str, TaskMean]:
    """Means of the tasks that instructions name, in the order of the instructions."""
    tasks: defaultdict[str, list[float]] = defaultdict(list)
    for verdict in verdicts:
        if verdict.task is not None:
            tasks[verdict.task].append(100 * (verdict.score or 0.0))
    return {task: TaskMean(value=round(fmean(values), DIGITS), n=len(values)) for task, values in tasks.items()}


def _interval(values: Sequence[float], knobs: EvaluationKnobs) -> Interval | None:
    ends = mean_interval(values, knobs.bootstrap_samples, knobs.seed)
    return None if ends is None else (round(ends[0], DIGITS), round(ends[1], DIGITS))
