"""Sweeps: one recipe that holds every variant of another, and shares what does not vary.

A value of a sweep reaches the stage that it is a knob of (`seed`: every stage that has no seed of its own) and all that
read from it. Such a stage is written out once per combination of the values that reach it; a stage that nothing reaches
stays as it is. An evaluation stays one stage, with a model for every variant, so that all are in one table.

A variant is named for its values, as in `tuna~mle_weight=0.1,seed=2`, and nothing but the name says that it is one.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

from pydantic import BaseModel, ValidationError

from tunalm.errors import RecipeError, complaint, did_you_mean
from tunalm.recipe import EarlyStopping, Evaluate, Recipe, Settings, Source, Stage, map_sources, sources_in

SEED = "seed"
MARK = "~"

Values = dict[str, Any]
"""A value for each of some axes, by the name of the axis."""


@dataclass(frozen=True)
class _Axis:
    """A knob and the values that it takes."""

    name: str
    stages: Sequence[str]
    """Whose knob it is: one stage, or its copies in all rounds; empty for the seed of all stages."""
    path: tuple[str, ...]
    values: Sequence[Any]


def expand(recipe: Recipe, where: str = "recipe", copies: Mapping[str, Sequence[str]] | None = None) -> Recipe:
    """Write out the sweep of a recipe.

    Args:
        recipe: whose stages name each other correctly.
        where: names it in errors.
        copies: what stages that run in rounds are called in each; a knob of such a stage is one of all its rounds.

    Raises:
        RecipeError: an axis is no knob of a stage, or has no values.
    """
    if not recipe.sweep:
        return recipe
    axes = _axes(recipe, where, copies or {})
    reaching: dict[str, list[str]] = {}
    stages: dict[str, Any] = {}
    for name, stage in recipe.stages.items():
        if isinstance(stage, Evaluate):
            reaching[name] = []
            stages[name] = _with_variants(stage, reaching, axes)
            continue
        inherited = {axis for source in sources_in(stage) for axis in reaching.get(source, ())}
        reaching[name] = [axis.name for axis in axes.values() if axis.name in inherited or _is_own(axis, name, stage)]
        for values in _combinations(reaching[name], axes):
            changed: Any = stage
            for axis in axes.values():
                if axis.name in values and _is_own(axis, name, stage):
                    place = f"{where}: sweep.{'.'.join([*axis.stages[:1], *axis.path])}"
                    changed = _set(changed, axis.path, values[axis.name], place)
            stages[label(name, values)] = _renamed(changed, reaching, values)
    stopping = _each_stopping(recipe.early_stopping, reaching, axes)
    return recipe.model_copy(update={"stages": stages, "sweep": {}, "early_stopping": stopping})


def label(name: str, values: Mapping[str, Any]) -> str:
    """What the variant of a stage, or of a model, is called."""
    if not values:
        return name
    return f"{name}{MARK}{','.join(f'{axis}={_plain(value)}' for axis, value in values.items())}"


def read_label(text: str) -> tuple[str, dict[str, str]]:
    """The name without its values, and these by axis."""
    name, _, values = text.partition(MARK)
    pairs = (pair.partition("=") for pair in values.split(",")) if values else ()
    return name, {axis: value for axis, _, value in pairs}


def _axes(recipe: Recipe, where: str, copies: Mapping[str, Sequence[str]]) -> dict[str, _Axis]:
    axes: dict[str, _Axis] = {}
    for key, values in recipe.sweep.items():
        place = f"{where}: sweep.{key}"
        if not values or len({_plain(value) for value in values}) < len(values):
            fix = f"For instance {key}: [0, 1, 10]."
            raise RecipeError(place, found=f"{values}", expected="values that differ", fix=fix)
        stage, *path = key.split(".")
        if key == SEED:
            axes[SEED] = _Axis(SEED, (), (SEED,), values)
            continue
        stages = copies.get(stage, [stage])
        if stages[0] not in recipe.stages or isinstance(recipe.stages[stages[0]], Evaluate) or not path:
            known = [*copies, *(name for name, each in recipe.stages.items() if not isinstance(each, Evaluate))]
            expected = "STAGE.KNOB, of a stage that makes something, or seed"
            raise RecipeError(place, found=f"'{stage}'", expected=expected, fix=did_you_mean(stage, known))
        twice = any(other.split(".")[-1] == path[-1] for other in recipe.sweep if other != key)
        name = key if twice else path[-1]
        if path[0] == "rounds" or len({repr(_knob(recipe.stages[each], path)) for each in stages}) > 1:
            fix = "Sweep another knob; an evaluation has a row for every round anyway."
            raise RecipeError(place, found="a knob that the rounds themselves set", fix=fix)
        axes[name] = _Axis(name, stages, tuple(path), values)
    return axes


def _is_own(axis: _Axis, name: str, stage: Stage) -> bool:
    """Whether an axis is a knob of this stage."""
    return name in axis.stages or (not axis.stages and SEED not in stage.model_fields_set)


def _knob(settings: Any, path: Sequence[str]) -> Any:
    """The value of a knob; None where there is none, which `_set` refuses."""
    for part in path:
        within = isinstance(settings, list) and part.isdecimal() and int(part) < len(settings)
        settings = settings[int(part)] if within else getattr(settings, part, None)
    return settings


def _combinations(names: Sequence[str], axes: Mapping[str, _Axis]) -> Iterator[Values]:
    for values in product(*(axes[name].values for name in names)):
        yield dict(zip(names, values, strict=True))


def _set(settings: Any, path: Sequence[str], value: Any, where: str) -> Any:
    """A copy of settings with a value, checked as if it stood in the recipe."""
    first, *rest = path
    if isinstance(settings, list) and first.isdecimal() and int(first) < len(settings):
        number = int(first)
        inner = _set(settings[number], rest, value, where) if rest else value
        return [*settings[:number], inner, *settings[number + 1 :]]
    if not isinstance(settings, Settings) or first not in type(settings).model_fields:
        fields = list(type(settings).model_fields) if isinstance(settings, BaseModel) else []
        raise RecipeError(where, found=f"'{first}'", expected="a knob", fix=did_you_mean(first, fields))
    value = _set(getattr(settings, first), rest, value, where) if rest else value
    given = {name: getattr(settings, name) for name in settings.model_fields_set}
    try:
        return type(settings).model_validate(given | {first: value})
    except ValidationError as error:
        message = complaint(error.errors(include_url=False)[0])
        raise RecipeError(where, found=f"{value!r}: it {message}", fix="Correct it in the recipe.") from error


def _renamed(value: Any, reaching: Mapping[str, Sequence[str]], values: Values) -> Any:
    """Settings that name, for each stage they read, its variant under these values."""

    def rename(text: str, source: Source, where: str) -> str:
        return label(text, {axis: values[axis] for axis in reaching.get(text, ())})

    return map_sources(value, rename, "")


def _with_variants(stage: Evaluate, reaching: Mapping[str, Sequence[str]], axes: Mapping[str, _Axis]) -> Evaluate:
    """An evaluation with a model for every variant; what a benchmark names is its first variant."""
    models = {}
    for name, engine in stage.models.items():
        found = {axis for source in sources_in(engine) for axis in reaching.get(source, ())}
        for values in _combinations([axis for axis in axes if axis in found], axes):
            models[label(name, values)] = _renamed(engine, reaching, values)
    first = {axis.name: axis.values[0] for axis in axes.values()}
    firsts = {read_label(name)[0]: name for name in reversed(models)}
    benchmarks = []
    for benchmark in stage.benchmarks:
        against = benchmark.against and firsts.get(benchmark.against, benchmark.against)
        benchmarks.append(_renamed(benchmark, reaching, first).model_copy(update={"against": against}))
    return stage.model_copy(update={"models": models, "benchmarks": benchmarks})


def _each_stopping(
    stopping: Mapping[str, EarlyStopping], reaching: Mapping[str, Sequence[str]], axes: Mapping[str, _Axis]
) -> dict[str, EarlyStopping]:
    """Every variant of a model stops by itself."""
    each: dict[str, EarlyStopping] = {}
    for name, group in stopping.items():
        for values in _combinations(reaching[group.rounds[-1][-1]], axes):

            def variant(stage: str, values: Values = values) -> str:
                return label(stage, {axis: values[axis] for axis in reaching.get(stage, ())})

            rounds = [[variant(stage) for stage in stages] for stages in group.rounds]
            each[label(name, values)] = group.model_copy(update={"start": variant(group.start), "rounds": rounds})
    return each


def _plain(value: Any) -> str:
    """A value as a part of a file name."""
    return re.sub(r"[^\w.+-]+", "", str(value)) or "empty"
