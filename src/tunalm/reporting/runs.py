"""What the report shows of a run as a whole: its pipeline, costs, failures, and how to repeat it."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from tunalm.progress import progress
from tunalm.recipe.selection import named_stages
from tunalm.reporting.files import read_object
from tunalm.reporting.flow import flow
from tunalm.reporting.formats import plain
from tunalm.reporting.judges import alarms
from tunalm.reporting.stages import StageView, stage_view
from tunalm.reporting.svg import Svg
from tunalm.reporting.tables import Cell, Column, Table

States = Mapping[str, dict[str, Any]]


@dataclass(frozen=True)
class Run:
    """A run as the pipeline knows it."""

    path: Path
    recipe: dict[str, Any]
    """As `Recipe.model_dump(mode="json")` gives it."""
    states: States
    """What stage.json says of every stage; empty for one that has not run."""


@dataclass(frozen=True)
class RunView:
    """What the report shows of a run."""

    name: str
    flow: Svg | None
    problems: list[str]
    """What a reader must know before believing the numbers."""
    stages: list[StageView]
    seconds: float
    """Of all stages together."""
    cost: float | None
    """Dollars of all calls; None if a price is not known."""
    commands: list[str]
    manifest: dict[str, Any]
    manifest_text: str
    config: str


def run_view(name: str, run: Run) -> RunView:
    """Gather what is known of a run; anything may be missing."""
    stages: dict[str, Any] = run.recipe.get("stages", {})
    views = []
    with progress(f"reading {name}", len(stages)) as advance:
        for stage, settings in stages.items():
            views.append(stage_view(run.path / stage, stage, settings, run.states.get(stage, {})))
            advance(1)
    manifest = read_object(run.path / "manifest.json")
    costs = [line.cost for view in views for line in view.calls]
    return RunView(
        name=name,
        flow=_flow(run) if stages else None,
        problems=list(_problems(run)),
        stages=views,
        seconds=sum(state.get("seconds") or 0.0 for state in run.states.values()),
        cost=None if None in costs else sum(cost for cost in costs if cost is not None),
        commands=_commands(manifest),
        manifest=manifest,
        manifest_text=json.dumps(manifest, indent=2, ensure_ascii=False),
        config=yaml.safe_dump(run.recipe, sort_keys=False, allow_unicode=True, width=100),
    )


def _flow(run: Run) -> Svg:
    stages = run.recipe["stages"]
    kinds = {name: str(settings.get("kind", "")) for name, settings in stages.items()}
    earlier: dict[str, Any] = {}
    reads = {}
    for name, settings in stages.items():
        reads[name] = list(dict.fromkeys(named_stages(settings, earlier)))
        earlier[name] = settings
    return flow(kinds, reads, {name: state.get("status") == "done" for name, state in run.states.items()})


def _problems(run: Run) -> Iterator[str]:
    for name in run.recipe.get("stages", {}):
        state = run.states.get(name, {})
        if state.get("status") != "done":
            yield f"The stage {name} has not finished."
        elif state.get("failed") or state.get("unknown"):
            failed, unknown, requested = (state.get(key, 0) for key in ("failed", "unknown", "requested"))
            yield f"The stage {name}: {failed} failed and {unknown} unknown of {requested}."
        yield from (f"The stage {name}: {alarm}." for alarm in alarms(state.get("details")))


def _commands(manifest: Mapping[str, Any]) -> list[str]:
    """What to type to repeat a run: its versions, the command as it was given, and one that needs this page only."""
    versions = manifest.get("versions")
    pins = [
        f"{package}=={versions[package]}"
        for package in ("tunalm", "torch", "transformers")
        if isinstance(versions, Mapping) and package in versions
    ]
    given = [str(manifest["command"])] if "command" in manifest else []
    install = [shlex.join(["pip", "install", *pins])] if pins else []
    return [*install, *given, "tunalm run recipe.yaml    # or this, with the recipe below saved as recipe.yaml"]


def differences(runs: Mapping[str, Run]) -> Table | None:
    """Knobs whose values are not the same in all runs; None where all are."""
    knobs = {name: dict(_flat(run.recipe)) for name, run in runs.items()}
    rows = [
        [Cell(knob), *(Cell(plain(knobs[name].get(knob, ""))) for name in runs)]
        for knob in dict.fromkeys(knob for each in knobs.values() for knob in each)
        if len({repr(each.get(knob)) for each in knobs.values()}) > 1
    ]
    columns = [Column("knob", number=False), *(Column(name, number=False) for name in runs)]
    return Table("What differs between the recipes", columns, rows) if rows else None


def _flat(value: Any, path: Sequence[str] = ()) -> Iterator[tuple[str, Any]]:
    """Knobs of a recipe, by their whole names."""
    if isinstance(value, Mapping) and value:
        for key, item in value.items():
            yield from _flat(item, [*path, str(key)])
    else:
        yield ".".join(path), value
