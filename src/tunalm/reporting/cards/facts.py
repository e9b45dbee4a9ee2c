"""What is known of how a stage's model or lists came to be, from the recipe and from what its stages put down.

Tables are lists of rows, in the columns of the card's templates.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from tunalm.data.sources import is_hub_dataset
from tunalm.extensions import is_object
from tunalm.recipe import (
    Data,
    Evaluate,
    FromLists,
    Local,
    Rank,
    Recipe,
    Reinforce,
    Sample,
    Sft,
    settings_in,
    sources_in,
)
from tunalm.records import EvaluationResults, Interval, Result, StageState
from tunalm.reporting.cards import public
from tunalm.reporting.formats import metric
from tunalm.store import read_record

Trained = Sft | FromLists | Reinforce
"""Stages that make a model."""
States = Mapping[str, StageState]
"""What stage.json says, by stage: counts and details."""
TableRow = list[object]


@dataclass(frozen=True)
class Origin:
    """Where lists of responses come from."""

    sampled_by: str = "not stated"
    num_responses: int | None = None
    ranked_by: str | None = None
    """None for lists that nobody ranked."""


def ancestors(recipe: Recipe, name: str) -> list[str]:
    """Stages that a stage was made from, itself included, in the order in which they ran."""
    wanted, waiting = {name}, [name]
    while waiting:
        new = recipe.stages.keys() & set(sources_in(recipe.stages[waiting.pop()])) - wanted
        wanted |= new
        waiting += new
    return [each for each in recipe.stages if each in wanted]


def lineage(recipe: Recipe, name: str) -> tuple[str, list[str]]:
    """The model that a model goes back to, and the stages that trained it since then, the first one first."""
    stages: list[str] = []
    source = name
    while source in recipe.stages:
        stages.append(source)
        source = _start(recipe, source)
    return source, stages[::-1]


def training_steps(recipe: Recipe, states: States, stages: list[str]) -> list[TableRow]:
    """Name, kind, start, rows, optimizer steps and last loss of training stages."""
    rows: list[TableRow] = []
    for name in stages:
        counted = states.get(name, StageState()).details
        loss = f"{counted['loss']:.3f}" if "loss" in counted else None
        started = public.model_name(_start(recipe, name), recipe.stages)
        rows.append([name, recipe.stages[name].kind, started, counted.get("trained"), counted.get("steps"), loss])
    return rows


def _start(recipe: Recipe, name: str) -> str:
    stage = recipe.stages[name]
    assert isinstance(stage, Trained)
    return stage.model if isinstance(stage, Sft) else stage.start


def instructions(recipe: Recipe, names: list[str]) -> list[TableRow]:
    """Name, part and licence of the sources of instructions of some stages, each once."""
    found: dict[tuple[object, ...], None] = {}
    for data in settings_in([recipe.stages[name] for name in names], Data):
        rows = "" if data.rows == ":" else f"rows {data.rows}"
        limit = "" if data.limit is None else f"at most {data.limit}"
        part = ", ".join(filter(None, [rows, limit])) or "all"
        written = f"written by the stage {data.source}" if data.source in recipe.stages else public.data_name(data)
        found[written, part, public.data_license(data) or "not stated"] = None
    return [list(row) for row in found]


def hub_datasets(recipe: Recipe, names: list[str]) -> list[str]:
    """Ids of data sets of the hub that some stages read."""
    read = settings_in([recipe.stages[name] for name in names], Data)
    return list(dict.fromkeys(data.source for data in read if is_hub_dataset(data.source)))


def origin(recipe: Recipe, name: str) -> Origin:
    """What is known of the lists of a stage that samples or ranks, or of a file of such."""
    stage = recipe.stages.get(name)
    if isinstance(stage, Sample):
        return Origin(public.engine_name(stage.engine, recipe.stages), stage.num_responses)
    if not isinstance(stage, Rank):
        return Origin(ranked_by="not stated")
    before = origin(recipe, stage.responses)
    return Origin(before.sampled_by, before.num_responses, _ranked_by(stage, recipe))


def _ranked_by(stage: Rank, recipe: Recipe) -> str:
    """Who ranked, as a text; the settings of the stage say the rest."""
    parts: list[str] = [
        f"a ranker of the user's own, {stage.by.rpartition(':')[2]}" if is_object(stage.by) else stage.by
    ]
    if stage.model is not None:
        parts.append(public.model_name(stage.model, recipe.stages))
    parts += [] if stage.fallback is None else ["where it is not sure, a judge"]
    if stage.engine is not None:
        parts.append(public.engine_name(stage.engine, recipe.stages))
    return ", ".join(parts) + ("; below that, what a program finds wrong" if stage.veto else "")


def lists_behind(recipe: Recipe, names: list[str]) -> list[TableRow]:
    """Name, size, writer and ranker of the lists that some training stages learned from."""
    found: dict[str, None] = {}
    for name in names:
        stage = recipe.stages[name]
        if isinstance(stage, FromLists):
            found |= dict.fromkeys(part.source for part in stage.rankings)
        elif isinstance(stage, Sft) and stage.responses is not None:
            found[stage.responses] = None
    rows: list[TableRow] = []
    for name in found:
        made = origin(recipe, name)
        shown = name if name in recipe.stages else f"a local file, {Path(name).name}"
        rows.append([shown, made.num_responses, made.sampled_by, made.ranked_by or "nobody"])
    return rows


def scores(recipe: Recipe, states: States, run: Path, model: str) -> tuple[list[TableRow], list[str]]:
    """What the finished evaluations of a run say of the model of a stage: rows of values, and notes.

    A row has benchmark, metric, value, its interval, the baseline of the evaluation, its value, the interval of
    the difference, instructions and failed answers; the columns of a baseline itself are empty.
    """
    rows: list[TableRow] = []
    notes = []
    for name, stage in recipe.stages.items():
        if not (isinstance(stage, Evaluate) and states.get(name, StageState()).done):
            continue
        results = read_record(run / name / "results.json", EvaluationResults)
        for label, engine in stage.models.items():
            known = results is not None and label in results.models  # the results may be those of a smaller recipe
            if results is None or not known or not isinstance(engine, Local) or engine.model != model:
                continue
            for benchmark, result in results.models[label].results.items():
                rows.append(_score(results, label, benchmark, result))
                notes += [f"{benchmark}: {result.note}"] if result.note else []
    return rows, notes


def _score(results: EvaluationResults, label: str, benchmark: str, result: Result) -> TableRow:
    digits = metric(result.metric).digits
    row: TableRow = [benchmark, result.metric, _number(result.value, digits), _interval(result.ci95, digits)]
    row += [None, None, None]
    baseline = results.baseline
    if label != baseline:
        between = next(
            (
                each.ci95
                for each in results.comparisons
                if (each.benchmark, each.model, each.against) == (benchmark, label, baseline)
            ),
            None,
        )
        row[4:] = [baseline, _number(results.on(benchmark)[baseline].value, digits), _interval(between, digits)]
    return [*row, result.n, result.failed]


def _number(value: float | None, digits: int) -> str | None:
    return None if value is None else f"{value:.{digits}f}"


def _interval(ends: Interval | None, digits: int) -> str | None:
    return None if ends is None else f"{ends[0]:.{digits}f} to {ends[1]:.{digits}f}"
