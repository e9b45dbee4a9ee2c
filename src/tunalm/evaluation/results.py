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
"""(model, benchmark) -> what became of the instructions, in the same order for all models."""


def summarise(answers: Answers, identities: Mapping[str, str], settings: Evaluate) -> EvaluationResults:
    """Make the content of results.json. Values, differences and their intervals are 0-100.

    Args:
        answers: of every model to every benchmark.
        identities: what each model was, by its name; the first is the baseline.
        settings: of the evaluation.
    """
    benchmarks = [benchmark.label for benchmark in settings.benchmarks]
    first, *_ = identities
    pairs = [
        (benchmark, model, against)
        for benchmark in benchmarks
        for against, model in combinations(identities, 2)
        if settings.comparisons == "all" or against == first
    ]
    knobs = EvaluationKnobs(
        bootstrap_samples=settings.bootstrap_samples, seed=settings.seed, max_new_tokens=settings.max_new_tokens
    )
    models: dict[str, ModelResults] = {}
    differences: list[Difference] = []
    with progress("comparing", len(answers) + len(pairs)) as advance:
        for model, identity in identities.items():
            models[model] = ModelResults(identity=identity, results={})
            for benchmark in benchmarks:
                models[model].results[benchmark] = _result(answers[model, benchmark], knobs)
                advance(1)
        for benchmark, model, against in pairs:
            new, old = answers[model, benchmark], answers[against, benchmark]
            empty = Difference(benchmark=benchmark, model=model, against=against, metric=new[0][1].metric)
            differences.append(compare(empty, _counted(new), _counted(old), knobs))
            advance(1)
    return EvaluationResults(baseline=first, models=models, comparisons=corrected(differences), settings=knobs)


def points(verdict: Verdict) -> float:
    """What a verdict adds to a mean, 0-100 on average; a failed answer adds nothing."""
    return 100 * (verdict.score or 0.0) * (1.0 if verdict.weight is None else verdict.weight)


def counted(failed: bool, verdict: Verdict) -> float | None:
    """What an answer adds to a mean, see `points`; None if it was given and could not be judged."""
    return points(verdict) if failed or verdict.failure is None else None


def compare(
    pair: Difference, model: Sequence[float | None], against: Sequence[float | None], knobs: EvaluationKnobs
) -> Difference:
    """Two models compared, but for the correction of the p-value (see `corrected`).

    Args:
        pair: names the models, the benchmark and its metric.
        model: points of one model, in an order of the instructions; None leaves an instruction out.
        against: points of the other one, in the same order.
        knobs: of the resampling.
    """
    differences = [new - old for new, old in zip(model, against, strict=True) if new is not None and old is not None]
    return pair.model_copy(
        update={
            "difference": known_mean(differences, DIGITS),
            "ci95": _interval(differences, knobs),
            "p_value": round(sign_flip_p_value(differences, knobs.seed), 6),
            "wins": sum(difference > 0 for difference in differences),
            "losses": sum(difference < 0 for difference in differences),
            "ties": sum(difference == 0 for difference in differences),
        }
    )


def corrected(differences: Sequence[Difference]) -> list[Difference]:
    """The same comparisons with `p_holm`: p-values corrected for being as many as there are."""
    adjusted = holm([each.p_value for each in differences])
    return [
        each.model_copy(update={"p_holm": round(p_holm, 6)}) for each, p_holm in zip(differences, adjusted, strict=True)
    ]


def _result(answers: Scored, knobs: EvaluationKnobs) -> Result:
    verdicts = [
        verdict for prediction, verdict in answers if counted(prediction.failure is not None, verdict) is not None
    ]
    given = [prediction for prediction, _ in answers if prediction.failure is None]
    values = [points(verdict) for verdict in verdicts]
    return Result(
        metric=answers[0][1].metric,
        value=known_mean(values, DIGITS),
        stderr=rounded(standard_error(values), DIGITS),
        ci95=_interval(values, knobs),
        n=len(values),
        failed=len(answers) - len(given),
        unjudged=len(answers) - len(verdicts),
        by_task=_by_task(verdicts),
        mean_tokens=known_mean([prediction.num_tokens for prediction in given], DIGITS),
        template=", ".join(dict.fromkeys(prediction.template for prediction in given if prediction.template)),
        cut=known_mean([prediction.finish_reason == "length" for prediction in given], DIGITS),
    )


def _counted(answers: Scored) -> list[float | None]:
    return [counted(prediction.failure is not None, verdict) for prediction, verdict in answers]


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
