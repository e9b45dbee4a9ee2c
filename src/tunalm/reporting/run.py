"""A run, as the pipeline hands it to everything that reports it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from tunalm.recipe import Recipe
from tunalm.records import StageState

States = Mapping[str, StageState]
"""What stage.json says, by stage."""


@dataclass(frozen=True)
class Run:
    """A run as the pipeline knows it."""

    path: Path
    recipe: Recipe
    states: States = field(default_factory=dict)
    """Stages that are missing have not run."""
