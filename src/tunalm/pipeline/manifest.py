"""What is written about a run: the recipe as it ran, the manifest, the last results, cards and the report."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import sys
import time
from collections.abc import Iterable, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from tunalm.calls.spending import accounts, accounts_since
from tunalm.errors import StoreError
from tunalm.pipeline.folder import RunFolder
from tunalm.pipeline.products import MADE
from tunalm.pipeline.resolving import identities
from tunalm.recipe import Recipe
from tunalm.recipe.plain_yaml import parse_yaml, read_yaml
from tunalm.records import StageState
from tunalm.redaction import without_keys
from tunalm.reporting.cards import write_card
from tunalm.store import digest, replacing, write_json, write_text

PACKAGES = ("tunalm", "torch", "transformers", "accelerate", "peft", "datasets", "aiohttp", "pydantic", "numpy")
"""Whose versions the manifest records."""


PUBLISHED = ".published"
"""File with the hash of the states that results and report were made of."""


def dump_recipe(recipe: Recipe) -> str:
    """The recipe as YAML with every knob written out; reading it back gives the same recipe."""
    return yaml.safe_dump(recipe.model_dump(mode="json"), sort_keys=False, allow_unicode=True, width=100)


def write_manifest(run: RunFolder, recipe: Recipe, states: dict[str, StageState]) -> None:
    """Write manifest.json: what it takes to repeat the run."""
    write_json(
        run.path / "manifest.json",
        {
            "recipe": recipe.name,
            "command": without_keys(" ".join([Path(sys.argv[0]).name, *sys.argv[1:]])),
            "written": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
            "versions": {"python": platform.python_version(), **versions()},
            "platform": platform.platform(),
            "cores": os.cpu_count(),
            "git_commit": _git_commit(),
            "seeds": {name: stage.seed for name, stage in recipe.stages.items()},
            "inputs": {name: identities(stage) for name, stage in recipe.stages.items()},
            "calls": accounts_since({}, accounts(run.ledger), {}),
            "stages": {name: state.model_dump(mode="json", exclude_unset=True) for name, state in states.items()},
        },
    )


def versions(packages: Iterable[str] = PACKAGES) -> dict[str, str]:
    """Versions of packages, those that a run depends on, as far as they are installed."""
    found = {}
    for package in packages:
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


def publish(run: RunFolder, recipe: Recipe, states: dict[str, StageState], published: Sequence[Any] = ()) -> None:
    """Put the last evaluation's results at the top of the run folder, complete the cards and write the report."""
    for name, stage in recipe.stages.items():
        if states[name].done:
            write_card(recipe, name, states, run.path)
        results = run.folder(name) / MADE["results"]
        if stage.produces == "results" and results.is_file():
            with replacing(run.path / MADE["results"]) as draft:
                shutil.copyfile(results, draft)
    from tunalm.reporting.report import write_report  # plots: slow to import
    from tunalm.reporting.run import Run

    write_report(Run(run.path, recipe, states), published)
    write_text(run.path / PUBLISHED, _mark(states))


def is_published(run: RunFolder, states: dict[str, StageState]) -> bool:
    """Whether what is at the top of the run folder was made of these states to its end."""
    try:
        mark = (run.path / PUBLISHED).read_text(encoding="utf-8")
    except OSError:
        return False
    return mark == _mark(states) and (run.path / "report.html").exists()


def _mark(states: dict[str, StageState]) -> str:
    return digest({name: state.model_dump(mode="json", exclude_unset=True) for name, state in states.items()})


def stored_recipe(run: RunFolder) -> Recipe:
    """The recipe as it was run.

    Raises:
        StoreError: the folder is not a run, or one of another version of tunalm.
    """
    config = run.path / "config.yaml"
    if not config.is_file():
        raise StoreError(run.path, found="it is no folder of a run", fix="Give the --run-dir of tunalm run.")
    try:
        return Recipe.model_validate(parse_yaml(read_yaml(config, StoreError), config, StoreError)[0])
    except (ValidationError, StoreError) as error:
        found = f"this version of tunalm cannot read it ({type(error).__name__})"
        fix = "Run the recipe again in this folder: what is still valid is not done twice."
        raise StoreError(config, found=found, fix=fix) from error


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
    publish(run, recipe, found, published)
    return found


def states(recipe: Recipe, run: RunFolder) -> dict[str, StageState]:
    """What stage.json says of every stage."""
    return {name: run.state(name) for name in recipe.stages}
