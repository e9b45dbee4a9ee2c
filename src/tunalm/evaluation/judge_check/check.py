"""What `tunalm evaluate-judge` does: ask a judge about known pairs in both orders, and hold its verdicts to the labels.

The judge is asked as in the `sound` mode of a comparison. Where no label is a tie, it has to choose.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tunalm.calls.context import Calls
from tunalm.evaluation.harness import TaskResult, document
from tunalm.evaluation.judge_check.figures import JudgedPair, figures
from tunalm.evaluation.judge_check.pairs import Choice, KnownPair, is_of_llmbar
from tunalm.evaluation.pairwise.comparisons import JudgeRules, Outcome, Pair, PairVerdict, compare
from tunalm.recipe import EngineSettings
from tunalm.records import Prediction

VERSION = 1
"""Of the prompts and rules. A change of either that can change a verdict raises it."""
CHOICES: dict[Outcome, Choice] = {"win": "second", "tie": "tie", "loss": "first"}


def check_judge(
    pairs: Sequence[KnownPair],
    judge: EngineSettings,
    calls: Calls,
    *,
    max_review_tokens: int = 1024,
    samples: int = 2000,
    seed: int = 0,
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Find out how good a judge is. Reviews that are in the ledger are not asked for again.

    Args:
        pairs: with their labels; at least one.
        judge: who is asked.
        calls: where its reviews are kept, and what they may cost.
        max_review_tokens: longest review.
        samples: bootstrap resamples behind intervals.
        seed: of the resampling.

    Returns:
        Content of the results file, one group with its subsets, and one row per pair.

    Raises:
        EngineError: the judge cannot answer any request.
    """
    ties = any(pair.label == "tie" for pair in pairs)
    rules = JudgeRules("sound", max_review_tokens, ties=ties)
    comparisons = compare([_as_pair(pair) for pair in pairs], rules, judge, calls)
    judged = [JudgedPair(pair, _verdicts(comparison)) for pair, comparison in zip(pairs, comparisons, strict=True)]
    config = {"judge": judge.model_dump(mode="json"), "ties": ties, "max_review_tokens": max_review_tokens}
    subsets = list(dict.fromkeys(pair.subset for pair in pairs if pair.subset))
    groups = {name: [each for each in judged if each.pair.subset == name] for name in subsets}
    of_llmbar = [each for each in judged if is_of_llmbar(each.pair.subset)]
    if 0 < len(of_llmbar) < len(judged):
        groups = {"llmbar": of_llmbar, **groups}
    tasks = {"judge": _task(judged, config, samples, seed, [f"judge_{name}" for name in groups])}
    tasks |= {f"judge_{name}": _task(own, config, samples, seed) for name, own in groups.items()}
    rows = [
        {**comparison.model_dump(mode="json", exclude_none=True), "label": pair.label, "subset": pair.subset}
        for pair, comparison in zip(pairs, comparisons, strict=True)
    ]
    return document(tasks), rows


def _task(
    judged: Sequence[JudgedPair], config: dict[str, Any], samples: int, seed: int, subtasks: Sequence[str] = ()
) -> TaskResult:
    return TaskResult(figures(judged, samples, seed), VERSION, len(judged), len(judged), config, subtasks)


def _as_pair(pair: KnownPair) -> Pair:
    """The second answer as that of the model: it is then shown second first, and first the second time."""
    first, second = (
        Prediction(id=pair.question.id, benchmark="judge", model=name, prediction=text)
        for name, text in (("first", pair.first), ("second", pair.second))
    )
    return Pair(pair.question, second, first)


def _verdicts(comparison: PairVerdict) -> tuple[Choice | None, Choice | None]:
    if comparison.identical:
        return "tie", "tie"
    given, swapped = comparison.orders
    return given and CHOICES[given], swapped and CHOICES[swapped]
