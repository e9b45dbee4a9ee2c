"""A proxy in a recipe: trained on ranked lists by one stage, ranking by the next, in the plan and in the report."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest

from tests.tiny import save_tiny_model
from tunalm.calls.prices import load_prices
from tunalm.errors import RecipeError
from tunalm.pipeline.folder import RunFolder
from tunalm.pipeline.planning import estimate
from tunalm.pipeline.resolving import resolve
from tunalm.pipeline.running import run_recipe
from tunalm.recipe import Recipe
from tunalm.recipe.loading import build_recipe
from tunalm.records import Ranking, Response
from tunalm.store import read_rows, write_rows

WORDS = ["ash", "elm", "fir", "oak"]


@pytest.fixture
def tree(tmp_path: Path) -> dict[str, Any]:
    """A recipe on lists in which the response that ends in 'yew' is the better one."""
    draw = random.Random(0)
    rows = []
    for number in range(60):
        responses = [Response(text=f"{draw.choice(WORDS)} {end}", rank=int(end != "yew")) for end in ("yew", "box")]
        draw.shuffle(responses)
        rows.append(Ranking(id=str(number), instruction=f"Name two trees, {number}", responses=responses))
    write_rows(tmp_path / "judged.jsonl", rows)
    prm = {
        "kind": "proxy",
        "start": str(save_tiny_model(tmp_path / "base", initializer_range=0.3)),
        "rankings": str(tmp_path / "judged.jsonl"),
        "held_out": 0.25,
        "batch_size": 5,
        "epochs": 4,
        "learning_rate": 5e-3,
    }
    by_prm = {"kind": "rank", "by": "proxy", "model": "prm", "responses": str(tmp_path / "judged.jsonl")}
    return {"name": "line", "stages": {"prm": prm, "by_prm": by_prm}}


def made(tree: dict[str, Any], *overrides: str) -> Recipe:
    return build_recipe(tree, overrides)


def test_a_proxy_ranks_as_the_lists_that_it_has_learned(tree: dict[str, Any], tmp_path: Path) -> None:
    states = run_recipe(made(tree), tmp_path / "run")
    held_out = states["prm"].details["held_out"]
    assert held_out["lists"] == 15
    assert held_out["pair_accuracy"]["proxy"]["value"] > 0.9
    assert states["prm"].details["trained"] == 45
    assert states["by_prm"].details["mean_confidence"] > 0.5
    ranked = read_rows(tmp_path / "run" / "by_prm" / "rankings.jsonl", Ranking)
    right = [next(each for each in row.responses if each.rank == 0).text.endswith("yew") for row in ranked]
    assert sum(right) > 0.9 * len(ranked)
    report = (tmp_path / "run" / "report.html").read_text(encoding="utf-8")
    assert "How prm agrees with the judge" in report
    assert "same best response" in report
    stamps = {path: path.stat().st_mtime_ns for path in (tmp_path / "run").rglob("*.safetensors")}
    run_recipe(made(tree), tmp_path / "run")
    assert stamps == {path: path.stat().st_mtime_ns for path in (tmp_path / "run").rglob("*.safetensors")}


def test_the_plan_counts_what_is_learned(tree: dict[str, Any], tmp_path: Path) -> None:
    def tokens(*overrides: str) -> int:
        recipe, run = made(tree, *overrides), RunFolder(tmp_path / "run")
        stage = estimate(recipe, resolve(recipe, run), run, load_prices(None)).stages[0]
        assert stage.training is not None
        return stage.training.tokens

    assert tokens() == pytest.approx(0.75 * tokens("stages.prm.held_out=0"), rel=0.03)


def test_another_proxy_ranks_again_and_a_language_model_cannot(tree: dict[str, Any], tmp_path: Path) -> None:
    run = RunFolder(tmp_path / "run")
    first, second = (resolve(made(tree, f"stages.prm.epochs={epochs}"), run)[1].fingerprint for epochs in (1, 2))
    assert first != second
    tree["stages"]["prm"] |= {"kind": "train"}
    del tree["stages"]["prm"]["held_out"]
    with pytest.raises(RecipeError, match="makes model, and proxy is needed here"):
        made(tree)
