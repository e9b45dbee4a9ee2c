"""Every recipe that is shipped can be read, planned and estimated, and its file says what it needs."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

from tunalm.engines.cost.prices import load_prices
from tunalm.errors import RecipeError
from tunalm.estimate import estimate
from tunalm.loading import load_recipe
from tunalm.pipeline import plan
from tunalm.recipe import Recipe
from tunalm.store import RunFolder

RECIPES = sorted((Path(__file__).resolve().parents[2] / "recipes").glob("*.yaml"))


@pytest.fixture
def inputs(tmp_path: Path) -> dict[str, str]:
    """Something for every input that a recipe may want to be given."""
    rows = tmp_path / "rows.jsonl"
    lines = [{"instruction": f"Name the number {number}.", "output": str(number)} for number in range(200)]
    rows.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    engine = "{base_url: http://localhost:1/v1, model: any}"
    return {"base": "owner/name", "instructions": str(rows), "teacher": "owner/name", "judge": engine}


def load(path: Path, inputs: dict[str, str]) -> Recipe:
    missing = [name for name, value in yaml.safe_load(path.read_text(encoding="utf-8"))["inputs"].items() if not value]
    return load_recipe(path, [f"{name}={inputs[name]}" for name in missing])


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_a_shipped_recipe_can_be_planned(path: Path, inputs: dict[str, str], tmp_path: Path) -> None:
    recipe = load(path, inputs)
    run = RunFolder(tmp_path / "run")
    stages = estimate(recipe, plan(recipe, run), run, load_prices(recipe.prices)).stages
    assert [stage.stage for stage in stages] == list(recipe.stages)
    assert sum(asked.calls.expected for stage in stages for asked in stage.asked) > 0
    assert sum(stage.training.tokens for stage in stages if stage.training) > 0
    assert recipe.description


def test_a_recipe_says_which_inputs_it_needs() -> None:
    with pytest.raises(RecipeError, match="base"):
        load_recipe(next(path for path in RECIPES if path.stem == "tuna"), [])
