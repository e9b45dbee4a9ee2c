"""Reading a recipe: YAML, then overrides, then inputs, then every check that needs no model."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from tunalm.errors import RecipeError, complaint, did_you_mean
from tunalm.recipe import STAGES, BenchmarkSettings, Data, Found, Instruct, Recipe, Settings, Stage, replaced, walk
from tunalm.recipe.engines import ENGINES
from tunalm.recipe.plain_yaml import parse_yaml, read_yaml
from tunalm.recipe.rounds import write_rounds
from tunalm.recipe.selection import narrow
from tunalm.recipe.shipped import INPUT, find_recipe
from tunalm.recipe.sweeps import expand
from tunalm.redaction import holds_key, names_variable

SLICE = re.compile(r"(-?\d+)?:(-?\d+)?")
"""Rows of a file, which YAML would take for a mapping or for a time of day."""


def load_recipe(path: str | Path, overrides: Sequence[str] = (), *, limit: int | None = None) -> Recipe:
    """Read a recipe file and make it complete.

    Args:
        path: a YAML file, or the name of a shipped recipe; `tunalm.recipe.shipped.find_recipe` has the rule.
        overrides: `key=value` strings; a key is an input (`base=...`), a dotted path into one, or a dotted path from
            the top (`stages.tuna_p.margin=0.05`). Values are YAML.
        limit: at most so many rows from every data source.

    Raises:
        RecipeError: naming the file, the key and, where it stands in the file, the line.
    """
    path = find_recipe(path)
    tree, lines = read_recipe(path)
    return build_recipe(tree, overrides, limit=limit, where=str(path), lines=lines)


def build_recipe(
    tree: dict[str, Any],
    overrides: Sequence[str] = (),
    *,
    limit: int | None = None,
    where: str = "recipe",
    lines: dict[str, int] | None = None,
) -> Recipe:
    """Make a complete recipe out of plain dictionaries; arguments and errors as in `load_recipe`."""
    for pair in overrides:
        override(tree, pair)
    tree = narrow(tree, where)
    inputs = tree.get("inputs") or {}
    tree = {key: value if key == "inputs" else _fill(value, inputs, f"{where}: {key}") for key, value in tree.items()}
    refuse_keys(tree, where, lines or {})
    try:
        recipe = Recipe.model_validate(tree)
    except ValidationError as error:
        raise _explain(error, where, lines or {}) from error
    try:
        recipe, copies = write_rounds(recipe, where)
    except RecipeError:
        _check_sources(recipe, where, lines or {})  # a misspelt name is the first thing to say
        raise
    lines = (lines or {}) | {
        path.replace(f"stages.{name}", f"stages.{copy}", 1): line
        for name, each in copies.items()
        for copy in each
        for path, line in (lines or {}).items()
        if path == f"stages.{name}" or path.startswith(f"stages.{name}.")
    }
    return _spread(expand(_check_sources(recipe, where, lines), where, copies), limit)


def read_recipe(path: Path, younger: tuple[Path, ...] = ()) -> tuple[dict[str, Any], dict[str, int]]:
    """A recipe file over the one that it extends, if any, key by key, and the line of every key of the file itself.

    Evaluations come last, so that those of the extended recipe can have models that the file adds.

    Args:
        path: of the file.
        younger: files that extend it.

    Raises:
        RecipeError: a file cannot be read, or extends itself.
    """
    if path.resolve() in younger:
        raise RecipeError(path, found="it extends itself", fix="Remove `extends` from one of them.")
    tree, lines = _read_yaml(path)
    parent = tree.pop("extends", None)
    if parent is None:
        return tree, lines
    inherited, _ = read_recipe(find_recipe(str(parent), path.parent), (*younger, path.resolve()))
    merged = _over(tree, inherited)
    if isinstance(merged.get("stages"), dict):
        merged["stages"] = dict(sorted(merged["stages"].items(), key=lambda stage: _kind(stage[1]) == "evaluate"))
    return merged, lines


def _kind(stage: Any) -> Any:
    return stage.get("kind") if isinstance(stage, dict) else None


def _over(upper: dict[str, Any], lower: dict[str, Any]) -> dict[str, Any]:
    """Two mappings as one, in the order of the lower one; the upper one decides."""
    merged = dict(lower)
    for key, value in upper.items():
        both = isinstance(value, dict) and isinstance(merged.get(key), dict)
        merged[key] = _over(value, merged[key]) if both else value
    return merged


def _read_yaml(path: Path) -> tuple[dict[str, Any], dict[str, int]]:
    tree, lines = parse_yaml(read_yaml(path), path)
    if not isinstance(tree, dict):
        raise RecipeError(
            path, found="no mapping with name and stages", fix="`tunalm init quickstart` writes one to start from."
        )
    return tree, lines


def override(tree: dict[str, Any], pair: str) -> None:
    """Set what a `key=value` of the command line names, in a recipe as plain values.

    Raises:
        RecipeError: it has another form, or names no input and no part of a recipe.
    """
    key, equals, text = pair.partition("=")
    if not equals or not key.strip():
        fix = "For instance stages.tuna_p.margin=0.05 or base=embedded:smollm2."
        raise RecipeError("command line", found=f"'{pair}'", expected="key=value", fix=fix)
    where = f"command line, {key}"
    value = text if not text or SLICE.fullmatch(text) else parse_yaml(text, where)[0]
    parts = key.strip().split(".")
    inputs = tree.setdefault("inputs", {}) or {}
    tree["inputs"] = inputs
    target = tree
    if parts[0] not in Recipe.model_fields:
        if parts[0] not in inputs:
            fix = did_you_mean(parts[0], [*inputs, *Recipe.model_fields])
            raise RecipeError(where, found=f"no input of this recipe is called '{parts[0]}'", fix=fix)
        target = inputs
    stages = tree.get("stages") or {}
    if parts[0] == "stages" and len(parts) > 1 and parts[1] not in stages:
        raise RecipeError(where, found=f"there is no stage '{parts[1]}'", fix=did_you_mean(parts[1], stages))
    for depth, part in enumerate(parts[:-1]):
        inner = target.setdefault(part, {})
        if inner is None:
            inner = target[part] = {}
        if not isinstance(inner, dict):
            path = ".".join(parts[: depth + 1])
            fix = f"Replace all of it, for instance {path}={{source: ..., limit: 8}}."
            raise RecipeError(where, found=f"{path} is the plain value '{inner}', which has no parts", fix=fix)
        target = inner
    target[parts[-1]] = value


def _fill(value: Any, inputs: dict[str, Any], where: str) -> Any:
    """Replace `${name}` by the input of that name; a value that is nothing but `${name}` keeps the input's type."""
    if isinstance(value, dict):
        return {key: _fill(item, inputs, f"{where}.{key}") for key, item in value.items()}
    if isinstance(value, list):
        return [_fill(item, inputs, where) for item in value]
    if not isinstance(value, str):
        return value
    for name in INPUT.findall(value):
        if name not in inputs:
            raise RecipeError(where, found=f"${{{name}}} is no input", fix=did_you_mean(name, inputs))
        if inputs[name] is None:
            raise RecipeError(where, found=f"no value for the input '{name}'", fix=f"Add {name}=... to the command.")
    whole = INPUT.fullmatch(value)
    if whole:
        return _fill(inputs[whole[1]], {}, where) if isinstance(inputs[whole[1]], str) else inputs[whole[1]]
    return INPUT.sub(lambda match: str(inputs[match[1]]), value)


def refuse_keys(value: Any, where: str, lines: dict[str, int], path: str = "") -> None:
    """A recipe is copied into the run folder, so what must stay secret has no place in it.

    Raises:
        RecipeError: something in `value`, which stands at `path`, may be a key.
    """
    if isinstance(value, dict | list):
        for key, item in value.items() if isinstance(value, dict) else enumerate(value):
            refuse_keys(item, where, lines, f"{path}.{key}" if path else str(key))
        return
    name = path.rpartition(".")[2]
    wrong_name = name == "api_key_env" and value is not None and not names_variable(str(value))
    wrong_address = name == "base_url" and isinstance(value, str) and set(value) & {"@", "?", "#"}
    if wrong_name or wrong_address or (isinstance(value, str) and holds_key(value)):
        raise RecipeError(
            f"{where}:{lines[path]}: {path}" if path in lines else f"{where}: {path}",
            found="an address with a name, a password or a query" if wrong_address else "what may be a key itself",
            expected="no secret in a recipe, only the name (A-Z, 0-9, _) of the environment variable that holds it",
            fix="Put the key in a variable (export MY_KEY=...) and name it: api_key_env: MY_KEY.",
        )


def _explain(error: ValidationError, where: str, lines: dict[str, int]) -> RecipeError:
    """Turn pydantic's first complaint into our one line; a misspelt key comes before the one it leaves missing."""
    complaints = error.errors(include_url=False)
    first = next((one for one in complaints if one["type"] == "extra_forbidden"), complaints[0])
    parts = [str(part) for part in first["loc"]]
    kinds = {*STAGES, *ENGINES}
    tags = [part for depth, part in enumerate(parts) if part in kinds and depth > 1 and parts[depth - 1] != "stages"]
    plain = [part for depth, part in enumerate(parts) if not (part in kinds and depth > 1)]
    dotted = ".".join(plain)
    line = lines.get(f"{dotted}.kind") if first["type"] == "union_tag_invalid" else None
    line = line or _nearest_line(re.sub(r"\.(\d+)(?=\.|$)", r"[\1]", dotted), lines)
    place = f"{where}:{line}: {dotted}" if line else f"{where}: {dotted}" if dotted else where
    if first["type"] == "extra_forbidden":
        fix = did_you_mean(plain[-1], _fields_at(plain, tags))
        return RecipeError(place, found=f"unknown key '{plain[-1]}'", fix=fix)
    if first["type"] == "union_tag_invalid":
        tag = str(first.get("ctx", {}).get("tag"))
        known = STAGES if len(plain) == 2 else ENGINES
        return RecipeError(place, found=f"unknown kind '{tag}'", fix=did_you_mean(tag, known))
    message = complaint(first)
    value = repr(first["input"])[:80]
    given = "" if isinstance(first["input"], dict) or value in message else f", not {value}"
    return RecipeError(place, found=f"{message}{given}", fix="Correct it in the recipe.")


def _fields_at(parts: list[str], tags: list[str]) -> list[str]:
    """Known keys of the mapping in which an unknown one was found."""
    settings: dict[str, type[Settings]] = {**ENGINES, **STAGES}
    if len(parts) == 1:
        return list(Recipe.model_fields)
    if "data" in parts[2:-1]:
        return list(Data.model_fields)
    if "benchmarks" in parts[2:-1]:
        return list(BenchmarkSettings.model_fields)
    return list(settings[tags[-1]].model_fields) if tags else []


def _spread(recipe: Recipe, limit: int | None) -> Recipe:
    """Give the recipe's seed to stages that set none, and the limit to every data source."""
    stages = {}
    for name, stage in recipe.stages.items():
        seeded = stage if "seed" in stage.model_fields_set else stage.model_copy(update={"seed": recipe.seed})
        stages[name] = seeded if limit is None else _limited(seeded, limit)
    return recipe.model_copy(update={"stages": stages})


def _limited(stage: Stage, limit: int) -> Any:
    if isinstance(stage, Instruct):
        return stage.model_copy(update={"num_instructions": min(limit, stage.num_instructions)})

    def lower(found: Found) -> Any:
        if not isinstance(found.value, Data):
            return found.value
        most = limit if found.value.limit is None else min(found.value.limit, limit)
        return found.value.model_copy(update={"limit": most})

    return replaced(stage, lower)


def _nearest_line(path: str, lines: dict[str, int]) -> int | None:
    """Line of a key or, where a short form has no such key, of the one around it."""
    while path and path not in lines:
        path = path[: max(path.rfind("."), path.rfind("["), 0)]
    return lines.get(path)


def _check_sources(recipe: Recipe, where: str, lines: dict[str, int]) -> Recipe:
    """Check that every stage that is named exists, runs earlier and makes what is wanted."""
    earlier: dict[str, str] = {}
    for name, stage in recipe.stages.items():
        for found in walk(stage, f"stages.{name}"):
            if found.source is None:
                continue
            text, accepts = str(found.value), found.source.accepts
            line = _nearest_line(found.path, lines)
            place = f"{where}:{line}: {found.path}" if line else f"{where}: {found.path}"
            wanted = " or ".join(accepts)
            able = [key for key, made in earlier.items() if made in accepts]
            fix = did_you_mean(text, able) if able else f"Put a stage that makes {wanted} before it, or give a path."
            if text in earlier and earlier[text] not in accepts:
                problem = f"the stage '{text}' makes {earlier[text]}, and {wanted} is needed here"
                raise RecipeError(place, found=problem, fix=fix)
            if text not in earlier and text in recipe.stages:
                when = "later" if text != name else "now"
                problem = f"the stage '{text}' runs {when}, and an earlier one is needed here"
                raise RecipeError(place, found=problem, fix="Move it up.")
            if "instructions" in accepts and not able:
                continue  # a file or data set of that name is looked for when the recipe is resolved
            if text not in earlier and "/" not in text and ":" not in text and not Path(text).exists():
                problem = f"'{text}' is no earlier stage that makes {wanted}, and no path that exists"
                raise RecipeError(place, found=problem, fix=fix)
        earlier[name] = stage.produces
    return recipe
