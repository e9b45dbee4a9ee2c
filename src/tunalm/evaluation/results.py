"""From verdicts to results.json: a mean with its interval per model and benchmark, and pairs of models compared.

An instruction that a model failed to answer (a server that is down, not a wrong answer) has no score. It enters every
mean as 0, the worst, and is counted in `failed`: a model never gains by failing, and n is the same for all models. An
answer that a judge could not be brought to compare is left out of the mean, and counted in `unjudged`; so is a row on
which a quantity without a worst value (`records.PLAIN_METRICS`) could not be measured.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from itertools import combinations
from statistics import fmean

import numpy as np
from numpy.typing import NDArray

from tunalm.evaluation.base import Measure, Parts
from tunalm.measures.means import holm, known_mean, mean_interval, rounded, sign_flip_p_value, standard_error
from tunalm.measures.ranks import bootstrap
from tunalm.progress import progress
from tunalm.recipe import Evaluate
from tunalm.records import (
    PLAIN_METRICS,
    Difference,
    Estimate,
    EvaluationKnobs,
    EvaluationResults,
    Interval,
    ModelResults,
    Result,
    TaskMean,
    Verdict,
)

DIGITS = 4

Points = Mapping[tuple[str, str], Mapping[str, float | None]]
"""(model, benchmark) -> what each instruction adds to the mean, by its id; None leaves it out."""


def summarise(measures: Sequence[Measure], identities: Mapping[str, str], settings: Evaluate) -> EvaluationResults:
    """Make the content of results.json.

    Args:
        measures: of all models.
        identities: what each model was, by its name; the first is the baseline.
        settings: of the evaluation.
    """
    first, *_ = identities
    knobs = EvaluationKnobs(
        bootstrap_samples=settings.bootstrap_samples, seed=settings.seed, max_new_tokens=settings.max_new_tokens
    )
    models = {
        model: ModelResults(
            identity=identity, results={measure.name: _result(measure, model, knobs) for measure in measures}
        )
        for model, identity in identities.items()
    }
    points: defaultdict[tuple[str, str], dict[str, float | None]] = defaultdict(dict)
    for measure in measures:
        for verdict in measure.verdicts:
            points[verdict.model, measure.name][verdict.id] = counted(verdict)
    pairs = [
        (model, against)
        for against, model in combinations(identities, 2)
        if settings.comparisons == "all" or against == first
    ]
    comparisons = compare(points, pairs, {measure.name: measure.metric for measure in measures}, knobs)
    return EvaluationResults(baseline=first, models=models, comparisons=comparisons, settings=knobs)


def counted(verdict: Verdict) -> float | None:
    """What a row adds to a mean, on average 0-100 or as it is; a failed answer adds nothing, None is left out."""
    if verdict.unjudged:
        return None
    return _scale(verdict) * (verdict.score or 0.0) * (1.0 if verdict.weight is None else verdict.weight)


def _scale(verdict: Verdict) -> float:
    return 1.0 if verdict.metric in PLAIN_METRICS else 100.0


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


def _result(measure: Measure, model: str, knobs: EvaluationKnobs) -> Result:
    verdicts = [verdict for verdict in measure.verdicts if verdict.model == model]
    judged = [verdict for verdict in verdicts if not verdict.unjudged]
    values = [value for verdict in judged if (value := counted(verdict)) is not None]
    given = [answer for answer in measure.answers if answer.model == model and answer.failure is None]
    curve = measure.curves.get(model)
    return Result(
        metric=measure.metric,
        value=known_mean(values, DIGITS),
        stderr=rounded(standard_error(values), DIGITS),
        ci95=_interval(values, knobs),
        n=len(values),
        failed=sum(verdict.failure is not None for verdict in judged),
        unjudged=len(verdicts) - len(judged),
        by_task=_by_task(judged),
        mean_tokens=known_mean([prediction.num_tokens for prediction in given], DIGITS),
        template=", ".join(dict.fromkeys(prediction.template for prediction in given if prediction.template)),
        cut=known_mean([prediction.finish_reason == "length" for prediction in given], DIGITS),
        curve={} if curve is None else {name: _ratio(parts, knobs) for name, parts in curve.points.items()},
        curve_over="" if curve is None else curve.over,
    )


def _ratio(parts: Parts, knobs: EvaluationKnobs) -> Estimate:
    """A ratio of sums over rows, with its interval over rows."""

    def ratio(some: NDArray[np.float64]) -> float | None:
        above, below = some.sum(axis=0)
        return float(above / below) if below else None

    rows = np.array(parts, dtype=np.float64).reshape(-1, 2)
    ends = bootstrap(rows, ratio, knobs.bootstrap_samples, knobs.seed)
    interval = None if ends is None else (round(ends[0], DIGITS), round(ends[1], DIGITS))
    return Estimate(value=rounded(ratio(rows), DIGITS), ci95=interval)


def _by_task(verdicts: Sequence[Verdict]) -> dict[str, TaskMean]:
    """Means of the tasks that instructions name, in the order of the instructions."""
    tasks: defaultdict[str, list[float]] = defaultdict(list)
    for verdict in verdicts:
        if verdict.task is not None:
            tasks[verdict.task].append(_scale(verdict) * (verdict.score or 0.0))
    return {task: TaskMean(value=round(fmean(values), DIGITS), n=len(values)) for task, values in tasks.items()}


def _interval(values: Sequence[float], knobs: EvaluationKnobs) -> Interval | None:
    ends = mean_interval(values, knobs.bootstrap_samples, knobs.seed)
    return None if ends is None else (round(ends[0], DIGITS), round(ends[1], DIGITS))
