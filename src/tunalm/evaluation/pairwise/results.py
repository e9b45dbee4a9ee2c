"""The results file of a comparison of two models, and what must be said beside its numbers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from tunalm.evaluation.harness import TaskResult, document
from tunalm.evaluation.pairwise.comparisons import Comparison
from tunalm.evaluation.pairwise.winrates import by_category, win_rates
from tunalm.measures.means import holm

VERSION = 1
"""Of the prompts and rules. A change of either that can change a verdict raises it."""


def results(
    name: str,
    groups: Mapping[str, Sequence[Comparison]],
    config: Mapping[str, Any],
    *,
    original: int | None = None,
    samples: int = 2000,
    seed: int = 0,
) -> dict[str, Any]:
    """Make the content of a results file.

    Args:
        name: of the benchmark.
        groups: comparisons by what distinguishes them; the name is empty where there is only one group.
        config: how the questions were asked and judged.
        original: number of questions of the whole benchmark; None where what there is is the whole.
        samples: bootstrap resamples.
        seed: of the resampling.
    """
    all_figures = [win_rates(comparisons, samples, seed) for comparisons in groups.values()]
    corrected = holm([figures["adjusted_win_rate_p_value"] for figures in all_figures])
    tasks: dict[str, TaskResult] = {}
    for (group, comparisons), figures, p_holm in zip(groups.items(), all_figures, corrected, strict=True):
        whole = len(comparisons) if original is None else original
        task = "_".join(part for part in (name, group) if part)
        figures |= {"adjusted_win_rate_p_holm": round(p_holm, 6), "complete": len(comparisons) >= whole}
        categories = {f"{task}_{_slug(category)}": row for category, row in by_category(comparisons).items()}
        tasks[task] = TaskResult(figures, VERSION, whole, figures["judged"], config, tuple(categories))
        for subtask, row in categories.items():
            asked = row["judged"] + row["unjudged"]
            tasks[subtask] = TaskResult(row, VERSION, asked, row["judged"], config)
    return document(tasks)


def _slug(category: str) -> str:
    return "_".join(category.lower().split())
