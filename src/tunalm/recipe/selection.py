"""Parts of a recipe: the stages that are wanted, with all that they read.

This looks at the recipe as it is written, before its inputs are filled in: inputs of stages that are left out need no
value.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from tunalm.errors import RecipeError, did_you_mean

Tree = dict[str, Any]
NO_SOURCES = ("kind", "by", "name", "title")
"""Keys whose values are words of the recipe's language and never name a stage."""


def narrow(tree: Tree, where: str = "recipe") -> Tree:
    """Leave out what `only` does not need.

    Evaluations stay if a model of theirs is wanted; the models of stages that are not wanted are left out of them, and
    models that no stage makes stay.

    Args:
        tree: a recipe as plain values.
        where: names it in errors.

    Raises:
        RecipeError: a stage is wanted that the recipe does not have.
    """
    only, stages = tree.get("only"), tree.get("stages")
    if not only or not isinstance(only, list) or not isinstance(stages, dict):
        return tree
    for name in only:
        if name not in stages:
            raise RecipeError(f"{where}: only", found=f"no stage '{name}'", fix=did_you_mean(str(name), stages))
    left = {name: _with_wanted_models(stage, only, stages) for name, stage in stages.items()}
    wanted = {name for name, stage in left.items() if name in only or (stage is not None and _is_evaluation(stage))}
    for name in reversed(left):
        if name in wanted:
            wanted.update(named_stages(left[name], stages))
    return {**tree, "only": [], "stages": {name: stage for name, stage in left.items() if name in wanted}}


def _is_evaluation(stage: Any) -> bool:
    return isinstance(stage, dict) and stage.get("kind") == "evaluate"


def _with_wanted_models(stage: Any, only: list[str], stages: Tree) -> Any:
    """An evaluation without the models that are not wanted, or None if none is; any other stage as it is."""
    if not _is_evaluation(stage) or not isinstance(stage.get("models"), dict | list):
        return stage
    models = stage["models"] if isinstance(stage["models"], dict) else {name: name for name in stage["models"]}
    named = {name: set(named_stages(engine, stages)) for name, engine in models.items()}
    if not any(made & set(only) for made in named.values()):
        return None
    return {**stage, "models": {name: engine for name, engine in models.items() if named[name] <= set(only)}}


def named_stages(value: Any, stages: Tree) -> Iterator[str]:
    """Stages that are named somewhere in some settings, which are plain values."""
    if isinstance(value, str) and value in stages:
        yield value
    elif isinstance(value, dict):
        for key, item in value.items():
            if key not in NO_SOURCES:
                yield from named_stages(item, stages)
    elif isinstance(value, list):
        for item in value:
            yield from named_stages(item, stages)
