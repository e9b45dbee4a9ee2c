"""What failed in a finished stage is asked for again on demand, and nothing else; what that changes is taken up."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from tunalm.calls import context
from tunalm.cli.app import app
from tunalm.engines.base import Completion, Request
from tunalm.engines.scripted import ScriptedEngine
from tunalm.errors import EXIT_FAILED_ROWS, EXIT_OK, RecipeError
from tunalm.pipeline import running as pipeline
from tunalm.pipeline.folder import RunFolder
from tunalm.pipeline.resolving import resolve
from tunalm.pipeline.running import run_recipe
from tunalm.ranking import likelihood
from tunalm.recipe import Recipe
from tunalm.recipe.loading import build_recipe
from tunalm.records import Ranking
from tunalm.store import read_rows


class Teacher:
    """Answers each request, but for those that it is told to fail on."""

    def __init__(self) -> None:
        self.failing: set[str] = set()
        self.asked: list[str] = []

    def __call__(self, request: Request) -> Completion:
        self.asked.append(request.key)
        if request.key in self.failing:
            return Completion(key=request.key, failure="http-500: out of order")
        text = f"answer to {request.key}"
        return Completion(key=request.key, text=text, num_tokens=3, token_logprobs=[-0.1 * (1 + request.seed % 7)] * 3)


@pytest.fixture
def teacher(monkeypatch: pytest.MonkeyPatch) -> Teacher:
    teacher = Teacher()
    monkeypatch.setattr(context, "open_engine", lambda *_, **__: ScriptedEngine.from_function(teacher))
    monkeypatch.setattr(pipeline, "publish", lambda run, recipe, states: None)
    return teacher


@pytest.fixture
def tree(tmp_path: Path) -> dict[str, Any]:
    rows = [{"id": name, "instruction": f"Say {name}."} for name in ("yes", "no")]
    data = tmp_path / "rows.jsonl"
    data.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    sample = {"kind": "sample", "engine": {"kind": "scripted"}, "data": str(data), "num_responses": 3, "logprobs": True}
    rank = {"kind": "rank", "by": "likelihood", "responses": "own"}
    return {"name": "tiny", "stages": {"own": sample, "ranked": rank}}


@pytest.fixture
def recipe(tree: dict[str, Any]) -> Recipe:
    return build_recipe(tree)


def usable(run: Path) -> list[int]:
    """Ranked responses of each list."""
    rows = read_rows(run / "ranked" / "rankings.jsonl", Ranking)
    return [sum(response.rank is not None for response in row.responses) for row in rows]


def test_failures_of_a_finished_stage_stay_unless_they_are_asked_for(
    teacher: Teacher, recipe: Recipe, tmp_path: Path
) -> None:
    teacher.failing = {"yes/1/1"}
    states = run_recipe(recipe, tmp_path)
    assert (states["own"].failed, usable(tmp_path)) == (1, [2, 3])
    teacher.failing, teacher.asked = set(), []
    run_recipe(recipe, tmp_path)
    assert (teacher.asked, usable(tmp_path)) == ([], [2, 3])
    states = run_recipe(recipe, tmp_path, retry_failed=True)
    assert (teacher.asked, usable(tmp_path)) == (["yes/1/1"], [3, 3])
    assert (states["own"].failed, states["own"].ok) == (0, 6)
    teacher.asked = []
    run_recipe(recipe, tmp_path)
    run_recipe(recipe, tmp_path, retry_failed=True)
    assert (teacher.asked, usable(tmp_path)) == ([], [3, 3])


def test_a_second_failure_changes_nothing_that_reads_the_stage(
    teacher: Teacher, recipe: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    teacher.failing = {"yes/1/1"}
    run_recipe(recipe, tmp_path)
    monkeypatch.setattr(likelihood.LikelihoodRanker, "rank", None)
    states = run_recipe(recipe, tmp_path, retry_failed=True)
    assert (states["own"].failed, states["own"].revision) == (1, 0)


def test_a_kill_while_failures_are_asked_for_again_is_gone_on_from(
    teacher: Teacher, recipe: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    teacher.failing = {"yes/1/1", "no/1/1"}
    run_recipe(recipe, tmp_path)
    teacher.failing = set()
    with monkeypatch.context() as patch:
        patch.setattr(RunFolder, "close_stage", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            run_recipe(recipe, tmp_path, retry_failed=True)
    run_recipe(recipe, tmp_path)
    assert usable(tmp_path) == [3, 3]


def test_several_processes_cannot_do_it(
    teacher: Teacher, recipe: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(RecipeError, match="--retry-failed: 2 processes"):
        run_recipe(recipe, tmp_path, retry_failed=True)


def test_another_length_penalty_asks_nobody(
    teacher: Teacher, tree: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_recipe(build_recipe(tree), tmp_path)
    before = read_rows(tmp_path / "ranked" / "rankings.jsonl", Ranking)
    monkeypatch.setattr(context, "open_engine", None)
    tree["stages"]["ranked"]["length_penalty"] = 0.5
    run_recipe(build_recipe(tree), tmp_path)
    after = read_rows(tmp_path / "ranked" / "rankings.jsonl", Ranking)
    assert [row.responses[0].score for row in before] != [row.responses[0].score for row in after]


def test_what_does_not_decide_answers_runs_nothing_again(
    teacher: Teacher, tree: dict[str, Any], tmp_path: Path
) -> None:
    engine: dict[str, Any] = {"kind": "endpoint", "base_url": "http://127.0.0.1:9/v1", "model": "m"}
    tree["stages"]["own"]["engine"] = engine
    run_recipe(build_recipe(tree), tmp_path)
    teacher.asked = []
    engine |= {"concurrency": 3, "timeout": 7, "max_retries": 1, "max_duplicates": 9, "requests_per_minute": 5}
    run_recipe(build_recipe(tree), tmp_path)
    assert teacher.asked == []
    assert resolve(build_recipe(tree), RunFolder(tmp_path))[0].done
    engine["model"] = "another"
    assert not resolve(build_recipe(tree), RunFolder(tmp_path))[0].done


def test_the_command_says_how(teacher: Teacher, tree: dict[str, Any], tmp_path: Path) -> None:
    teacher.failing = {"yes/1/1"}
    words = ["--quiet", "sample", f"data={tree['stages']['own']['data']}", "engine.kind=scripted", "logprobs=true"]
    words += ["num_responses=2", "--run-dir", str(tmp_path / "run")]
    failed = CliRunner().invoke(app, words)
    assert failed.exit_code == EXIT_FAILED_ROWS, failed.output
    assert "sample: 1 failed, 0 unknown of 4" in failed.output
    assert "the same command with --retry-failed asks again for what failed" in failed.output
    teacher.failing, teacher.asked = set(), []
    again = CliRunner().invoke(app, [*words, "--retry-failed"])
    assert again.exit_code == EXIT_OK, again.output
    assert teacher.asked == ["yes/1/1"]
