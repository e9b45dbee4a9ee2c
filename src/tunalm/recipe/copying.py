"""A copy of a recipe to start from: its text with its comments, and the inputs that its owner gives."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from tunalm.errors import RecipeError
from tunalm.recipe.loading import build_recipe, override, read_recipe, refuse_keys
from tunalm.recipe.schema import MARK, SCHEMA_FILE
from tunalm.recipe.shipped import find_recipe, missing_inputs, recipes_folder
from tunalm.store import write_text

COMMENT = re.compile(r"^  (\w+):[^#\n]*#\s*(.+)$", re.MULTILINE)
"""An input with what is said of it on its line."""


class Draft:
    """A recipe on its way to a file of the user's.

    Args:
        recipe: a file, or the name of a shipped recipe.
        inputs: `name=value` or `name.part=value`, as the command line gives them to `tunalm run`.

    Raises:
        RecipeError: there is no such recipe or input, or a value is no YAML or may be a key.
    """

    def __init__(self, recipe: str | Path, inputs: Sequence[str] = ()) -> None:
        self.path = find_recipe(recipe)
        self._tree, _ = read_recipe(self.path)
        self._given: dict[str, None] = {}
        for pair in inputs:
            self.give(pair)

    @property
    def inputs(self) -> dict[str, Any]:
        """All inputs, those of the recipe that it extends included."""
        return self._tree.get("inputs") or {}

    @property
    def stages(self) -> dict[str, Any]:
        """Settings by stage, as they are written."""
        return self._tree.get("stages") or {}

    @property
    def missing(self) -> list[str]:
        """Inputs that have no value yet, and without which it cannot run."""
        return missing_inputs(self._tree)

    def comment(self, name: str) -> str:
        """What the recipe, or the one that it extends, says of an input."""
        path: Path | None = self.path
        while path is not None:
            text = path.read_text(encoding="utf-8")
            if said := dict(COMMENT.findall(text)).get(name):
                return str(said)
            parent = yaml.safe_load(text).get("extends")
            path = find_recipe(parent, path.parent) if parent else None
        return "no default"

    def give(self, pair: str) -> None:
        """Set an input.

        Raises:
            RecipeError: as in the class.
        """
        name = re.split(r"[.=]", pair, maxsplit=1)[0].strip()
        if name not in (known := self.inputs):
            fix = f"It has {', '.join(known) or 'none'}; change other knobs in the file."
            raise RecipeError("command line", found=f"'{name}' is no input of this recipe", fix=fix)
        override(self._tree, pair)
        refuse_keys(self._tree["inputs"][name], "command line", {}, f"inputs.{name}")
        self._given[name] = None

    def check_target(self, target: Path) -> None:
        """Refuse to write over what is there.

        Raises:
            RecipeError: the file exists.
        """
        if target.exists():
            raise RecipeError(target, found="a file that is there already", fix="Name another with --out.")

    def write(self, target: Path) -> None:
        """Write the copy. It is checked as a whole first if nothing is missing.

        Raises:
            RecipeError: the file exists, or an input does not fit where the recipe uses it.
        """
        self.check_target(target)
        if (parent := yaml.safe_load(self.path.read_text(encoding="utf-8")).get("extends")) is not None:
            find_recipe(str(parent), target.parent)
        if not self.missing:
            build_recipe({**self._tree}, where=str(self.path))
        write_text(target, self._text())

    def _text(self) -> str:
        """The recipe's own text, with the given inputs in the place of the values that it had."""
        text = self.path.read_text(encoding="utf-8")
        lines = {name: f"  {name}: {_flow(value)}\n" for name, value in self.inputs.items()}
        root: Any = yaml.compose(text, Loader=yaml.SafeLoader)
        found = [pair for pair in root.value if pair[0].value == "inputs"]
        inputs = found[0][1].value if found and isinstance(found[0][1], yaml.MappingNode) else []
        places = {name.value: (value.start_mark.index, value.end_mark.index) for name, value in inputs}
        new = [name for name in self._given if name not in places]
        if new and found and not (inputs and not found[0][1].flow_style):
            text = text[: found[0][0].start_mark.index] + text[found[0][1].end_mark.index :]
            new, places = [*(name for name in places if name not in new), *new], {}
        for name, (start, end) in sorted(places.items(), key=lambda each: -each[1][0]):
            if name in self._given:
                text = text[:start] + _flow(self.inputs[name]) + text[end:]
        if new and places:
            start = text.rindex("\n", 0, found[0][1].start_mark.index) + 1
            text = text[:start] + "".join(lines[name] for name in new) + text[start:]
        elif new:
            text = re.sub(r"\n{3,}", "\n\n", text.rstrip("\n"))
            text += "\n\ninputs:\n" + "".join(lines[name] for name in new)
        where = (recipes_folder() / SCHEMA_FILE).resolve().as_uri()
        return f"{MARK}{where}\n" + "".join(line for line in text.splitlines(True) if not line.startswith(MARK))


def _flow(value: Any) -> str:
    """A value on one line, as YAML."""
    text = yaml.safe_dump(value, default_flow_style=True, allow_unicode=True, width=10_000, sort_keys=False)
    return text.removesuffix("\n...\n").rstrip("\n")
