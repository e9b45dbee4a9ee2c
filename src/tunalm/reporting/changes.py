"""Instructions on which a model has gained or lost most, with the answers of all models beside each other."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
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
class Change:
    """One instruction and what all models said."""

    id: str
    task: str | None
    instruction: str
    references: list[str]
    answers: list[tuple[str, Prediction, float | None]]
    """Model, what it said, and its score (0-1)."""
    gain: float
    """Score of the model in question less that of the one it is compared with."""


def largest_changes(sources: Sequence[Answers], model: str, against: str) -> dict[str, list[Change]]:
    """By benchmark, the largest gains and then the largest losses of a model, at most `NUM_CHANGES` each.

    Among equal ones the first of the file are taken, and of each task at most one of each direction.
    """
    if model == against:
        return {}
    scores: defaultdict[str, dict[Place, float]] = defaultdict(dict)
    tasks: dict[Place, str] = {}
    for source in sources:
        for row in read_records(source.folder / "rows.jsonl", Verdict):
            if row.model in source.names and row.score is not None:
                scores[source.names[row.model]][row.benchmark, row.id] = row.score
                tasks[row.benchmark, row.id] = row.task or row.id
    old = scores[against]
    gains = {place: score - old[place] for place, score in scores[model].items() if place in old}
    chosen = dict.fromkeys(_chosen(gains, tasks))
    said: defaultdict[Place, list[tuple[str, Prediction]]] = defaultdict(list)
    for source in sources:
        for answer in read_records(source.folder / "predictions.jsonl", Prediction):
            if (answer.benchmark, answer.id) in chosen and answer.model in source.names:
                said[answer.benchmark, answer.id].append((source.names[answer.model], answer))
    changes: defaultdict[str, list[Change]] = defaultdict(list)
    for place in chosen:
        if place in said:
            _, first = said[place][0]
            answers = [(name, answer, scores[name].get(place)) for name, answer in said[place]]
            change = Change(place[1], first.task, first.instruction, first.references, answers, gains[place])
            changes[place[0]].append(change)
    return dict(changes)


def _chosen(gains: Mapping[Place, float], tasks: Mapping[Place, str]) -> Iterator[Place]:
    """Places of the largest gains, then of the largest losses, of every benchmark."""
    ordered = sorted(gains, key=lambda place: -abs(gains[place]))
    for benchmark in dict.fromkeys(benchmark for benchmark, _ in gains):
        for sign in (1, -1):
            by_task: dict[str, Place] = {}
            for place in ordered:
                if place[0] == benchmark and sign * gains[place] > 0:
                    by_task.setdefault(tasks[place], place)
            yield from list(by_task.values())[:NUM_CHANGES]
