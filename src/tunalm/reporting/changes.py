"""Instructions on which a model has gained or lost most, with the answers of all models beside each other."""

from __future__ import annotations

import heapq
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tunalm.records import Prediction, Verdict
from tunalm.reporting.files import read_records

NUM_CHANGES = 5
"""Of each direction."""
Place = tuple[str, str]
"""Benchmark and id of an instruction."""


@dataclass(frozen=True)
class Answers:
    """A folder with the answers of an evaluation."""

    folder: Path
    names: Mapping[str, str]
    """What the report calls its models, by their names there; others are left out."""


@dataclass(frozen=True)
class Answer:
    """What one model said to an instruction."""

    model: str
    text: str
    score: float | None
    failure: str | None


@dataclass(frozen=True)
class Change:
    """One instruction and what all models said."""

    id: str
    task: str | None
    instruction: str
    references: list[str]
    answers: list[Answer]
    gain: float
    """Score (0-1) of the model in question less that of the one it is compared with."""


def largest_changes(sources: Sequence[Answers], model: str, against: str) -> dict[str, list[Change]]:
    """By benchmark, the largest gains and then the largest losses of a model, at most `NUM_CHANGES` each.

    Among equal ones the first of the file are taken, and of each task at most one of each direction.
    """
    if model == against:
        return {}
    scores: defaultdict[str, dict[Place, float]] = defaultdict(dict)
    tasks: dict[Place, str | None] = {}
    for source in sources:
        for row in read_records(source.folder / "rows.jsonl", Verdict):
            if row.model in source.names and row.score is not None:
                scores[source.names[row.model]][row.benchmark, row.id] = row.score
                tasks[row.benchmark, row.id] = row.task
    old = scores[against]
    gains = {place: score - old[place] for place, score in scores[model].items() if place in old}
    chosen = _chosen(gains, tasks)
    found = _answers(sources, chosen)
    changes: defaultdict[str, list[Change]] = defaultdict(list)
    for place in chosen:
        if answers := found.get(place):
            said = [
                Answer(name, given.prediction, scores[name].get(place), given.failure)
                for name, given in answers.items()
            ]
            first = next(iter(answers.values()))
            changes[place[0]].append(
                Change(place[1], first.task, first.instruction, first.references, said, gains[place])
            )
    return dict(changes)


def _chosen(gains: Mapping[Place, float], tasks: Mapping[Place, str | None]) -> list[Place]:
    """Places of the largest gains, then of the largest losses, of every benchmark."""
    best: dict[tuple[str, bool, str], tuple[float, int, Place]] = {}
    for number, (place, gain) in enumerate(gains.items()):
        if gain == 0:
            continue
        kind = place[0], gain < 0, tasks[place] or place[1]
        entry = (-abs(gain), number, place)
        best[kind] = min(best.get(kind, entry), entry)
    by_direction: defaultdict[tuple[str, bool], list[tuple[float, int, Place]]] = defaultdict(list)
    for (benchmark, lost, _), entry in best.items():
        by_direction[benchmark, lost].append(entry)
    return [entry[2] for key in sorted(by_direction) for entry in heapq.nsmallest(NUM_CHANGES, by_direction[key])]


def _answers(sources: Sequence[Answers], chosen: Sequence[Place]) -> dict[Place, dict[str, Prediction]]:
    """Predictions at some places, by model."""
    wanted = set(chosen)
    found: defaultdict[Place, dict[str, Prediction]] = defaultdict(dict)
    for source in sources:
        for row in read_records(source.folder / "predictions.jsonl", Prediction):
            if (row.benchmark, row.id) in wanted and row.model in source.names:
                found[row.benchmark, row.id][source.names[row.model]] = row
    return found
