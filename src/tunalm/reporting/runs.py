"""What the report shows of a run as a whole: its pipeline, costs, failures, and how to repeat it."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import yaml

from tunalm.calls.budget import dollars
from tunalm.engines.remedies import remedy
from tunalm.progress import tracked
from tunalm.recipe import sources_in
from tunalm.recipe.rounds import said
from tunalm.records import Manifest, StageState, StudyScores
from tunalm.reporting.formats import duration, plain
from tunalm.reporting.run import Run
from tunalm.reporting.stages import StageView, stage_view
from tunalm.reporting.tables import Cell, Column, Table, table
from tunalm.store import read_record


@dataclass(frozen=True)
class RunView:
    """What the report shows of a run."""

    name: str
    problems: list[str]
    """What a reader must know before believing the numbers."""
    study: StudyScores | None
    stages: list[StageView]
    counts: Table
    calls: Table
    failures: Table
    said: list[str]
    """How long all took, what it cost, and which rounds were left out."""
    commands: list[str]
    manifest: Manifest | None
    config: str


def run_view(name: str, run: Run) -> RunView:
    """Gather what is known of a run; anything may be missing."""
    views: list[StageView] = []
    for stage, settings in tracked(list(run.recipe.stages.items()), f"reading {name}"):
        views.append(stage_view(run.path / stage, stage, settings, run.states.get(stage, StageState())))
    manifest = read_record(run.path / "manifest.json", Manifest)
    recipe = run.recipe.model_dump(mode="json")
    return RunView(
        name=name,
        problems=list(_problems(views)),
        study=read_record(run.path / "study" / "scores.json", StudyScores),
        stages=views,
        counts=_counts_table(name, run, views),
        calls=_calls_table(name, views),
        failures=_failures_table(name, views),
        said=[*_totals(views), *said(run.recipe)],
        commands=_commands(manifest or Manifest()),
        manifest=manifest,
        config=yaml.safe_dump(recipe, sort_keys=False, allow_unicode=True, width=100),
    )


def _problems(views: Sequence[StageView]) -> Iterator[str]:
    for view in views:
        state = view.state
        if not state.done:
            yield f"The stage {view.name} has not finished."
        elif state.failed or state.unknown:
            counts = f"{state.failed} failed and {state.unknown} unknown of {state.requested}"
            yield f"The stage {view.name}: {counts}."
        if state.edited:
            files = ", ".join(state.edited)
            yield f"The stage {view.name}: {files} was edited by hand; later stages read the edited version."
        yield from (f"The stage {view.name}: {warning}." for warning in view.warnings)


def _counts_table(name: str, run: Run, views: Sequence[StageView]) -> Table:
    rows = []
    for view in views:
        state = view.state
        counts = [plain(count) for count in (state.requested, state.ok, state.failed, state.unknown)]
        status = state.status + (", edited by hand" if state.edited else "")
        reads = [source for source in sources_in(run.recipe.stages[view.name]) if source in run.recipe.stages]
        words = [view.name, view.kind, ", ".join(dict.fromkeys(reads)), status]
        rows.append([*words, *counts, duration(state.seconds)])
    names = ["requested", "ok", "failed", "unknown", "time"]
    return table(f"Stages of {name}", ["stage", "kind", "reads", "state"], names, rows)


def _calls_table(name: str, views: Sequence[StageView]) -> Table:
    numbers = ("answered", "from_ledger", "unknown", "calls", "prompt_tokens", "cached_tokens", "completion_tokens")
    names = [*numbers, "reasoning_tokens"]
    rows = [
        [
            view.name,
            engine,
            *(plain(getattr(account, number)) for number in names),
            "unknown" if account.cost is None else dollars(account.cost),
        ]
        for view in views
        for engine, account in view.calls.items()
    ]
    headings = [number.replace("_", " ") for number in names]
    return table(f"Calls and costs of {name}", ["stage", "model"], [*headings, "cost"], rows)


def _failures_table(name: str, views: Sequence[StageView]) -> Table:
    rows: list[list[str | Cell]] = [
        [view.name, Cell(reason, note=remedy(reason).advice), plain(count)]
        for view in views
        for reason, count in view.failures.items()
    ]
    return table(f"What failed in {name}", ["stage", "reason, and what to do"], ["times"], rows)


def _totals(views: Sequence[StageView]) -> Iterator[str]:
    yield f"All stages together took {duration(sum(view.state.seconds or 0.0 for view in views))}."
    costs = [account.cost for view in views for account in view.calls.values()]
    known = [cost for cost in costs if cost is not None]
    if len(known) < len(costs):
        yield "The price of some calls is not known."
    elif costs:
        yield f"All calls together cost {dollars(sum(known))}."


def _commands(manifest: Manifest) -> list[str]:
    """What to type to repeat a run: its versions, the command as it was given, and one that needs this page only."""
    packages = [name for name in ("tunalm", "torch", "transformers") if name in manifest.versions]
    install = [shlex.join(["pip", "install", *(f"{name}=={manifest.versions[name]}" for name in packages)])]
    given = [manifest.command] if manifest.command else []
    return [
        *(install if packages else []),
        *given,
        "tunalm run recipe.yaml    # or this, with the recipe below saved as recipe.yaml",
    ]


def differences(runs: Mapping[str, Run]) -> Table | None:
    """Knobs whose values are not the same in all runs; None where all are."""
    knobs = {name: dict(_flat(run.recipe.model_dump(mode="json"))) for name, run in runs.items()}
    rows = [
        [Cell(knob), *(Cell(plain(knobs[name].get(knob, ""))) for name in runs)]
        for knob in dict.fromkeys(knob for each in knobs.values() for knob in each)
        if len({repr(each.get(knob)) for each in knobs.values()}) > 1
    ]
    columns = [Column("knob", number=False), *(Column(name, number=False) for name in runs)]
    return Table("What differs between the recipes", columns, rows) if rows else None


def _flat(value: object, path: Sequence[str] = ()) -> Iterator[tuple[str, object]]:
    """Knobs of a recipe, by their whole names."""
    if isinstance(value, Mapping) and value:
        for key, item in value.items():
            yield from _flat(item, [*path, str(key)])
    else:
        yield ".".join(path), value
