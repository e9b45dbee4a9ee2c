"""What a recipe is going to cost, before it runs: generations, judge calls and training tokens per stage.

Rows are counted exactly. Tokens are estimated: four characters each in a text that is known, so many for the words of
a template around every prompt, and the limit `max_new_tokens` for a response that is not written yet.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tunalm.data import load
from tunalm.pipeline import Step
from tunalm.recipe import Evaluate, Rank, Recipe, Sample, Sft, Train
from tunalm.records import Instruction, Ranking
from tunalm.store import read_rows

CHARACTERS_PER_TOKEN = 4
TEMPLATE_TOKENS = 32
"""What a chat or Alpaca template adds to a prompt, about."""


@dataclass(frozen=True)
class Lists:
    """Size of what a stage makes or reads: instructions and the responses that each has."""

    rows: int
    responses: int = 0
    prompt_tokens: int = 0
    reference_tokens: int = 0
    response_tokens: int = 0

    @property
    def training_tokens(self) -> int:
        """Tokens that one epoch reads, each prompt counted once."""
        return self.prompt_tokens + self.reference_tokens + self.response_tokens


@dataclass(frozen=True)
class Estimate:
    """One line of a dry run."""

    stage: str
    kind: str
    state: str
    generations: int = 0
    generated_tokens: int = 0
    training_tokens: int = 0
    notes: list[str] = field(default_factory=list)


def estimate(recipe: Recipe, steps: list[Step]) -> list[Estimate]:
    """Estimate every stage of a planned recipe."""
    lists: dict[str, Lists] = {}
    lines = []
    for step in steps:
        state = "done" if step.done else "to run"
        settings: Any = recipe.stages[step.name]
        line = Estimate(step.name, step.kind, state)
        if isinstance(settings, Sample):
            lists[step.name] = sampled = _sampled(settings)
            line = Estimate(step.name, step.kind, state, sampled.rows * sampled.responses, sampled.response_tokens)
        elif isinstance(settings, Rank):
            lists[step.name] = read = _read(step, settings.responses, lists)
            if settings.by == "judge":
                line = Estimate(step.name, step.kind, state, read.rows, read.rows * settings.max_new_tokens)
        elif isinstance(settings, Train):
            tokens = _read(step, settings.rankings, lists).training_tokens
            line = Estimate(step.name, step.kind, state, training_tokens=round(tokens * settings.epochs))
        elif isinstance(settings, Sft):
            tokens = _instructions(load(settings.data)).training_tokens
            line = Estimate(step.name, step.kind, state, training_tokens=round(tokens * settings.epochs))
        elif isinstance(settings, Evaluate):
            asked = sum(len(load(bench.data)) for bench in settings.benchmarks) * len(settings.models)
            line = Estimate(step.name, step.kind, state, asked, asked * settings.max_new_tokens)
        lines.append(line)
    return lines


def _tokens(text: str | None) -> int:
    return -(-len(text or "") // CHARACTERS_PER_TOKEN)


def _instructions(rows: list[Instruction]) -> Lists:
    return Lists(
        rows=len(rows),
        prompt_tokens=sum(TEMPLATE_TOKENS + sum(_tokens(turn.text) for turn in row.messages()) for row in rows),
        reference_tokens=sum(_tokens(row.reference) for row in rows),
    )


def _sampled(settings: Sample) -> Lists:
    known = _instructions(load(settings.data))
    return Lists(
        known.rows,
        settings.num_responses,
        known.prompt_tokens,
        known.reference_tokens,
        known.rows * settings.num_responses * settings.max_new_tokens,
    )


def _read(step: Step, source: str, lists: dict[str, Lists]) -> Lists:
    """Size of the lists that a stage reads: counted where they exist, estimated where they do not yet."""
    resolved: Any = step.settings
    path = Path(resolved.responses if isinstance(resolved, Rank) else resolved.rankings)
    if source in lists and not path.exists():
        return lists[source]
    rows = read_rows(path, Ranking)
    known = _instructions(list(rows))
    responses = [response for row in rows for response in row.responses]
    return Lists(
        known.rows,
        max((len(row.responses) for row in rows), default=0),
        known.prompt_tokens,
        known.reference_tokens,
        sum(response.num_tokens or _tokens(response.text) for response in responses),
    )
