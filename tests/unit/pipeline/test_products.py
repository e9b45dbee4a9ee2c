"""What a finished stage has made is looked at: what is gone or broken is made again, what was edited is read."""

from __future__ import annotations

import json
import os
import shutil
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.tiny import save_tiny_model
from tunalm.pipeline.products import examine, products_of
from tunalm.pipeline.running import run_recipe
from tunalm.recipe import Recipe
from tunalm.recipe.loading import build_recipe
from tunalm.records import Ranking, StageState
from tunalm.store import read_rows, replacing

ROWS = 4


@pytest.fixture
def recipe(tmp_path: Path) -> Recipe:
    rows = [{"id": str(n), "instruction": f"Say {n} things about cats.", "output": "Cats."} for n in range(ROWS)]
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    (tmp_path / "short.py").write_text("def short(instruction, text):\n    return len(text) < 30\n", encoding="utf-8")
    own = {"kind": "sample", "engine": {"kind": "scripted"}, "data": str(tmp_path / "rows.jsonl"), "num_responses": 2}
    by = {"kind": "rank", "by": "verifier", "verifier": f"{tmp_path}/short.py:short", "responses": "own"}
    return build_recipe({"name": "mini", "stages": {"own": own, "by": by}})


def lists(run: Path, stage: str = "by/rankings.jsonl") -> int:
    return len(read_rows(run / stage, Ranking))


def cut_a_row(path: Path) -> None:
    path.write_text("".join(path.read_text(encoding="utf-8").splitlines(keepends=True)[:2]), encoding="utf-8")


BROKEN: dict[str, Callable[[Path], object]] = {
    "gone": Path.unlink,
    "emptied": lambda path: path.write_text("", encoding="utf-8"),
    "cut in a line": lambda path: os.truncate(path, path.stat().st_size - 7),
    "other bytes": lambda path: path.write_bytes(b"\xff\xfe\x00"),
}


@pytest.mark.parametrize("how", BROKEN)
def test_what_is_gone_or_broken_is_made_again_and_runs_nothing_else(
    recipe: Recipe, tmp_path: Path, how: str, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "run"
    before = run_recipe(recipe, run)
    whole = (run / "own" / "responses.jsonl").read_bytes()
    BROKEN[how](run / "own" / "responses.jsonl")
    after = run_recipe(recipe, run)
    assert (run / "own" / "responses.jsonl").read_bytes() == whole
    assert after["by"].finished == before["by"].finished
    assert after["own"].revision == 0
    assert capsys.readouterr().err.count("the stage makes it again") == 1


def test_an_edited_file_is_what_later_stages_read(
    recipe: Recipe, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "run"
    run_recipe(recipe, run)
    responses = run / "own" / "responses.jsonl"
    whole = responses.read_bytes()
    cut_a_row(responses)
    states = run_recipe(recipe, run)
    assert (lists(run), states["own"].edited) == (2, ["responses.jsonl"])
    assert "responses.jsonl: edited by hand" in capsys.readouterr().err
    assert "edited by hand" in (run / "report.html").read_text(encoding="utf-8")
    finished = states["by"].finished
    assert run_recipe(recipe, run)["by"].finished == finished
    responses.write_bytes(whole)
    states = run_recipe(recipe, run)
    assert (lists(run), states["own"].edited) == (ROWS, [])


def test_a_touched_file_is_the_same_file(recipe: Recipe, tmp_path: Path) -> None:
    run = tmp_path / "run"
    before = run_recipe(recipe, run)
    (run / "own" / "responses.jsonl").touch()
    after = run_recipe(recipe, run)
    assert [state.finished for state in after.values()] == [state.finished for state in before.values()]
    assert after["own"].edited == []


@pytest.mark.parametrize("what", ["own/stage.json", "ledger.sqlite", "config.yaml", "report.html", "own"])
def test_other_files_of_a_run_may_be_deleted(recipe: Recipe, tmp_path: Path, what: str) -> None:
    run = tmp_path / "run"
    run_recipe(recipe, run)
    before = (run / "by" / "rankings.jsonl").read_bytes()
    gone = run / what
    shutil.rmtree(gone) if gone.is_dir() else gone.unlink()
    states = run_recipe(recipe, run)
    assert all(state.done for state in states.values())
    assert (run / "by" / "rankings.jsonl").read_bytes() == before


def test_a_cut_record_of_a_stage_lets_it_run_again(recipe: Recipe, tmp_path: Path) -> None:
    run = tmp_path / "run"
    run_recipe(recipe, run)
    os.truncate(run / "own" / "stage.json", 20)
    assert run_recipe(recipe, run)["own"].done


def spoil(folder: Path, how: str) -> None:
    weights = folder / "model" / "model.safetensors"
    if how == "weights gone":
        weights.unlink()
    elif how == "weights cut":
        os.truncate(weights, weights.stat().st_size - 100)
    elif how == "configuration cut":
        os.truncate(folder / "model" / "config.json", 30)
    elif how == "other weights":
        content = bytearray(weights.read_bytes())
        content[-1] ^= 1
        weights.write_bytes(content)
    elif how == "a file more":
        (folder / "model" / "notes.txt").write_text("mine", encoding="utf-8")
    elif how == "another card":
        (folder / "model" / "README.md").write_text("mine", encoding="utf-8")


@pytest.mark.parametrize(
    ("how", "edited", "broken"),
    [
        ("nothing", set(), set()),
        ("another card", set(), set()),
        ("weights gone", set(), {"model/model.safetensors"}),
        ("weights cut", set(), {"model/model.safetensors"}),
        ("configuration cut", set(), {"model/config.json"}),
        ("other weights", {"model/model.safetensors"}, set()),
        ("a file more", {"model/notes.txt"}, set()),
    ],
)
def test_a_model_folder_is_looked_at_file_by_file(tmp_path: Path, how: str, edited: set[str], broken: set[str]) -> None:
    save_tiny_model(tmp_path / "model")
    state = StageState(status="done", products=products_of(tmp_path))
    spoil(tmp_path, how)
    found = examine(tmp_path, state)
    assert (set(found.edited), set(found.broken)) == (edited, broken)


def test_what_is_written_has_the_permissions_of_other_files(tmp_path: Path) -> None:
    (tmp_path / "usual").write_text("x", encoding="utf-8")
    with replacing(tmp_path / "ours") as temporary:
        temporary.write_text("x", encoding="utf-8")
    modes = {stat.S_IMODE((tmp_path / name).stat().st_mode) for name in ("usual", "ours")}
    assert len(modes) == 1
