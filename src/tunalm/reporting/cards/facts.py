"""What is known of how a stage's model or lists came to be, from the recipe and from what its stages have put down."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tunalm.data.sources import is_hub_dataset
from tunalm.recipe import (
    Data,
    Evaluate,
    FromLists,
    Local,
    Rank,
    Recipe,
    Reinforce,
    Sample,
    Settings,
    Sft,
    Source,
    map_sources,
)
from tunalm.reporting.cards import public

Trained = Sft | FromLists | Reinforce
"""Stages that make a model."""

States = Mapping[str, Mapping[str, Any]]
"""What stage.json says, by stage: counts and details."""


@dataclass(frozen=True)
class Step:
    """A training stage on the way to a model."""

    name: str
    kind: str
    start: str
    details: Mapping[str, Any]
    """What the stage counted; empty if it has not run."""


@dataclass(frozen=True)
class Rows:
    """A source of instructions."""

    name: str
    license: str | None
    part: str
    """Which rows of it, as a text; empty if all."""


@dataclass(frozen=True)
class Lists:
    """Responses, and their order if somebody ranked them."""

    name: str
    sampled_by: str
    num_responses: int | None
    ranked_by: str | None
    counts: Mapping[str, Any]
    """`requested`, `ok`, `failed`, `unknown` and details of the stage."""


@dataclass(frozen=True)
class Score:
    """The value of a model on a benchmark, 0-100, beside that of the baseline of its evaluation."""

    benchmark: str
    metric: str
    value: float | None
    interval: list[float] | None
    n: int
    failed: int
    note: str
    baseline: str | None
    """None for the baseline itself."""
    baseline_value: float | None
    difference: list[float] | None
    """95 % interval of the difference to the baseline, both on the same instructions."""


def sources_of(settings: Settings) -> list[str]:
    """Names of everything that a stage reads by name."""
    found: list[str] = []

    def note(text: str, source: Source, where: str) -> str:
        found.append(text)
        return text

    map_sources(settings, note, "")
    return found


def ancestors(recipe: Recipe, name: str) -> list[str]:
    """Stages that a stage was made from, itself included, in the order in which they ran."""
    wanted, waiting = {name}, [name]
    while waiting:
        for source in sources_of(recipe.stages[waiting.pop()]):
            if source in recipe.stages and source not in wanted:
                wanted.add(source)
                waiting.append(source)
    return [each for each in recipe.stages if each in wanted]


def training_line(recipe: Recipe, states: States, name: str) -> tuple[str, list[Step]]:
    """The model that a model goes back to, and the stages that trained it since then, the first one first."""
    steps: list[Step] = []
    source = name
    while source in recipe.stages:
        stage = recipe.stages[source]
        assert isinstance(stage, Trained)
        start = stage.model if isinstance(stage, Sft) else stage.start
        started = public.model_name(start, recipe.stages)
        steps.append(Step(source, stage.kind, started, states.get(source, {}).get("details") or {}))
        source = start
    return source, steps[::-1]


def instructions(recipe: Recipe, names: list[str]) -> list[Rows]:
    """Sources of instructions of some stages, each once."""
    found: dict[Rows, None] = {}
    for name in names:
        for data in _data_in(recipe.stages[name]):
            rows = "" if data.rows == ":" else f"rows {data.rows}"
            limit = "" if data.limit is None else f"at most {data.limit}"
            part = ", ".join(filter(None, [rows, limit]))
            found[Rows(public.data_name(data), public.data_license(data), part)] = None
    return list(found)


def hub_datasets(recipe: Recipe, names: list[str]) -> list[str]:
    """Ids of data sets of the hub that some stages read."""
    sources = [data.source for name in names for data in _data_in(recipe.stages[name])]
    return list(dict.fromkeys(source for source in sources if is_hub_dataset(source)))


def _data_in(value: Any) -> Iterator[Data]:
    if isinstance(value, Data):
        yield value
    elif isinstance(value, Settings):
        for name in type(value).model_fields:
            yield from _data_in(getattr(value, name))
    elif isinstance(value, dict | list):
        for item in value.values() if isinstance(value, dict) else value:
            yield from _data_in(item)


def lists(recipe: Recipe, states: States, name: str) -> Lists:
    """What is known of the lists of a stage that samples or ranks, or of a file of such."""
    if name not in recipe.stages:
        return Lists(f"a local file, {Path(name).name}", "not stated", None, "not stated", {})
    stage, counts = recipe.stages[name], states.get(name, {})
    if isinstance(stage, Sample):
        return Lists(name, public.engine_name(stage.engine, recipe.stages), stage.num_responses, None, counts)
    assert isinstance(stage, Rank)
    responses = lists(recipe, states, stage.responses)
    return Lists(name, responses.sampled_by, responses.num_responses, _ranked_by(stage, recipe), counts)


def _ranked_by(stage: Rank, recipe: Recipe) -> str:
    """Who ranked, as a text."""
    engine = None if stage.engine is None else public.engine_name(stage.engine, recipe.stages)
    scorer = f" under {engine}" if engine and stage.by == "likelihood" else ""
    says = {
        "likelihood": f"their log-probability{scorer}, divided by length^{stage.length_penalty:g} (Eq. 3)",
        "judge": f"a judge, {engine}",
        "verifier": "a program that checks them",
        "proxy": f"a proxy ranking model, {public.model_name(stage.model, recipe.stages) if stage.model else '-'}",
    }
    text = says.get(stage.by, f"a ranker of the user's own, {stage.by.rpartition(':')[2]}")
    text += f"; lists of which it is not sure, by a judge, {engine}" if stage.fallback else ""
    return text + ("; what a program finds wrong, below what it finds right" if stage.veto else "")


def lists_behind(recipe: Recipe, states: States, names: list[str]) -> list[Lists]:
    """The lists that training stages among some stages learned from."""
    found: dict[str, None] = {}
    for name in names:
        stage = recipe.stages[name]
        if isinstance(stage, FromLists):
            found |= dict.fromkeys(part.source for part in stage.rankings)
        elif isinstance(stage, Sft) and stage.responses is not None:
            found[stage.responses] = None
    return [lists(recipe, states, name) for name in found]


def scores(recipe: Recipe, states: States, run: Path, model: str) -> list[Score]:
    """What the evaluations of a run that are done say of the model of a stage."""
    found = []
    for name, stage in recipe.stages.items():
        if isinstance(stage, Evaluate) and states.get(name, {}).get("status") == "done":
            results = _results(run / name / "results.json")
            for label, engine in stage.models.items():
                if isinstance(engine, Local) and engine.model == model:
                    found += list(_scores(results, label))
    return found


def _results(path: Path) -> dict[str, Any]:
    try:
        results = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return results if isinstance(results, dict) and {"models", "baseline", "comparisons"} <= results.keys() else {}


def _scores(results: Mapping[str, Any], label: str) -> Iterator[Score]:
    models = results.get("models", {})
    if label not in models:
        return
    baseline = None if results["baseline"] == label else results["baseline"]
    between = {
        each["benchmark"]: each["ci95"]
        for each in results["comparisons"]
        if (each["model"], each["against"]) == (label, baseline)
    }
    for benchmark, result in models[label]["results"].items():
        other = models[baseline]["results"].get(benchmark, {}) if baseline is not None else {}
        yield Score(
            benchmark=benchmark,
            metric=result["metric"],
            value=result["value"],
            interval=result["ci95"],
            n=result["n"],
            failed=result["failed"],
            note=result.get("note", ""),
            baseline=baseline,
            baseline_value=other.get("value"),
            difference=between.get(benchmark),
        )
