"""From verdicts to results.json: a mean with its interval per model and benchmark, and every pair of models compared.

An instruction that a model failed to answer (a server that is down, not a wrong answer) has no score. It enters every
mean as 0, the worst, and is counted in `failed`: a model never gains by failing, and n is the same for all models. An
answer that a judge could not be brought to compare is another matter: it is left out, and counted in `unjudged`.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from itertools import combinations
from statistics import fmean
from typing import Any

from tunalm.measures.means import holm, mean_interval, sign_flip_p_value, standard_error
from tunalm.progress import progress
from tunalm.recipe import Evaluate
from tunalm.records import Prediction, Verdict

SCHEMA_VERSION = 1
DIGITS = 4

Answers = Mapping[tuple[str, str], Sequence[tuple[Prediction, Verdict]]]
"""(model, benchmark) -> what became of the instructions, in the same order for all models."""


def summarise(answers: Answers, identities: Mapping[str, str], settings: Evaluate) -> dict[str, Any]:
    """Make the content of results.json. Values, differences and their intervals are 0-100.

    Args:
        answers: of every model to every benchmark.
        identities: what each model was, by its name; the first is the baseline.
        settings: of the evaluation.
    """
    benchmarks = [benchmark.label for benchmark in settings.benchmarks]
    comparable = [
        (benchmark, model, against) for benchmark in benchmarks for against, model in combinations(identities, 2)
    ]
    with progress("comparing", len(answers) + len(comparable)) as advance:
        models: dict[str, Any] = {}
        for model, identity in identities.items():
            results = {}
            for benchmark in benchmarks:
                results[benchmark] = _result(answers[model, benchmark], settings)
                advance(1)
            models[model] = {"identity": identity, "results": results}
        comparisons = []
        for benchmark, model, against in comparable:
            new, old = answers[model, benchmark], answers[against, benchmark]
            metric = new[0][1].metric
            pair = compare(metric, _counted(new), _counted(old), settings.bootstrap_samples, settings.seed)
            comparisons.append({"benchmark": benchmark, "model": model, "against": against, **pair})
            advance(1)
    correct(comparisons)
    return {
        "schema_version": SCHEMA_VERSION,
        "baseline": next(iter(identities)),
        "models": models,
        "comparisons": comparisons,
        "settings": {
            "bootstrap_samples": settings.bootstrap_samples,
            "seed": settings.seed,
            "max_new_tokens": settings.max_new_tokens,
        },
    }


def points(verdict: Verdict) -> float:
    """What a verdict adds to a mean, 0-100 on average; a failed answer adds nothing."""
    return 100 * (verdict.score or 0.0) * (1.0 if verdict.weight is None else verdict.weight)


def _result(answers: Sequence[tuple[Prediction, Verdict]], settings: Evaluate) -> dict[str, Any]:
    verdicts = [
        verdict for prediction, verdict in answers if counted(prediction.failure is not None, verdict) is not None
    ]
    given = [prediction for prediction, _ in answers if prediction.failure is None]
    values = [points(verdict) for verdict in verdicts]
    return {
        "metric": answers[0][1].metric,
        "value": _mean(values),
        "stderr": _round(standard_error(values)),
        "ci95": _interval(values, settings.bootstrap_samples, settings.seed),
        "n": len(values),
        "failed": sum(prediction.failure is not None for prediction, _ in answers),
        "unjudged": len(answers) - len(verdicts),
        "by_task": _by_task(verdicts),
        "mean_tokens": _mean([prediction.num_tokens for prediction in given]),
        "cut": _mean([prediction.finish_reason == "length" for prediction in given]),
    }


def _counted(answers: Sequence[tuple[Prediction, Verdict]]) -> list[float | None]:
    return [counted(prediction.failure is not None, verdict) for prediction, verdict in answers]


def _by_task(verdicts: Sequence[Verdict]) -> dict[str, Any]:
    """Means of the tasks that instructions name, in the order of the instructions."""
    tasks: defaultdict[str, list[float]] = defaultdict(list)
    for verdict in verdicts:
        if verdict.task is not None:
            tasks[verdict.task].append(100 * (verdict.score or 0.0))
    return {task: {"value": _round(fmean(values)), "n": len(values)} for task, values in tasks.items()}


def counted(failed: bool, verdict: Verdict) -> float | None:
    """What an answer adds to a mean, see `points`; None if it was given and could not be judged."""
    return points(verdict) if failed or verdict.failure is None else None


def compare(
    metric: str, model: Sequence[float | None], against: Sequence[float | None], samples: int, seed: int
) -> dict[str, Any]:
    """What results.json says of a pair of models, but for the correction of its p-value.

    Args:
        metric: of the benchmark.
        model: points of one model, in an order of the instructions; None leaves an instruction out.
        against: points of the other one, in the same order.
        samples: bootstrap resamples.
        seed: of the resampling.
    """
    differences = [new - old for new, old in zip(model, against, strict=True) if new is not None and old is not None]
    return {
        "metric": metric,
        "difference": _mean(differences),
        "ci95": _interval(differences, samples, seed),
        "p_value": round(sign_flip_p_value(differences, seed), 6),
        "p_holm": None,
        "wins": sum(difference > 0 for difference in differences),
        "losses": sum(difference < 0 for difference in differences),
        "ties": sum(difference == 0 for difference in differences),
    }


def correct(comparisons: Sequence[dict[str, Any]]) -> None:
    """Fill in `p_holm`: p-values corrected for being as many as there are."""
    for comparison, adjusted in zip(comparisons, holm([each["p_value"] for each in comparisons]), strict=True):
        comparison["p_holm"] = round(adjusted, 6)


def _interval(values: Sequence[float], samples: int, seed: int) -> list[float] | None:
    ends = mean_interval(values, samples, seed)
    return None if ends is None else [round(end, DIGITS) for end in ends]


def _mean(values: Sequence[float | None]) -> float | None:
    """Mean of the values that are known."""
    known = [value for value in values if value is not None]
    return _round(fmean(known)) if known else None


def _round(value: float | None) -> float | None:
    return None if value is None else round(value, DIGITS)
