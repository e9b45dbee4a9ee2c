"""Which answers are shown side by side."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from tunalm.records import Prediction, Verdict
from tunalm.reporting.changes import NUM_CHANGES, Answers, Change, largest_changes
from tunalm.store import write_rows

Scores = Mapping[str, Sequence[float | None]]
"""By model, one per instruction."""


def evaluated(folder: Path, scores: Scores, tasks: list[str | None]) -> Answers:
    folder.mkdir(exist_ok=True)
    cells = [(model, number, score) for model, given in scores.items() for number, score in enumerate(given)]
    write_rows(
        folder / "rows.jsonl",
        [
            Verdict(id=f"row-{number}", benchmark="b", model=model, metric="m", score=score, task=tasks[number])
            for model, number, score in cells
        ],
    )
    write_rows(
        folder / "predictions.jsonl",
        [
            Prediction(id=f"row-{number}", benchmark="b", model=model, prediction=f"{model} {number}")
            for model, number, _ in cells
        ],
    )
    return Answers(folder, {model: model for model in scores})


def changes(folder: Path, scores: Scores, tasks: list[str | None] | None = None) -> list[Change]:
    count = len(next(iter(scores.values())))
    answers = evaluated(folder, scores, tasks or [None] * count)
    return largest_changes([answers], "tuna", "base").get("b", [])


def test_gains_come_first_then_losses_and_nothing_that_is_equal_or_has_no_score(tmp_path: Path) -> None:
    found = changes(
        tmp_path, {"base": [0.0, 0.5, 1.0, 1.0, 0.2, 1.0, None], "tuna": [0.5, 1.0, 0.0, 0.7, 1.0, 1.0, 1.0]}
    )
    assert [change.id for change in found] == ["row-4", "row-0", "row-1", "row-2", "row-3"]
    assert [round(change.gain, 6) for change in found] == [0.8, 0.5, 0.5, -1.0, -0.3]


def test_there_are_at_most_so_many_of_each_direction(tmp_path: Path) -> None:
    found = changes(tmp_path, {"base": [0.0] * 9 + [1.0] * 9, "tuna": [1.0] * 9 + [0.0] * 9})
    assert [change.gain for change in found] == [1.0] * NUM_CHANGES + [-1.0] * NUM_CHANGES


def test_a_task_is_shown_once_in_each_direction(tmp_path: Path) -> None:
    found = changes(tmp_path, {"base": [0.5, 0.0, 1.0, 0.0], "tuna": [1.0, 1.0, 0.0, 0.1]}, ["a", "a", "a", "b"])
    assert [change.id for change in found] == ["row-1", "row-3", "row-2"]


def test_models_of_several_runs_meet_under_the_names_of_the_report(tmp_path: Path) -> None:
    one = evaluated(tmp_path / "one", {"base": [0.0, 1.0]}, [None, None])
    other = evaluated(tmp_path / "other", {"base": [0.5, 0.5], "tuna": [1.0, 0.0]}, [None, None])
    renamed = Answers(other.folder, {"tuna": "other: tuna"})
    found = largest_changes([one, renamed], "other: tuna", "base")["b"]
    said = [[(model, answer.prediction, score) for model, answer, score in change.answers] for change in found]
    assert said == [
        [("base", "base 0", 0.0), ("other: tuna", "tuna 0", 1.0)],
        [("base", "base 1", 1.0), ("other: tuna", "tuna 1", 0.0)],
    ]
