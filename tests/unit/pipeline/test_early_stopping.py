"""Rounds stop when a held-out score falls, and a run that resumes decides the same; the stages are stand-ins here."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.unit.recipe.test_rounds import HELD_OUT, tree
from tunalm.calls.context import StageContext
from tunalm.pipeline import running
from tunalm.pipeline.folder import RunFolder
from tunalm.pipeline.manifest import stored_recipe
from tunalm.pipeline.products import MADE
from tunalm.pipeline.running import run_recipe
from tunalm.pipeline.settling import settle
from tunalm.recipe import Recipe
from tunalm.recipe.loading import build_recipe
from tunalm.store import Summary

KNOBS = {"bootstrap_samples": 100, "seed": 0, "max_new_tokens": 8}


class StandIns:
    """Stages that note that they ran and what they read; `held_out` is what models score."""

    def __init__(self, held_out: dict[str, float]) -> None:
        self.held_out = held_out
        self.ran: list[str] = []
        self.starts: dict[str, str] = {}
        self.kill = ""

    def __call__(self, settings: Any, context: StageContext) -> Summary:
        name = context.folder.name
        if name == self.kill:
            self.kill = ""
            raise KeyboardInterrupt
        self.ran.append(name)
        made = context.folder / MADE[settings.produces]
        if settings.produces == "model":
            self.starts[name] = Path(getattr(settings, "start", "base")).parent.name
            made.mkdir(exist_ok=True)
            (made / "config.json").write_text(json.dumps(name), encoding="utf-8")
        elif settings.produces == "results":
            scores = {
                model: {"metric": "success", "value": self.held_out.get(model, 0.0), "n": 1}
                for model in settings.models
            }
            models = {model: {"identity": model, "results": {"checkable": score}} for model, score in scores.items()}
            content = {"baseline": next(iter(models)), "models": models, "comparisons": [], "settings": KNOBS}
            made.write_text(json.dumps(content), encoding="utf-8")
        else:
            made.write_text(f'{{"id": "1", "instruction": "Say {name}.", "responses": []}}\n', encoding="utf-8")
        return Summary(requested=1, ok=1)


@pytest.fixture
def stand_ins(monkeypatch: pytest.MonkeyPatch) -> StandIns:
    stages = StandIns({"start": 50, "tuna_1": 60, "tuna_2": 55, "tuna_3": 70})
    monkeypatch.setattr(running, "runner", lambda kind: stages)
    monkeypatch.setattr(running, "publish", lambda run, recipe, states: None)
    return stages


def recipe(patience: int, times: int = 3, **more: Any) -> Recipe:
    written = tree({"times": times, "patience": patience, "held_out": HELD_OUT}, **more)
    last = written["stages"].pop("scores")
    written["stages"] |= {"more": {"kind": "train", "start": "tuna", "rankings": "by_checker"}, "scores": last}
    return build_recipe(written)


def models(run: Path) -> list[str]:
    return list(json.loads((run / "scores" / "results.json").read_text(encoding="utf-8"))["models"])


def test_a_score_that_falls_ends_the_rounds(
    stand_ins: StandIns, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run_recipe(recipe(1), tmp_path)
    assert stand_ins.ran == [
        *("sft", "own_1", "by_checker_1", "tuna_1", "tuna_held_out_1"),
        *("own_2", "by_checker_2", "tuna_2", "tuna_held_out_2", "more", "scores"),
    ]
    assert stand_ins.starts["more"] == "tuna_1"
    assert models(tmp_path) == ["sft", "tuna_1", "tuna_2"], "a round that made it worse is shown too"
    assert "tuna ends with round 2: round 1 is the best" in " ".join(capsys.readouterr().err.split())
    assert stored_recipe(RunFolder(tmp_path)).early_stopping["tuna"].best == 1


def test_with_more_patience_a_later_round_may_win(stand_ins: StandIns, tmp_path: Path) -> None:
    run_recipe(recipe(2), tmp_path)
    assert "tuna_3" in stand_ins.ran
    assert stand_ins.starts["more"] == "tuna_3"


def test_a_start_that_no_round_beats_is_taken(stand_ins: StandIns, tmp_path: Path) -> None:
    stand_ins.held_out["start"] = 90
    run_recipe(recipe(1), tmp_path)
    assert "own_2" not in stand_ins.ran
    assert stand_ins.starts["more"] == "sft"


@pytest.mark.parametrize("place", ["tuna_1", "own_2", "tuna_2", "tuna_held_out_2", "more"])
def test_a_run_that_resumes_decides_the_same(stand_ins: StandIns, tmp_path: Path, place: str) -> None:
    stand_ins.kill = place
    with pytest.raises(KeyboardInterrupt):
        run_recipe(recipe(1), tmp_path)
    run_recipe(recipe(1), tmp_path)
    assert len(stand_ins.ran) == len(set(stand_ins.ran)) == 11, "nothing runs twice"
    assert stand_ins.starts["more"] == "tuna_1"
    run_recipe(recipe(1), tmp_path)
    run_recipe(stored_recipe(RunFolder(tmp_path)), tmp_path)
    assert len(stand_ins.ran) == 11, "nor does it when all is done, or from the recipe that the run keeps"


def test_one_more_round_resumes_from_the_rounds_that_are_there(stand_ins: StandIns, tmp_path: Path) -> None:
    run_recipe(build_recipe(tree(2)), tmp_path)
    stand_ins.ran.clear()
    run_recipe(build_recipe(tree(3)), tmp_path)
    assert stand_ins.ran == ["own_3", "by_checker_3", "tuna_3", "scores"]


def test_every_variant_of_a_sweep_stops_by_itself(stand_ins: StandIns, tmp_path: Path) -> None:
    stand_ins.held_out = {"start": 50.0} | {
        f"tuna_{number}~margin={margin}": score
        for margin, scores in {1: (60.0, 70.0, 80.0), 2: (40.0, 90.0, 90.0)}.items()
        for number, score in enumerate(scores, 1)
    }
    swept = recipe(1, sweep={"tuna.margin": [1, 2]})
    stand_ins.kill = "tuna_3~margin=1"
    with pytest.raises(KeyboardInterrupt):
        run_recipe(swept, tmp_path)
    run_recipe(swept, tmp_path)
    assert "own_3~margin=1" in stand_ins.ran
    assert "own_2~margin=2" not in stand_ins.ran
    assert (stand_ins.starts["more~margin=1"], stand_ins.starts["more~margin=2"]) == ("tuna_3~margin=1", "sft")
    assert len(stand_ins.ran) == len(set(stand_ins.ran))
    assert settle(swept, RunFolder(tmp_path)).early_stopping["tuna~margin=1"].best == 3
