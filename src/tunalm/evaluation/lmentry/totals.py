"""From the scores of rows to accuracy, robustness and the LMentry score, with the roundings of the published scripts.

Rounding is part of the definition: accuracies of templates have one decimal and those of tasks two before anything is
made of them, and the robustness one before it is multiplied.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tunalm.evaluation.lmentry.data import CONTENT
from tunalm.evaluation.lmentry.tasks import TASKS
from tunalm.measures.means import known_mean

ORDERED = (
    "more_letters",
    "less_letters",
    "first_alphabetically",
    "rhyming_word",
    "homophones",
    "bigger_number",
    "smaller_number",
)
"""Tasks that name two things, one of which is the answer."""

ADJACENT = (
    ("bigger_number", "smaller_number"),
    ("more_letters", "less_letters"),
    ("word_after", "word_before"),
    ("most_associated_word", "least_associated_word"),
    ("any_words_from_category", "all_words_from_category"),
    ("sentence_containing", "sentence_not_containing"),
    ("word_containing", "word_not_containing"),
    ("starts_with_word", "starts_with_letter"),
    ("ends_with_word", "ends_with_letter"),
    ("sentence_containing", "word_containing"),
    ("sentence_not_containing", "word_not_containing"),
    ("first_word", "first_letter"),
    ("last_word", "last_letter"),
    ("starts_with_word", "ends_with_word"),
    ("starts_with_letter", "ends_with_letter"),
    ("first_word", "last_word"),
    ("first_letter", "last_letter"),
)
"""Pairs of tasks that are alike: by definition (5), negation (2), words and letters (6), first and last (4)."""

RESAMPLES = 200


@dataclass(frozen=True)
class Stratum:
    """Questions of one set that share a template and the place of the answer."""

    template: int
    answer_index: int | None
    """0 if the answer is named first, 1 if second; None where no two things are named."""
    asked: int
    answered: int
    """Of the asked; the others count as wrong."""
    correct: int


Strata = Mapping[str, Sequence[Stratum]]
"""Cells of every set that was asked."""


def totals(table: Strata) -> dict[str, Any]:
    """Accuracy, robustness with its four parts, and score, all 0-100.

    A part that nothing is known of is None, and then so are robustness and score. With all 41 sets there every number
    is that of the published scripts.
    """
    accuracies = {name: task_accuracy(cells) for name, cells in table.items()}
    core = [accuracies[task] for task in TASKS if task in accuracies]
    accuracy = known_mean(core)
    parts: dict[str, float | None] = {
        "argument_order": known_mean([_order_robustness(table[task]) for task in ORDERED if task in table]),
        "argument_content": known_mean(
            [
                _robustness([accuracies[f"{task}_{kind}"] for kind in kinds])
                for task, kinds in CONTENT.items()
                if all(f"{task}_{kind}" in accuracies for kind in kinds)
            ]
        ),
        "template": known_mean([_robustness(template_accuracies(table[task])) for task in TASKS if task in table]),
        "adjacent_tasks": known_mean(
            [
                _robustness([accuracies[task] for task in pair])
                for pair in ADJACENT
                if all(task in accuracies for task in pair)
            ]
        ),
    }
    known = [part for part in parts.values() if part is not None]
    robustness = float(np.mean(known).round(1)) if len(known) == len(parts) else None
    score = None if accuracy is None or robustness is None else accuracy * (robustness / 100)
    return {"accuracy": accuracy, "robustness": robustness, "score": score, **parts}


def task_accuracy(cells: Sequence[Stratum]) -> float:
    """Share of right answers among all questions of a set, 0-100, two decimals."""
    return round(sum(cell.correct for cell in cells) / sum(cell.asked for cell in cells) * 100, 2)


def template_accuracies(cells: Sequence[Stratum]) -> list[float]:
    """The same for each wording of the question, one decimal."""
    templates = sorted({cell.template for cell in cells})
    shares = []
    for template in templates:
        same = [cell for cell in cells if cell.template == template]
        shares.append(round(sum(cell.correct for cell in same) / sum(cell.asked for cell in same) * 100, 1))
    return shares


def standard_errors(table: Strata, seed: int = 0) -> dict[str, float | None]:
    """Standard errors of `totals` by resampling the questions of every cell."""
    rng = np.random.default_rng(seed)
    drawn = []
    for _ in range(RESAMPLES):
        resampled = {
            name: [
                Stratum(cell.template, cell.answer_index, cell.asked, cell.answered, int(rng.binomial(*_odds(cell))))
                for cell in cells
            ]
            for name, cells in table.items()
        }
        drawn.append(totals(resampled))
    return {
        name: None if value is None else float(np.std([each[name] for each in drawn], ddof=1))
        for name, value in totals(table).items()
    }


def _odds(cell: Stratum) -> tuple[int, float]:
    return cell.answered, cell.correct / cell.answered if cell.answered else 0.0


def _order_robustness(cells: Sequence[Stratum]) -> float:
    shares = []
    for index in (0, 1):
        same = [cell for cell in cells if cell.answer_index == index]
        correct = sum(cell.correct for cell in same)
        shares.append(round(correct / sum(cell.answered for cell in same) * 100, 2) if correct else 0.0)
    return _robustness(shares)


def _robustness(accuracies: Sequence[float]) -> float:
    """100 less the largest gap between accuracies that should be equal."""
    return 100 - max(abs(one - other) for one in accuracies for other in accuracies)
