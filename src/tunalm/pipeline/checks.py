"""What would stop a stage is found out before the first stage runs: nothing is loaded, sent or paid for.

Rows that lie on this machine are read for it, all of them: a wrong one would stop a stage after others were paid for.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from importlib import import_module
from typing import Any, cast

from tunalm.calls.context import StageContext
from tunalm.data import require_references
from tunalm.data.lists import load_lists, require_ranked
from tunalm.data.sources import Sources, is_hub_dataset, require_source
from tunalm.engines.checking import check_templates, check_weights
from tunalm.pipeline.resolving import ResolvedStage
from tunalm.recipe import Data, FromLists, Recipe, Sft, Stage, walk
from tunalm.store import Summary

ROOMS = {
    "instruct": "tunalm.instructing",
    "sft": "tunalm.training",
    "sample": "tunalm.sampling",
    "rank": "tunalm.ranking",
    "train": "tunalm.training",
    "proxy": "tunalm.training",
    "rl": "tunalm.training",
    "evaluate": "tunalm.evaluation",
}
"""Kind of stage -> the module that runs it, imported when the stage does. Its `check(settings)`, if it has one, is
called before the first stage."""


def runner(kind: str) -> Callable[[Any, StageContext], Summary]:
    """The function that runs stages of a kind."""
    return cast(Callable[[Any, StageContext], Summary], import_module(ROOMS[kind]).run)


def check(
    stages: Sequence[ResolvedStage], recipe: Recipe, sources: Sources | None = None, *, trust_remote_code: bool = False
) -> None:
    """Refuse a recipe of which some stage could not run.

    Args:
        stages: as they were resolved; those that are done are not looked at.
        recipe: that they belong to.
        sources: keep what is read for others.
        trust_remote_code: whether models may run code of their own.

    Raises:
        TunaError: as the stage would; the place in the recipe, or the file, is named.
    """
    sources = sources or Sources()
    for stage in stages:
        if stage.done:
            continue
        settings = recipe.stages[stage.name]
        check_templates(settings, f"stages.{stage.name}", recipe.stages)
        check_weights(settings, recipe.stages, trust_remote_code=trust_remote_code)
        if stage.kind != "evaluate":  # its benchmarks say what they read when they are resolved
            _read_rows(settings, recipe, sources)
        own = getattr(import_module(ROOMS[stage.kind]), "check", None)
        if own is not None:
            own(stage.settings)


def _read_rows(settings: Stage, recipe: Recipe, sources: Sources) -> None:
    """Read what a stage reads and no stage makes, each source once."""
    for each in walk(settings):
        if isinstance(each.value, Data):
            if each.value.source in recipe.stages:
                continue
            require_source(each.value)
            if is_hub_dataset(each.value.source):
                continue
            rows = sources.load(each.value)
            if isinstance(settings, Sft):
                require_references(rows, each.value.source)
        elif each.source and {"responses", "rankings"} & {*each.source.accepts} and each.value not in recipe.stages:
            lists = load_lists(each.value)
            if isinstance(settings, FromLists):
                require_ranked(lists, each.value)
