"""Saved answers of two models compared, or stored reviews read: what `tunalm score vicuna` and `pairwise` do."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tunalm.calls.context import Calls
from tunalm.evaluation.pairwise.answers import check_answers, read_answers, split_name
from tunalm.evaluation.pairwise.comparisons import JudgeRules, Pair, PairVerdict, compare
from tunalm.evaluation.pairwise.reviews import load_reviews
from tunalm.evaluation.pairwise.winrates import results
from tunalm.recipe import EngineSettings
from tunalm.records import Instruction, Prediction

Files = tuple[dict[str, Any], list[dict[str, Any]]]
"""Content of the results file, and of the file of rows."""


def score_answers(
    name: str,
    questions: Sequence[Instruction],
    predictions: str,
    against: str,
    judge: EngineSettings,
    rules: JudgeRules,
    calls: Calls,
    *,
    title: str | None = None,
) -> Files:
    """Have one model's answers compared with another's. Reviews that are in the ledger are not asked for again.

    Args:
        name: of the benchmark.
        questions: that both files answer.
        predictions: the model's answers, `FILE` or `FILE#MODEL`.
        against: the other model's, likewise.
        judge: who compares.
        rules: how it is asked.
        calls: where its reviews are kept, and what they may cost.
        title: what an evaluation called it, where a file is its predictions; null is `name`.

    Raises:
        DataError: a file is wrong, or lacks the answer to a question.
        EngineError: the judge cannot answer any request.
    """
    answers = [read_answers(*split_name(source), title or name) for source in (predictions, against)]
    for source, found in zip((predictions, against), answers, strict=True):
        check_answers(source, found, questions)
    mine, others = ({row.id: found[row.id] for row in questions} for found in answers)
    pairs = [Pair(row, mine[row.id], _named_apart(others[row.id], mine[row.id])) for row in questions]
    comparisons = compare(pairs, rules, judge, calls)
    config = {"mode": rules.mode, "judge": judge.model_dump(mode="json"), "max_review_tokens": rules.max_new_tokens}
    return _scored(name, {"": comparisons}, config, rules.seed)


def score_reviews(name: str, reviews: Path, questions: Sequence[Instruction]) -> Files:
    """Read stored reviews.

    Raises:
        DataError: a row is wrong, or is about none of the questions.
    """
    groups = load_reviews(reviews, {row.id: row.task for row in questions}, name)
    return _scored(name, groups, {"reviews": reviews.name}, 0)


def _named_apart(other: Prediction, mine: Prediction) -> Prediction:
    """Two files of one model have to be told apart."""
    return other.model_copy(update={"model": f"{other.model} (other)"}) if other.model == mine.model else other


def _scored(name: str, groups: Mapping[str, Sequence[PairVerdict]], config: Mapping[str, Any], seed: int) -> Files:
    rows = [row.model_dump(mode="json", exclude_none=True) for group in groups.values() for row in group]
    return results(name, groups, config, seed=seed), rows
