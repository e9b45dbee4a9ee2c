"""Which stages are done: names become paths, and a fingerprint says what decides a stage's result.

A fingerprint is a hash of a stage's settings and of everything that it reads, so a changed knob runs that stage and
those that depend on it, and nothing else.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from tunalm.pipeline.folder import RunFolder
from tunalm.pipeline.products import MADE, Condition
from tunalm.recipe import Found, Recipe, Settings, Source, Stage, map_sources, replaced, settings_in
from tunalm.recipe.models import model_identity
from tunalm.store import digest, file_digest


@dataclass(frozen=True)
class ResolvedStage:
    """A stage with all names resolved."""

    name: str
    kind: str
    settings: Stage
    fingerprint: str
    done: bool
    condition: Condition
    """Of what it has made."""


def resolve(recipe: Recipe, run: RunFolder) -> list[ResolvedStage]:
    """Resolve every stage and find out which are done.

    Raises:
        ModelError, DataError: something that a stage reads does not exist.
    """
    stages: list[ResolvedStage] = []
    versions: dict[str, str] = {}

    def path_of(text: str, source: Source, where: str) -> str:
        return str(run.folder(text) / MADE[recipe.stages[text].produces]) if text in recipe.stages else text

    for name, stage in recipe.stages.items():
        fingerprint = _fingerprint(stage, versions, name)
        versions[name] = run.version(name, fingerprint)
        resolved = map_sources(cast(Stage, stage), path_of, f"stages.{name}")
        done = run.is_done(name, fingerprint) or run.is_kept(name, fingerprint)
        condition = run.condition(name, fingerprint)
        stages.append(ResolvedStage(name, stage.kind, resolved, fingerprint, done, condition))
    return stages


def _fingerprint(stage: Stage, versions: dict[str, str], name: str) -> str:
    """Hash of what decides a stage's result: its knobs, the stages it names, the files and models it reads."""

    def identify(text: str, source: Source, where: str) -> str:
        if text in versions:
            return f"stage@{versions[text]}"
        if {"model", "proxy"} & set(source.accepts):
            return model_identity(text, where)
        if "instructions" in source.accepts:
            return text  # `Data.identities` says what it holds
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
