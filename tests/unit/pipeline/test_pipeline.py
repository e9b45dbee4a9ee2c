"""What runs, what is skipped, and what a changed knob runs again; the stages themselves are stand-ins here."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tunalm.calls.context import StageContext
from tunalm.errors import ModelError, StoreError
from tunalm.pipeline import running as pipeline
from tunalm.pipeline.folder import RunFolder
from tunalm.pipeline.products import MADE
from tunalm.pipeline.resolving import resolve
from tunalm.pipeline.running import run_recipe
from tunalm.recipe.loading import build_recipe
from tunalm.store import Summary


@pytest.fixture
def tree(tmp_path: Path) -> dict[str, Any]:
    data = tmp_path / "rows.jsonl"
    data.write_text('{"id": "1", "instruction": "Say yes.", "reference": "Yes."}\n', encoding="utf-8")
    return {
        "name": "tiny",
        "stages": {
            "start": {"kind": "sft", "model": "owner/name", "data": str(data)},
            "own": {"kind": "sample", "engine": "start", "data": str(data)},
            "ranked": {"kind": "rank", "by": "verifier", "responses": "own"},
            "other": {"kind": "sft", "model": "owner/name", "data": str(data), "epochs": 2},
        },
    }


@pytest.fixture
def ran(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Replace every stage by one that notes that it ran and writes what the next one reads."""
    names: list[str] = []

    def runner(settings: Any, context: StageContext) -> Summary:
        names.append(context.folder.name)
        made = context.folder / MADE[settings.produces]
        if settings.produces == "model":
            made.mkdir(exist_ok=True)
            (made / "config.json").write_text("{}", encoding="utf-8")
        else:
            made.write_text('{"id": "1", "instruction": "Say yes.", "responses": []}\n', encoding="utf-8")
        return Summary(requested=1, ok=1)

    monkeypatch.setattr(pipeline, "runner", lambda kind: runner)
    monkeypatch.setattr(pipeline, "publish", lambda run, recipe, states: None)
    return names


def test_everything_runs_once_and_is_then_skipped(tree: dict[str, Any], ran: list[str], tmp_path: Path) -> None:
    recipe = build_recipe(tree)
    run_recipe(recipe, tmp_path / "run")
    assert ran == ["start", "own", "ranked", "other"]
    run_recipe(recipe, tmp_path / "run")
    assert len(ran) == 4


@pytest.mark.parametrize(
    ("stage", "knob", "value", "runs"),
    [("own", "temperature", 0.5, ["own", "ranked"]), ("start", "save_steps", 7, [])],
    ids=["decides the result", "cannot change it"],
)
def test_a_changed_knob_runs_its_stage_and_what_depends_on_it(
    tree: dict[str, Any], ran: list[str], tmp_path: Path, stage: str, knob: str, value: float, runs: list[str]
) -> None:
    run_recipe(build_recipe(tree), tmp_path / "run")
    ran.clear()
    tree["stages"][stage][knob] = value
    run_recipe(build_recipe(tree), tmp_path / "run")
    assert ran == runs


def test_what_earlier_settings_made_comes_back_with_them(tree: dict[str, Any], ran: list[str], tmp_path: Path) -> None:
    run_recipe(build_recipe(tree), tmp_path / "run")
    tree["stages"]["own"]["temperature"] = 0.5
    run_recipe(build_recipe(tree), tmp_path / "run")
    ran.clear()
    tree["stages"]["own"]["temperature"] = 1.0
    run_recipe(build_recipe(tree), tmp_path / "run")
    assert ran == []


def test_changed_data_runs_what_reads_it(tree: dict[str, Any], ran: list[str], tmp_path: Path) -> None:
    run_recipe(build_recipe(tree), tmp_path / "run")
    ran.clear()
    with open(tmp_path / "rows.jsonl", "a", encoding="utf-8") as file:
        file.write('{"id": "2", "instruction": "Say no.", "reference": "No."}\n')
    run_recipe(build_recipe(tree), tmp_path / "run")
    assert ran == ["start", "own", "ranked", "other"]


def test_a_stage_that_stops_half_way_runs_again(
    tree: dict[str, Any], ran: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = build_recipe(tree)
    whole = pipeline.runner("sample")  # type: ignore[attr-defined]

    def stops(settings: Any, context: StageContext) -> Summary:
        if context.folder.name == "own" and not (context.folder / "half").exists():
            (context.folder / "half").write_text("kept", encoding="utf-8")
            raise KeyboardInterrupt
        return whole(settings, context)

    monkeypatch.setattr(pipeline, "runner", lambda kind: stops)
    with pytest.raises(KeyboardInterrupt):
        run_recipe(recipe, tmp_path / "run")
    run_recipe(recipe, tmp_path / "run")
    assert ran == ["start", "own", "ranked", "other"]
    assert (tmp_path / "run" / "own" / "half").read_text(encoding="utf-8") == "kept"


def test_stage_names_become_paths(tree: dict[str, Any], tmp_path: Path) -> None:
    steps = resolve(build_recipe(tree), RunFolder(tmp_path / "run"))
    assert steps[1].settings.model_dump()["engine"]["model"] == str(tmp_path / "run" / "start" / "model")
    assert steps[2].settings.model_dump()["responses"] == str(tmp_path / "run" / "own" / "responses.jsonl")


def test_a_model_that_does_not_exist_is_refused_before_anything_runs(
    tree: dict[str, Any], ran: list[str], tmp_path: Path
) -> None:
    tree["stages"]["other"]["model"] = "./no/such/folder"
    with pytest.raises(ModelError, match=r"stages\.other\.model: found './no/such/folder'"):
        run_recipe(build_recipe(tree), tmp_path / "run")
    assert ran == []


def test_two_processes_cannot_hold_one_run_folder(tmp_path: Path) -> None:
    with (
        RunFolder(tmp_path).lock(),
        pytest.raises(StoreError, match=r"a run in progress \(process \d+"),
        RunFolder(tmp_path).lock(),
    ):
        pass


def test_ppo_is_no_work_for_the_other_processes_of_a_launch(tmp_path: Path) -> None:
    models = {"kind": "rl", "start": "owner/name", "reward": "owner/proxy", "data": "checkable:train"}
    methods: list[dict[str, Any]] = [{"method": "rloo"}, {"method": "grpo"}, {"method": "ppo"}]
    stages = {method["method"]: models | method for method in methods}
    recipe = build_recipe({"name": "x", "stages": stages})
    steps = resolve(recipe, RunFolder(tmp_path / "run"))
    assert [step.name for step in steps if pipeline._trains_in_all(step)] == ["rloo", "grpo"]
