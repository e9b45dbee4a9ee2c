"""Results of several runs as one: the same numbers as in their own, and comparisons across runs."""

from __future__ import annotations

from pathlib import Path

import pytest

from tunalm.errors import DataError
from tunalm.evaluation.base import Measure
from tunalm.evaluation.merging import Evaluated, Merged, merge
from tunalm.evaluation.results import summarise
from tunalm.recipe import Evaluate
from tunalm.records import Difference, Prediction, Verdict
from tunalm.store import write_rows

Scores = dict[str, dict[str, float | None]]
"""By model, the scores of its answers by id; None could not be judged."""


def evaluated(folder: Path, scores: Scores, benchmark: str = "own") -> Evaluated:
    """An evaluation as its stage leaves it."""
    folder.mkdir()
    answers = [
        Prediction(id=row, benchmark=benchmark, model=model, prediction="")
        for model, given in scores.items()
        for row in given
    ]
    verdicts = [
        Verdict(
            id=row,
            benchmark=benchmark,
            model=model,
            metric="success",
            score=score,
            failure=None if score is not None else "no verdict",
            unjudged=score is None,
        )
        for model, given in scores.items()
        for row, score in given.items()
    ]
    write_rows(folder / "predictions.jsonl", answers)
    write_rows(folder / "rows.jsonl", verdicts)
    settings = Evaluate.model_validate({"models": dict.fromkeys(scores, "m"), "benchmarks": [{"name": "checkable"}]})
    settings.benchmarks[0].title = benchmark
    identities = {model: f"{folder.name} {model}" for model in scores}
    return Evaluated(folder, summarise([Measure(benchmark, "success", answers, verdicts)], identities, settings))


def named(model: str, run: str) -> str:
    return f"{run}: {model}"


def pair(merged: Merged, model: str, against: str) -> Difference:
    (found,) = [each for each in merged.results.comparisons if (each.model, each.against) == (model, against)]
    return found


ONE: Scores = {"base": {"a": 0.0, "b": 0.0, "c": 1.0}, "tuna": {"a": 1.0, "b": 0.0, "c": 1.0}}
OTHER: Scores = {"base": {"b": 1.0, "a": 0.0, "d": 0.0}, "tuna": {"b": 1.0, "a": None, "d": 1.0}}


def test_numbers_are_those_of_the_runs_and_pairs_are_compared_on_the_rows_that_both_have(tmp_path: Path) -> None:
    runs = {"one": evaluated(tmp_path / "one", ONE), "other": evaluated(tmp_path / "other", OTHER)}
    merged = merge(runs, named)
    assert list(merged.results.models) == ["one: base", "one: tuna", "other: base", "other: tuna"]
    for name, outcome in merged.results.models.items():
        run, _, model = name.partition(": ")
        assert outcome == runs[run].results.models[model]
    found = pair(merged, "other: tuna", "one: tuna")
    assert (found.wins, found.ties, found.losses, found.difference) == (1, 0, 0, 100.0)
    assert pair(merged, "other: base", "one: base").difference == 50.0
    assert all(each.p_holm >= each.p_value for each in merged.results.comparisons)
    assert "own has not as many rows in all runs" in merged.notes[0]


def test_a_model_that_two_runs_share_is_shown_once_and_one_that_a_run_names_twice_is_shown_twice(
    tmp_path: Path,
) -> None:
    one = evaluated(tmp_path / "one", {"tuna": ONE["tuna"], "again": ONE["tuna"]})
    one.results.models["again"].identity = one.results.models["tuna"].identity
    merged = merge({"one": one, "other": one}, named)
    assert list(merged.results.models) == ["one: tuna", "one: again"]
    assert merged.names["other"] == {}


def test_benchmarks_that_only_some_runs_have_are_left_out_and_named(tmp_path: Path) -> None:
    one = evaluated(tmp_path / "one", ONE)
    wider = Evaluated(one.folder, one.results.model_copy(deep=True))
    for outcome in wider.results.models.values():
        outcome.results["more"] = outcome.results["own"]
    merged = merge({"wider": wider, "other": evaluated(tmp_path / "other", OTHER)}, named)
    assert list(merged.results.models["wider: base"].results) == ["own"]
    assert "more is left out: not all runs evaluate on it." in merged.notes


def test_runs_without_a_common_benchmark_are_refused(tmp_path: Path) -> None:
    runs = {"one": evaluated(tmp_path / "one", ONE), "other": evaluated(tmp_path / "other", OTHER, "another")}
    with pytest.raises(DataError, match="one: own; other: another"):
        merge(runs, named)


def test_answers_that_do_not_belong_together_are_refused(tmp_path: Path) -> None:
    one = evaluated(tmp_path / "one", ONE)
    rows = one.folder / "rows.jsonl"
    rows.write_text("".join(rows.read_text(encoding="utf-8").splitlines(keepends=True)[:-1]), encoding="utf-8")
    with pytest.raises(DataError, match="do not belong together"):
        merge({"one": one, "other": evaluated(tmp_path / "other", OTHER)}, named)
