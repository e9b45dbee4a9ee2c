"""The 119 English test tasks of Super-NaturalInstructions (`tasks.yaml`), by category."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.resources import files

import yaml

_BY_CATEGORY: dict[str, list[str]] = yaml.safe_load(
    files("tunalm.evaluation.superni").joinpath("tasks.yaml").read_text(encoding="utf-8")
)
CATEGORIES: Mapping[str, str] = {task: category for category, names in _BY_CATEGORY.items() for task in names}
"""Test task -> category."""

BY_EXACT_MATCH = frozenset(
    {
        "Textual Entailment",
        "Cause Effect Classification",
        "Coreference Resolution",
        "Dialogue Act Recognition",
        "Answerability Classification",
        "Word Analogy",
    }
)
"""Categories that are reported by exact match; the others are by ROUGE-L."""

NUM_INSTANCES = 11_810
"""Rows of the official test set; most tasks have 100."""
ROWS_PER_TASK = 100
"""The first so many instances of a task are its test rows."""
