"""What a shell is told when Tab is pressed: names of recipes, inputs and knobs, and the values that a knob may have."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

import typer

Offer = tuple[str, str]
"""A word, and what it means."""


def complete_recipe(incomplete: str) -> list[Offer]:
    """Shipped recipes, and YAML files and folders that begin so."""
    from tunalm.recipe.shipped import description, shipped

    folder = Path(incomplete).parent if incomplete and not incomplete.endswith("/") else Path(incomplete)
    here = [
        (f"{path}/", "") if path.is_dir() else (str(path), "a file")
        for path in sorted(folder.iterdir() if folder.is_dir() else ())
        if path.suffix in (".yaml", ".yml") or (path.is_dir() and not path.name.startswith("."))
    ]
    known = [(name, description(path)) for name, path in shipped().items() if name.startswith(incomplete)]
    return [*known, *(offer for offer in here if offer[0].startswith(incomplete))]


def complete_inputs(context: typer.Context, incomplete: str) -> list[Offer]:
    """Inputs of the recipe that is named before, its own knobs, and those of its stages by their whole names."""
    from tunalm.errors import TunaError
    from tunalm.recipe import STAGES, Recipe
    from tunalm.recipe.copying import Draft

    try:
        draft = Draft(context.params.get("recipe") or "")
    except TunaError:
        return []
    stages = {name: stage.get("kind") for name, stage in draft.stages.items() if isinstance(stage, dict)}
    offers = [(f"{name}=", draft.comment(name)) for name in draft.inputs]
    if context.info_name != "init":
        offers += [offer for offer in _knobs(Recipe) if not offer[0].startswith(("inputs=", "stages=", "name="))]
        for name, kind in stages.items():
            place = f"stages.{name}."
            if incomplete.startswith(place) and kind in STAGES:
                offers += [(f"{place}{knob}", meaning) for knob, meaning in _knobs(STAGES[kind])]
            else:
                offers.append((place, str(kind)))
    return [offer for offer in offers if offer[0].startswith(incomplete)]


def complete_knobs(context: typer.Context, incomplete: str) -> list[Offer]:
    """Knobs of the stage that the command is named for."""
    from tunalm.recipe import STAGES

    return [offer for offer in _knobs(STAGES[context.info_name or ""]) if offer[0].startswith(incomplete)]


def _knobs(settings: Any) -> Iterator[Offer]:
    """`name=` for every knob, and `name=value` for the values of those that have few."""
    from textwrap import shorten

    from tunalm.recipe import RANKERS

    for name, info in settings.model_fields.items():
        if name == "kind":
            continue
        meaning = shorten((info.description or "").partition(". ")[0], 70)
        yield f"{name}=", meaning
        named = RANKERS if name == "by" else _values(info.annotation)
        yield from ((f"{name}={value}", meaning) for value in named)


def _values(annotation: Any) -> Iterator[str]:
    if annotation is bool:
        yield from ("true", "false")
    elif get_origin(annotation) is Literal:
        yield from map(str, get_args(annotation))
    else:
        for part in get_args(annotation):
            yield from _values(part)
