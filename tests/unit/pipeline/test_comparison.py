"""`tunalm compare`: several runs in one page and one results.json."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from tunalm.cli.app import app
from tunalm.errors import StoreError
from tunalm.pipeline.comparison import compare_runs
from tunalm.pipeline.running import run_recipe
from tunalm.recipe.loading import build_recipe
from tunalm.reporting.files import read_results

ROWS = [{"id": f"row-{number}", "instruction": f"Say {word}.", "reference": word} for number, word in enumerate("abc")]


WORDS = {"kind": "scripted"}
"""Says the words of the instruction in any order."""


@pytest.fixture
def data(tmp_path: Path) -> Path:
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in ROWS), encoding="utf-8")
    return path


def run(folder: Path, data: Path, reply: str, **changed: Any) -> Path:
    """A finished run whose model always says the same."""
    models = {"base": {"kind": "scripted", "replies": ["a"]}, "tuna": {"kind": "scripted", "replies": [reply]}}
    scores = {"kind": "evaluate", "models": models, "benchmarks": [{"name": "reference", "data": str(data)}]}
    recipe = build_recipe({"name": "line", "stages": {"scores": scores | changed}})
    run_recipe(recipe, folder)
    return folder


def test_models_of_all_runs_are_in_one_page(tmp_path: Path, data: Path) -> None:
    runs = [run(tmp_path / "one", data, "b"), run(tmp_path / "other", data, "nothing")]
    results = compare_runs(runs, tmp_path / "out")
    assert list(results.models) == ["one: base", "one: tuna", "other: tuna"]
    assert read_results(tmp_path / "out" / "results.json") == results
    page = (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    for part in ("one and other", "What differs between the recipes", "scores.models.tuna.replies", "other: tuna"):
        assert part in page


def test_runs_that_differ_in_the_seed_alone_are_averaged(tmp_path: Path, data: Path) -> None:
    runs = [run(tmp_path / f"run{seed}", data, reply, seed=seed) for seed, reply in enumerate(("b", "b"))]
    for index, folder in enumerate(runs):  # as if the seed had made another model
        path = folder / "scores" / "results.json"
        path.write_text(path.read_text(encoding="utf-8").replace("scripted", f"scripted {index}"), encoding="utf-8")
    results = compare_runs(runs, tmp_path / "out")
    assert "tuna~seed=0" in results.models
    assert "tuna~seed=1" in results.models
    assert "Means over seeds" in (tmp_path / "out" / "report.html").read_text(encoding="utf-8")


def test_measures_of_samples_are_averaged_over_seeds_and_compared_between_runs(tmp_path: Path) -> None:
    benchmark = {"name": "checkable", "data": {"source": "checkable:heldout", "limit": 4}, "samples": 3, "k": 2}
    runs = [
        run(tmp_path / f"run{seed}", tmp_path, "b", seed=seed, benchmarks=[benchmark], models={"tuna": WORDS})
        for seed in range(2)
    ]
    for index, folder in enumerate(runs):  # as if the seed had made another model
        path = folder / "scores" / "results.json"
        path.write_text(path.read_text(encoding="utf-8").replace("scripted", f"scripted {index}"), encoding="utf-8")
    results = compare_runs(runs, tmp_path / "out")
    names = ["checkable", "checkable: pass@1", "checkable: pass@2", "checkable: likeliest@2"]
    assert results.benchmarks == names
    assert [pair.benchmark for pair in results.comparisons] == names
    page = (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    for part in ("Means over seeds", "checkable: pass@2 over samples (k)", "the likeliest of 2 samples is right, %"):
        assert part in page


def test_folders_of_one_name_are_told_apart(tmp_path: Path, data: Path) -> None:
    runs = [run(tmp_path / place / "run", data, place) for place in ("here", "there")]
    assert "there/run: tuna" in compare_runs(runs, tmp_path / "out").models


def test_what_cannot_be_compared_or_written_is_refused(tmp_path: Path, data: Path) -> None:
    runs = [run(tmp_path / "one", data, "b"), run(tmp_path / "other", data, "c")]
    before = (runs[0] / "results.json").read_bytes()
    for folders, out, found in (
        ([runs[0]] * 2, tmp_path / "out", "only one run"),
        (runs, runs[0], "it is a run itself"),
        (runs, data, "File exists"),
    ):
        with pytest.raises(StoreError, match=found):
            compare_runs(folders, out)
    assert (runs[0] / "results.json").read_bytes() == before
    (runs[1] / "scores" / "results.json").unlink()
    with pytest.raises(StoreError, match="other: its evaluation has not finished"):
        compare_runs(runs, tmp_path / "out")


def test_published_numbers_stand_beside_those_of_one_run_and_of_several(tmp_path: Path, data: Path) -> None:
    one, other = (str(run(tmp_path / name, data, name)) for name in ("one", "other"))
    published = tmp_path / "published.yaml"
    published.write_text("- {benchmark: reference, model: known, value: 41.7, source: a paper}", encoding="utf-8")
    out = str(tmp_path / "out")
    for command, folder in ((["report", one], one), (["compare", one, other, "--out", out], out)):
        result = CliRunner().invoke(app, [*command, "--published", str(published)])
        assert result.exit_code == 0, result.output
        assert "41.7 [1]" in (Path(folder) / "report.html").read_text(encoding="utf-8")
