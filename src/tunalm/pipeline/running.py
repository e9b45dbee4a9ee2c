"""Runs a recipe: named stages in order, what is done is skipped, what is not is gone on with.

This is the only module that knows all stages. A stage's fingerprint is a hash of its settings and of everything that
it reads, so a changed knob runs that stage and those that depend on it, and nothing else.
"""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, cast

import yaml
from pydantic import ValidationError

from tunalm.calls.budget import Budget
from tunalm.calls.context import StageContext
from tunalm.calls.prices import load_prices
from tunalm.calls.spending import Account, accounts, accounts_since, spent
from tunalm.data.sources import require_source
from tunalm.engines.checking import check_templates, check_weights
from tunalm.engines.models import engine_identity, model_identity
from tunalm.errors import RecipeError, StoreError
from tunalm.progress import console, is_main_process
from tunalm.recipe import (
    Data,
    EndpointSettings,
    Found,
    Recipe,
    Served,
    Settings,
    Source,
    Stage,
    map_sources,
    replaced,
    settings_in,
)
from tunalm.records import StageState
from tunalm.redaction import without_keys
from tunalm.reporting.cards import write_card
from tunalm.store import RunFolder, Summary, digest, file_digest, write_json, write_text

Runner = Callable[[Any, StageContext], Summary]

RUNNERS = {
    "sft": "tunalm.training:run_sft",
    "sample": "tunalm.sampling:run",
    "rank": "tunalm.ranking:run",
    "train": "tunalm.training:run_train",
    "proxy": "tunalm.training:run_proxy",
    "rl": "tunalm.training:run_rl",
    "evaluate": "tunalm.evaluation:run",
}
"""Kind of stage -> module:function; imported when the stage runs."""

MADE = {
    "model": "model",
    "proxy": "model",
    "responses": "responses.jsonl",
    "rankings": "rankings.jsonl",
    "results": "results.json",
}
"""What a stage makes -> its name in the stage's folder."""

ALL_PROCESSES = {"sft", "train", "proxy", "rl"}
"""Kinds in which every process of a multi-process launch takes part; the main one does the others alone."""

PACKAGES = ("tunalm", "torch", "transformers", "accelerate", "peft", "datasets", "openai", "pydantic", "numpy")


@dataclass(frozen=True)
class Step:
    """A stage with all names resolved."""

    name: str
    kind: str
    settings: Stage
    fingerprint: str
    done: bool


def plan(recipe: Recipe, run: RunFolder) -> list[Step]:
    """Resolve every stage and find out which are done.

    Raises:
        ModelError, DataError: something that a stage reads does not exist.
    """
    steps: list[Step] = []
    fingerprints: dict[str, str] = {}
    for name, stage in recipe.stages.items():
        fingerprint = _fingerprint(stage, fingerprints, name)
        revision = run.revision(name, fingerprint)
        fingerprints[name] = f"{fingerprint}/{revision}" if revision else fingerprint
        resolved = cast(Stage, map_sources(stage, _resolver(recipe, run), f"stages.{name}"))
        done = run.is_done(name, fingerprint) or run.is_kept(name, fingerprint)
        steps.append(Step(name, cast(Any, stage).kind, resolved, fingerprint, done))
    return steps


def _resolver(recipe: Recipe, run: RunFolder) -> Callable[[str, Source, str], str]:
    def resolve(text: str, source: Source, where: str) -> str:
        if text in recipe.stages:
            return str(run.folder(text) / MADE[recipe.stages[text].produces])
        return text

    return resolve


def _fingerprint(stage: Stage, earlier: dict[str, str], name: str) -> str:
    """Hash of what decides a stage's result: its knobs, the stages it names, the files and models it reads."""

    def identify(text: str, source: Source, where: str) -> str:
        if text in earlier:
            return f"stage@{earlier[text]}"
        if {"model", "proxy"} & set(source.accepts):
            return model_identity(text, where)
        return f"file@{file_digest(Path(text))}"

    named = map_sources(stage, identify, f"stages.{name}")
    return digest([replaced(named, _deciding), identities(stage)])


def _deciding(found: Found) -> Any:
    """Settings as plain values, without those that cannot change what a stage makes."""
    if not isinstance(found.value, Settings):
        return found.value
    names = [name for name in type(found.value).model_fields if name not in found.value.not_hashed]
    return {name: getattr(found.value, name) for name in names}


def identities(stage: Stage) -> list[str]:
    """Everything outside of the recipe that a stage names, beside models and stages, each with its content."""
    return [identity for each in settings_in(stage, Settings) for identity in each.identities()]


def run_recipe(
    recipe: Recipe,
    run_dir: str | Path | None = None,
    *,
    trust_remote_code: bool = False,
    retry_failed: bool = False,
) -> dict[str, StageState]:
    """Run every stage that is not done yet, then write results.json and report.html.

    Args:
        recipe: as `load_recipe` returns it.
        run_dir: where to keep everything; `runs/NAME` when not given.
        trust_remote_code: let models run code of their own. Never set from a recipe.
        retry_failed: ask again for what failed, or is of unknown outcome, in stages that are done. Stages that read
            what changes by that run again.

    Returns:
        State of every stage, by name: counts, seconds, details.

    Raises:
        TunaError: one of its kinds; what was finished stays finished.
    """
    run = RunFolder(Path(run_dir) if run_dir is not None else Path("runs") / recipe.name)
    if not is_main_process():
        return _follow(recipe, run, trust_remote_code)
    with run.lock():
        if retry_failed:
            _reopen_failed(recipe, run)
        steps = plan(recipe, run)
        for step in steps:
            if not step.done:
                _check(step, recipe, trust_remote_code)
        budget = _budget(recipe, steps, run)
        write_text(run.path / "config.yaml", dump_recipe(recipe))
        changed = []
        for number in range(len(steps)):
            step = steps[number]
            revision = run.revision(step.name, step.fingerprint)
            title = f"[{number + 1}/{len(steps)}] {step.name} ({step.kind})"
            changed.append(_run_step(step, recipe, run, budget, trust_remote_code, title))
            if run.revision(step.name, step.fingerprint) != revision:
                steps = plan(recipe, run)
        found = states(recipe, run)
        if any(changed) or not (run.path / "report.html").exists():
            _write_manifest(run, recipe, found)
            _publish(run, recipe, found)
    return found


def _reopen_failed(recipe: Recipe, run: RunFolder) -> None:
    """Open finished stages again in which language models failed.

    Raises:
        RecipeError: several processes are running, which could not agree on what is done.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        raise RecipeError(
            "--retry-failed",
            found=f"{os.environ['WORLD_SIZE']} processes",
            expected="one",
            fix="Run it with --retry-failed in one process first.",
        )
    for step in plan(recipe, run):
        state = run.state(step.name)
        if run.is_done(step.name, step.fingerprint) and (state.failed or state.unknown):
            run.reopen_stage(step.name, MADE[step.settings.produces])


def _check(step: Step, recipe: Recipe, trust_remote_code: bool) -> None:
    """Refuse what a stage would stop at, before any stage runs; raises as the stage would."""
    check_templates(recipe.stages[step.name], f"stages.{step.name}", recipe.stages)
    check_weights(recipe.stages[step.name], recipe.stages, trust_remote_code=trust_remote_code)
    if step.kind != "evaluate":
        for data in settings_in(step.settings, Data):
            require_source(data)


def _budget(recipe: Recipe, steps: list[Step], run: RunFolder) -> Budget:
    """The money of a run, less what it has cost so far.

    Raises:
        BudgetError: there is a limit, and the price of a model that is to be asked is not known.
    """
    budget = Budget(recipe.max_cost, load_prices(recipe.prices), spent=spent(run.ledger))
    asked = [engine for step in steps if not step.done for engine in settings_in(step.settings, Served)]
    budget.check(engine_identity(cast(EndpointSettings, engine)) for engine in asked)
    return budget


def _run_step(step: Step, recipe: Recipe, run: RunFolder, budget: Budget, trust_remote_code: bool, title: str) -> bool:
    """Bring a stage to its end; returns whether its folder is another one than before."""
    if run.is_done(step.name, step.fingerprint):
        console().print(f"{title}: done before, skipped", markup=False)
        return False
    folder = run.open_stage(step.name, step.fingerprint)
    if run.is_done(step.name, step.fingerprint):
        console().print(f"{title}: brought back, these settings made it before", markup=False)
        return True
    console().print(title, markup=False)
    before = _accounts_before(step, run)
    budget.answers.clear()
    started = time.monotonic()
    summary = _runner(step.kind)(step.settings, StageContext(folder, run.ledger, trust_remote_code, budget))
    seconds = time.monotonic() - started
    calls = accounts_since(before, accounts(run.ledger), budget.answers)
    summary = replace(summary, details=summary.details | ({"calls": calls} if calls else {}))
    known = states(recipe, run) | {step.name: StageState(**asdict(summary))}
    write_card(recipe, step.name, known, run.path)
    run.close_stage(step.name, step.fingerprint, step.kind, summary, seconds)
    failed = f", {summary.failed} failed" if summary.failed else ""
    unknown = f", {summary.unknown} unknown" if summary.unknown else ""
    console().print(f"      {summary.ok} of {summary.requested} ok{failed}{unknown}, {seconds:.0f} s", markup=False)
    return True


def _accounts_before(step: Step, run: RunFolder) -> dict[str, Account]:
    """What the ledger said when the stage began, before any interruption."""
    state = run.state(step.name)
    if state.accounts is None:
        state.accounts = {engine: asdict(account) for engine, account in accounts(run.ledger).items()}
        run.write_state(step.name, state)
    return {engine: Account(**account) for engine, account in state.accounts.items()}


def _runner(kind: str) -> Runner:
    module, name = RUNNERS[kind].split(":")
    return cast(Runner, getattr(import_module(module), name))


def _follow(recipe: Recipe, run: RunFolder, trust_remote_code: bool) -> dict[str, StageState]:
    """What the other processes of a launch do: train when the main one does, wait while it does the rest."""
    for name in recipe.stages:
        step = next(step for step in plan(recipe, run) if step.name == name)
        while not run.is_done(name, step.fingerprint):
            open_now = run.state(name).fingerprint == step.fingerprint
            if step.kind in ALL_PROCESSES and open_now:
                _runner(step.kind)(step.settings, StageContext(run.folder(name), run.ledger, trust_remote_code))
                while not run.is_done(name, step.fingerprint):
                    time.sleep(0.2)
            time.sleep(0.2)
    return states(recipe, run)


def dump_recipe(recipe: Recipe) -> str:
    """The recipe as YAML with every knob written out; reading it back gives the same recipe."""
    return yaml.safe_dump(recipe.model_dump(mode="json"), sort_keys=False, allow_unicode=True, width=100)


def _write_manifest(run: RunFolder, recipe: Recipe, states: dict[str, StageState]) -> None:
    write_json(
        run.path / "manifest.json",
        {
            "recipe": recipe.name,
            "command": without_keys(" ".join([Path(sys.argv[0]).name, *sys.argv[1:]])),
            "written": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
            "versions": {"python": platform.python_version(), **_versions()},
            "platform": platform.platform(),
            "cores": os.cpu_count(),
            "git_commit": _git_commit(),
            "seeds": {name: stage.seed for name, stage in recipe.stages.items()},
            "inputs": {name: identities(stage) for name, stage in recipe.stages.items()},
            "calls": accounts_since({}, accounts(run.ledger), {}),
            "stages": {name: state.model_dump(mode="json", exclude_unset=True) for name, state in states.items()},
        },
    )


def _versions() -> dict[str, str]:
    found = {}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def _git_commit() -> str | None:
    """Commit of the source tree that tunalm runs from, if it is one."""
    here = Path(__file__).resolve().parent
    command = ["git", "-C", str(here), "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
    try:
        answer = subprocess.run(command, capture_output=True, text=True, timeout=10, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return answer.stdout.strip() or None


def _publish(run: RunFolder, recipe: Recipe, states: dict[str, StageState], published: Sequence[Any] = ()) -> None:
    """Put the last evaluation's results at the top of the run folder, complete the cards and write the report."""
    for name, stage in recipe.stages.items():
        if states[name].done:
            write_card(recipe, name, states, run.path)
        results = run.folder(name) / MADE["results"]
        if stage.produces == "results" and results.is_file():
            shutil.copyfile(results, run.path / MADE["results"])
    from tunalm.reporting import Run, write_report  # plots: slow to import

    write_report(Run(run.path, recipe, states), published)


def stored_recipe(run: RunFolder) -> Recipe:
    """The recipe as it was run.

    Raises:
        StoreError: the folder is not a run, or one of another version of tunalm.
    """
    config = run.path / "config.yaml"
    if not config.is_file():
        raise StoreError(
            run.path, found="no config.yaml", expected="the folder of a run", fix="Give the --run-dir of tunalm run."
        )
    try:
        return Recipe.model_validate(yaml.safe_load(config.read_text(encoding="utf-8")))
    except (ValidationError, yaml.YAMLError, UnicodeDecodeError) as error:
        raise StoreError(
            config,
            found=f"a recipe that cannot be read ({type(error).__name__})",
            expected="what this version of tunalm has written",
            fix="Run the recipe again in this folder: what is still valid is not done twice.",
        ) from error


def report_again(run_dir: Path, published: Sequence[Any] = ()) -> dict[str, StageState]:
    """Write the report of a finished or unfinished run anew from its files; returns the states of its stages.

    Args:
        run_dir: folder of the run.
        published: numbers of others, as `tunalm.reporting.published.read_published` reads them.

    Raises:
        StoreError: the folder is not a run.
    """
    run = RunFolder(run_dir)
    recipe = stored_recipe(run)
    found = states(recipe, run)
    _publish(run, recipe, found, published)
    return found


def states(recipe: Recipe, run: RunFolder) -> dict[str, StageState]:
    """What stage.json says of every stage."""
    return {name: run.state(name) for name in recipe.stages}
