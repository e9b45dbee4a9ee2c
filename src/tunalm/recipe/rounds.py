"""Rounds: sample, rank and train again, each time from the model of the round before.

`rounds: 3` on a stage `tuna` that starts from `sft` repeats `tuna` and all between the two: stages that read `sft` and
that `tuna` reads. They are written out as the stages that somebody would write by hand, `own_1`, `by_checker_1`,
`tuna_1`, `own_2` and so on, so nothing else knows of rounds. Only `patience` needs the run: the pipeline reads the
held-out scores, and `stopped` leaves out what comes after.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, cast

from tunalm.errors import RecipeError
from tunalm.recipe import (
    Data,
    EarlyStopping,
    Evaluate,
    Found,
    Recipe,
    Sample,
    Stage,
    Train,
    map_sources,
    replaced,
    sources_in,
)

START = "start"
"""What the start is called in the first held-out evaluation."""

Copies = dict[str, list[str]]
"""What the stages of rounds are called in each round, by the name that they have in the recipe."""


def write_rounds(recipe: Recipe, where: str = "recipe") -> tuple[Recipe, Copies]:
    """Write out the rounds of a recipe.

    Args:
        recipe: as it was written.
        where: names it in errors.

    Raises:
        RecipeError: a round would train on the lists of the one before, or a name is taken.
    """
    copies: Copies = {}
    for name, stage in recipe.stages.items():
        if isinstance(stage, Train) and stage.rounds is not None:
            place = f"{where}: stages.{name}.rounds"
            recipe, own = _written(recipe, name, place)
            copies |= own
    return recipe, copies


def _written(recipe: Recipe, name: str, where: str) -> tuple[Recipe, Copies]:
    """A recipe in which one stage and what it repeats are written out."""
    trained = cast(Train, recipe.stages[name])
    rounds = trained.rounds
    assert rounds is not None
    group = {each: recipe.stages[each] for each in _repeated(recipe, name, where)}
    numbers = range(1, rounds.times + 1)
    copies = {each: [f"{each}_{number}" for number in numbers] for each in group}
    scores = [f"{name}_held_out_{number}" for number in numbers] if rounds.patience is not None else []
    if taken := sorted({*scores, *(copy for each in copies.values() for copy in each)} & recipe.stages.keys()):
        fix = f"Rename it: the rounds of '{name}' take this name."
        raise RecipeError(where, found=f"there is a stage '{taken[0]}' already", fix=fix)
    stages: dict[str, Any] = {}
    latest: dict[str, str] = {}
    """What a name means so far."""
    for other, stage in recipe.stages.items():
        if isinstance(stage, Evaluate):
            stages[other] = _with_rounds(stage, name, copies[name] if name in latest else [], latest)
        elif other not in group:
            stages[other] = _renamed(stage, latest)
        elif other != name:
            stages[copies[other][0]] = _renamed(stage, latest)
            latest[other] = copies[other][0]
        else:
            for number in numbers:
                for each, settings in group.items():
                    if number == 1 and each != name:
                        continue
                    names = {} if number == 1 else {trained.start: copies[name][number - 2]}
                    names |= {inner: copies[inner][number - 1] for inner in group}
                    stages[copies[each][number - 1]] = _round(settings, names, number, trained, copies)
                if scores:
                    stages[scores[number - 1]] = _held_out(trained, copies[name][number - 1], number)
            latest |= {each: copies[each][-1] for each in group}
    stopping = dict(recipe.early_stopping)
    if rounds.patience is not None:
        stopping[name] = EarlyStopping(
            patience=rounds.patience,
            start=trained.start,
            rounds=[[copies[each][number - 1] for each in group] for number in numbers],
            scores=scores,
        )
    return recipe.model_copy(update={"stages": stages, "early_stopping": stopping}), copies


def _repeated(recipe: Recipe, name: str, where: str) -> list[str]:
    """The stages of a round: those that read the start and that the stage reads, and the stage.

    Raises:
        RecipeError: there are none that sample.
    """
    start = cast(Train, recipe.stages[name]).start
    names = list(recipe.stages)[: list(recipe.stages).index(name)]
    from_start: set[str] = set()
    for other in names:
        if {start, *from_start} & {*sources_in(recipe.stages[other])}:
            from_start.add(other)
    needed = {name}
    for other in reversed([*names, name]):
        if other in needed:
            needed.update(sources_in(recipe.stages[other]))
    found = [other for other in names if other in from_start & needed]
    if not any(isinstance(recipe.stages[other], Sample) for other in found):
        problem = f"every round would train on the same lists: nothing that '{name}' reads is sampled from '{start}'"
        raise RecipeError(where, found=problem, fix=f"Let `engine` of a `sample` stage before it be '{start}'.")
    return [*found, name]


def _round(settings: Stage, names: Mapping[str, str], number: int, trained: Train, copies: Copies) -> Stage:
    """A stage of one round, counted from 1."""
    rounds = trained.rounds
    assert rounds is not None
    if isinstance(settings, Train) and settings is trained:
        lists = [
            one.model_copy(update={"source": source})
            for one in settings.rankings
            for source in (copies[one.source][:number] if rounds.keep_lists and one.source in copies else [one.source])
        ]
        settings = settings.model_copy(update={"rounds": None, "rankings": lists})
    if isinstance(settings, Sample) and rounds.rows == "next":
        settings = replaced(settings, lambda found: _moved_on(found, number - 1))
    return cast(Stage, _renamed(settings, names))


def _moved_on(found: Found, times: int) -> Any:
    """Data that is read from so many times its own length further on."""
    data = found.value
    if not isinstance(data, Data) or not times:
        return data
    part = data.select()
    first, stop = part.start or 0, part.stop
    if first < 0 or (stop is not None and stop <= first) or (stop is None and data.limit is None):
        return data
    length = data.limit if stop is None else stop - first
    assert length is not None
    first += times * length
    return data.model_copy(update={"rows": f"{first}:{first + length}"})


def _held_out(trained: Train, model: str, number: int) -> Evaluate:
    """The evaluation after a round."""
    rounds = trained.rounds
    assert rounds is not None
    how = {"template": trained.template, "template_args": trained.template_args}
    asked = {START: trained.start, model: model} if number == 1 else {model: model}
    models = {key: {"kind": "huggingface", "model": source, **how} for key, source in asked.items()}
    return Evaluate.model_validate({"models": models, "benchmarks": [rounds.held_out]})


def _renamed(settings: Any, names: Mapping[str, str]) -> Any:
    return map_sources(settings, lambda text, source, where: names.get(text, text), "")


def _with_rounds(stage: Evaluate, name: str, copies: Sequence[str], latest: Mapping[str, str]) -> Evaluate:
    """An evaluation with a row for every round of a model."""
    models: dict[str, Any] = {}
    last: dict[str, str] = {}
    for key, engine in stage.models.items():
        if name not in sources_in(engine) or not copies:
            models[key] = _renamed(engine, latest)
            continue
        for number, copy in enumerate(copies, 1):
            last[key] = f"{key}_{number}"
            models[last[key]] = _renamed(engine, {**latest, name: copy})
    benchmarks = [
        _renamed(each, latest).model_copy(update={"against": each.against and last.get(each.against, each.against)})
        for each in stage.benchmarks
    ]
    return stage.model_copy(update={"models": models, "benchmarks": benchmarks})


def stopped(recipe: Recipe, name: str, ran: int, best: int) -> Recipe:
    """A recipe in which a model stops being trained after a round, and later stages read the best one.

    Args:
        recipe: whose rounds are written out.
        name: of the model in `early_stopping`.
        ran: rounds that stay.
        best: the round whose model is taken; 0 is the start.
    """
    group = recipe.early_stopping[name]
    own = {stage for each in group.rounds for stage in each}
    gone = {stage for each in group.rounds[ran:] for stage in each}
    last, taken = group.rounds[-1], group.rounds[max(best, 1) - 1]
    instead = {**dict(zip(last, taken, strict=True)), last[-1]: taken[-1] if best else group.start}
    stages: dict[str, Any] = {}
    for other, stage in recipe.stages.items():
        if other in gone:
            continue
        if other in own or other in group.scores[:ran]:
            stages[other] = stage
        elif not isinstance(stage, Evaluate):
            stages[other] = _renamed(stage, instead)
        elif models := {key: each for key, each in stage.models.items() if not gone & {*sources_in(each)}}:
            reads = {key: sources_in(each) for key, each in stage.models.items()}
            chosen = next((key for key in models if instead[last[-1]] in reads[key]), next(iter(models)))
            lasts = {key for key in reads if last[-1] in reads[key]}
            benchmarks = [
                _renamed(each, instead).model_copy(
                    update={"against": chosen if each.against in lasts else each.against}
                )
                for each in stage.benchmarks
            ]
            stages[other] = stage.model_copy(update={"models": models, "benchmarks": benchmarks})
    kept = group.model_copy(update={"rounds": group.rounds[:ran], "scores": group.scores[:ran], "best": best})
    stopping = {**recipe.early_stopping, name: kept}
    return recipe.model_copy(update={"stages": stages, "early_stopping": stopping})


def said(recipe: Recipe) -> list[str]:
    """What was decided, a sentence for each model."""
    sentences = []
    for name, group in recipe.early_stopping.items():
        if group.best is None:
            continue
        finding = f"round {group.best} is the best" if group.best else "no round beats the start"
        model = group.rounds[group.best - 1][-1] if group.best else group.start
        ran = len(group.rounds)
        sentences.append(f"{name} ends with round {ran}: {finding} on held-out rows, so later stages read {model}.")
    return sentences
