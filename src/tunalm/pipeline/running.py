"""The loop: stages in order; those that are done are skipped, those that were interrupted resume."""

from __future__ import annotations

import os
import time
from dataclasses import asdict, replace
from pathlib import Path

from tunalm.calls.budget import Budget
from tunalm.calls.context import StageContext
from tunalm.calls.prices import load_prices
from tunalm.calls.spending import accounts, accounts_since
from tunalm.data.prompts import pin_day
from tunalm.errors import RecipeError
from tunalm.pipeline.checks import check, runner
from tunalm.pipeline.folder import RunFolder
from tunalm.pipeline.manifest import dump_recipe, is_published, publish, states, write_manifest
from tunalm.pipeline.resolving import ResolvedStage, resolve
from tunalm.pipeline.settling import settle
from tunalm.progress import console, is_main_process
from tunalm.recipe import Recipe, Reinforce, Served, settings_in
from tunalm.recipe.rounds import said
from tunalm.records import CallAccount, StageState
from tunalm.reporting.cards import write_card
from tunalm.store import write_text

ALL_PROCESSES = {"sft", "train", "proxy", "rl"}
"""Kinds in which every process of a multi-process launch takes part; the main one does the others alone."""


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
            _reopen_failed(settle(recipe, run), run)
        written, recipe = recipe, settle(recipe, run)
        steps = resolve(recipe, run)
        check(steps, recipe, trust_remote_code=trust_remote_code)
        budget = _budget(recipe, steps, run)
        pin_day(run.day())
        _keep(recipe, run)
        changed: list[bool] = []
        while (number := len(changed)) < len(steps):
            step = steps[number]
            before = run.version(step.name, step.fingerprint)
            title = f"[{number + 1}/{len(steps)}] {step.name} ({step.kind})"
            changed.append(_run_step(step, recipe, run, budget, trust_remote_code, title))
            if run.version(step.name, step.fingerprint) != before:
                steps = resolve(recipe, run)
            if step.kind == "evaluate" and (settled := settle(written, run)) != recipe:
                recipe, steps = settled, resolve(settled, run)
                _keep(recipe, run)
        found = states(recipe, run)
        if any(changed) or not is_published(run, found):
            write_manifest(run, recipe, found)
            publish(run, recipe, found)
    return found


def _keep(recipe: Recipe, run: RunFolder) -> None:
    """Write down the recipe as it runs, and say what early stopping has left out of it."""
    write_text(run.path / "config.yaml", dump_recipe(recipe))
    for sentence in said(recipe):
        console().print(sentence, markup=False)


def _reopen_failed(recipe: Recipe, run: RunFolder) -> None:
    """Open finished stages again in which language models failed.

    Raises:
        RecipeError: several processes are running, which could not agree on what is done.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        found = f"{os.environ['WORLD_SIZE']} processes could not agree on what is done"
        raise RecipeError("--retry-failed", found=found, fix="Run it with --retry-failed in one process first.")
    for step in resolve(recipe, run):
        state = run.state(step.name)
        if not (run.is_done(step.name, step.fingerprint) and (state.failed or state.unknown)):
            continue
        if step.condition.edited:
            console().print(f"{step.name}: edited by hand, so what failed in it is not asked again", markup=False)
        else:
            run.reopen_stage(step.name)


def _budget(recipe: Recipe, steps: list[ResolvedStage], run: RunFolder) -> Budget:
    """The money of a run, less what it has cost so far.

    Raises:
        BudgetError: there is a limit, and the price of a model that is to be asked is not known.
    """
    budget = Budget(recipe.max_cost, load_prices(recipe.prices))
    asked = [engine for step in steps if not step.done for engine in settings_in(step.settings, Served)]
    for engine in asked:
        budget.know(engine.identity(), engine.place())
    return budget


def _run_step(
    step: ResolvedStage, recipe: Recipe, run: RunFolder, budget: Budget, trust_remote_code: bool, title: str
) -> bool:
    """Bring a stage to its end; returns whether its folder is another one than before."""
    if run.is_done(step.name, step.fingerprint):
        console().print(f"{title}: done before, skipped", markup=False)
        return _note_edits(step, run)
    broken = run.condition(step.name, step.fingerprint).broken
    folder = run.open_stage(step.name, step.fingerprint)
    if run.is_done(step.name, step.fingerprint):
        console().print(f"{title}: brought back, these settings made it before", markup=False)
        _note_edits(step, run)
        return True
    for name, problem in broken.items():
        console().print(f"{step.name}: {name}: {problem}; the stage makes it again", markup=False)
    console().print(title, markup=False)
    before = _accounts_before(step, run)
    budget.answers.clear()
    started = time.monotonic()
    summary = runner(step.kind)(step.settings, StageContext(folder, run.ledger, trust_remote_code, budget))
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


def _note_edits(step: ResolvedStage, run: RunFolder) -> bool:
    """Say which products were edited by hand, here and in the report; returns whether these are others than before."""
    edited = sorted(run.condition(step.name, step.fingerprint).edited)
    state = run.state(step.name)
    if edited:
        console().print(f"      {', '.join(edited)}: edited by hand; what reads it takes the edits", markup=False)
    if edited == state.edited:
        return False
    state.edited = edited
    run.write_state(step.name, state)
    return True


def _accounts_before(step: ResolvedStage, run: RunFolder) -> dict[str, CallAccount]:
    """What the ledger said when the stage began, before any interruption."""
    state = run.state(step.name)
    if state.accounts is None:
        state.accounts = accounts(run.ledger)
        run.write_state(step.name, state)
    return state.accounts


def _trains_in_all(step: ResolvedStage) -> bool:
    """Whether a stage uses every process of a launch; PPO and what trains nothing run in the main one."""
    ppo = isinstance(step.settings, Reinforce) and step.settings.method == "ppo"
    return step.kind in ALL_PROCESSES and not ppo


def _follow(recipe: Recipe, run: RunFolder, trust_remote_code: bool) -> dict[str, StageState]:
    """What the other processes of a launch do: train when the main one does, wait while it does the rest."""
    written, recipe = recipe, settle(recipe, run)
    followed: list[str] = []
    while step := next((step for step in resolve(recipe, run) if step.name not in followed), None):
        name = step.name
        followed.append(name)
        while not run.is_done(name, step.fingerprint):
            open_now = run.state(name).fingerprint == step.fingerprint
            if _trains_in_all(step) and open_now:
                pin_day(run.day())
                runner(step.kind)(step.settings, StageContext(run.folder(name), run.ledger, trust_remote_code))
                while not run.is_done(name, step.fingerprint):
                    time.sleep(0.2)
            time.sleep(0.2)
        recipe = settle(written, run)
    return states(recipe, run)
