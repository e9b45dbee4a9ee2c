"""Comparisons as one model's figures against another: rates, their certainty, what gives a judge away."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import Any

from tunalm.evaluation.harness import TaskResult, document
from tunalm.evaluation.pairwise.comparisons import POINTS, PairVerdict
from tunalm.evaluation.pairwise.length_control import length_controlled
from tunalm.measures.means import holm, known_mean, mean_interval, rounded, sign_flip_p_value, standard_error

VERSION = 2
"""Of the prompts and rules. A change of either that can change a verdict raises it."""
DIGITS = 4
EVEN = 50.0
VICUNA_QUESTIONS = 80
"""Of the whole benchmark; other sets of questions are whole as they are."""


def results(
    name: str,
    groups: Mapping[str, Sequence[PairVerdict]],
    config: Mapping[str, Any],
    *,
    samples: int = 2000,
    seed: int = 0,
) -> dict[str, Any]:
    """Make the content of a results file.

    Args:
        name: of the benchmark.
        groups: comparisons by what distinguishes them; the name is empty where there is only one group.
        config: how the questions were asked and judged.
        samples: bootstrap resamples.
        seed: of the resampling.
    """
    all_figures = [win_rates(comparisons, samples, seed) for comparisons in groups.values()]
    corrected = holm([figures["adjusted_win_rate_p_value"] for figures in all_figures])
    tasks: dict[str, TaskResult] = {}
    for (group, comparisons), figures, p_holm in zip(groups.items(), all_figures, corrected, strict=True):
        whole = VICUNA_QUESTIONS if name == "vicuna" else len(comparisons)
        task = "_".join(part for part in (name, group) if part)
        figures |= {"adjusted_win_rate_p_holm": round(p_holm, 6), "complete": len(comparisons) >= whole}
        categories = {f"{task}_{_slug(category)}": row for category, row in by_category(comparisons).items()}
        tasks[task] = TaskResult(figures, VERSION, whole, figures["judged"], config, tuple(categories))
        for subtask, row in categories.items():
            asked = row["judged"] + row["unjudged"]
            tasks[subtask] = TaskResult(row, VERSION, asked, row["judged"], config)
    return document(tasks)


def win_rates(comparisons: Sequence[PairVerdict], samples: int, seed: int) -> dict[str, Any]:
    """Figures of one model against one other, rates in 0-100.

    `win`, `tie`, `loss` and `unjudged` are shares of all questions and add up to 100; a question that the model failed
    to answer is lost. `adjusted_win_rate` is the share of the judged questions that are won, a tie as half a win; its
    p-value is that of a paired permutation test against 50. `length_controlled_win_rate` is the same for answers of
    equal length; it is a guess from afar where `longer`, the share of questions on which the model's answer is the
    longer one, is near 0 or 100, and None at 0 and 100. `swap_consistency` is the share of the questions judged in both
    orders on which both verdicts agree; `first_slot` and `second_slot` count those where the answer shown first, or
    second, won both times.

    Args:
        comparisons: of one model with one other; at least one.
        samples: bootstrap resamples behind intervals.
        seed: of the resampling.
    """
    judged = [each for each in comparisons if each.outcome is not None]
    values = [100 * POINTS[each.outcome] for each in judged if each.outcome is not None]
    share: dict[str, Any] = {
        name: _share(sum(each.outcome == name for each in comparisons), len(comparisons)) for name in POINTS
    }
    ends = mean_interval(values, samples, seed)
    return {
        **share,
        "unjudged": _share(len(comparisons) - len(judged), len(comparisons)),
        **_rate(values),
        "adjusted_win_rate_ci95": ends and [round(end, DIGITS) for end in ends],
        "adjusted_win_rate_p_value": round(sign_flip_p_value([value - EVEN for value in values], seed), 6),
        **_length_control(judged, samples, seed),
        **_slots(judged),
        "judged": len(judged),
        "lost_without_answer": sum(each.outcome is not None and each.failure is not None for each in comparisons),
        "identical": sum(each.identical for each in comparisons),
        "guided": sum(each.guided for each in comparisons),
    }


def by_category(comparisons: Sequence[PairVerdict]) -> dict[str, dict[str, Any]]:
    """Adjusted win rate of every category that questions name, in the order of the questions."""
    categories = dict.fromkeys(each.task for each in comparisons if each.task is not None)
    rows = {}
    for name in categories:
        outcomes = [each.outcome for each in comparisons if each.task == name]
        values = [100 * POINTS[outcome] for outcome in outcomes if outcome is not None]
        rows[name] = {**_rate(values), "judged": len(values), "unjudged": len(outcomes) - len(values)}
    return rows


def _rate(values: Sequence[float]) -> dict[str, float | None]:
    return {
        "adjusted_win_rate": known_mean(values, DIGITS),
        "adjusted_win_rate_stderr": rounded(standard_error(values), DIGITS),
    }


def _length_control(judged: Sequence[PairVerdict], samples: int, seed: int) -> dict[str, Any]:
    known = [
        (POINTS[each.outcome], each.length, each.against_length)
        for each in judged
        if each.outcome is not None and each.length is not None and each.against_length is not None
    ]
    if not known:
        return {}
    found = length_controlled([one for one, *_ in known], [mine - other for _, mine, other in known], samples, seed)
    return {
        "length_controlled_win_rate": None if found is None else round(found[0], DIGITS),
        "length_controlled_win_rate_ci95": found and [round(end, DIGITS) for end in found[1]],
        "longer": _share(sum(mine > other for _, mine, other in known), len(known)),
        "mean_characters": round(fmean(mine for _, mine, _ in known)),
        "mean_characters_against": round(fmean(other for *_, other in known)),
    }


def _slots(judged: Sequence[PairVerdict]) -> dict[str, Any]:
    twice = [each.orders for each in judged if len(each.orders) == 2]
    if not twice:
        return {}
    return {
        "swap_consistency": _share(sum(one == other for one, other in twice), len(twice)),
        "first_slot": sum(orders == ["loss", "win"] for orders in twice),
        "second_slot": sum(orders == ["win", "loss"] for orders in twice),
    }


def _share(count: int, total: int) -> float:
    return round(100 * count / total, DIGITS)


def _slug(category: str) -> str:
    return "_".join(category.lower().split())
