"""Recipes that come with tunalm, and the one rule by which a recipe is found by its name."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from tunalm.errors import RecipeError, did_you_mean
from tunalm.recipe.selection import narrow

INPUT = re.compile(r"\$\{([^}]*)\}")
"""`${name}` stands for an input."""


def recipes_folder() -> Path:
    """Folder of the shipped recipes: inside an installation, or at the top of a checkout."""
    package = Path(__file__).resolve().parents[1]
    installed = package / "recipes"
    return installed if installed.is_dir() else package.parents[1] / "recipes"


def shipped() -> dict[str, Path]:
    """Files of the shipped recipes by name, in alphabetical order."""
    return {path.stem: path for path in sorted(recipes_folder().glob("*.yaml"))}


def find_recipe(name: str | Path, beside: Path = Path()) -> Path:
    """The file that a name means: a file of that name, NAME.yaml, or the shipped recipe NAME, in this order.

    Args:
        name: a path, or a plain name with or without `.yaml`.
        beside: folder that the name is looked up in.

    Raises:
        RecipeError: there is no such file; the nearest name is told.
    """
    path, known = beside / name, shipped()
    plain = str(name) == path.name
    for candidate in (path, path.with_name(f"{path.name}.yaml")):
        if candidate.is_file():
            return candidate
    if plain and (stem := path.name.removesuffix(".yaml")) in known:
        return known[stem]
    near = [str(other) for other in sorted(path.parent.glob("*.y*ml"))] if path.parent.is_dir() else []
    found = "a folder" if path.is_dir() else "no such file" + (", and no shipped recipe of that name" if plain else "")
    names = [*near, *(known if plain else ())]
    fix = did_you_mean(str(path), names) if names else "`tunalm recipes` lists those that are shipped."
    raise RecipeError(path, found=found, expected="a recipe in YAML, or the name of a shipped one", fix=fix)


def description(path: Path) -> str:
    """What a recipe says of itself, in one line."""
    return " ".join(str(yaml.safe_load(path.read_text(encoding="utf-8")).get("description", "")).split())


def missing_inputs(tree: dict[str, Any]) -> list[str]:
    """Inputs that must be given before a recipe can run: they are null, and stages that are wanted use them."""
    inputs = tree.get("inputs") or {}
    used = {name for text in _texts(narrow(tree).get("stages")) for name in INPUT.findall(text)}
    return [name for name, value in inputs.items() if value is None and name in used]


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict | list):
        for item in value.values() if isinstance(value, dict) else value:
            yield from _texts(item)
