"""Every recipe that is shipped can be read and planned, and its file says what it needs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.published import lmentry, superni
from tests.tiny import save_tiny_model
from tunalm.calls.prices import load_prices
from tunalm.errors import RecipeError
from tunalm.pipeline.folder import RunFolder
from tunalm.pipeline.planning import estimate
from tunalm.pipeline.resolving import resolve
from tunalm.recipe import Evaluate, Recipe
from tunalm.recipe.loading import load_recipe

FOLDER = Path(__file__).resolve().parents[2] / "recipes"
RECIPES = sorted(FOLDER.glob("*.yaml"))
SYSTEMS = {
    "alpaca": {"alpaca"},
    "alpaca_mul": {"alpaca_mul"},
    "tuna_p": {"tuna_p"},
    "tuna_c": {"tuna_c"},
    "tuna_c_prm": {"tuna_c_prm"},
    "tuna": {"alpaca", "tuna_p", "tuna"},
    "tuna_cp": {"tuna_cp_13k", "tuna_cp_39k", "tuna_cp_52k"},
    "mix_tuna": {"mix_tuna_52k", "mix_tuna_104k"},
    "ppo_sim": {"ppo_sim", "ppo_sim_gpt4_20k"},
}
"""Models of the paper by the recipe that makes them."""


@pytest.fixture
def inputs(tmp_path: Path) -> dict[str, str]:
    """Something for every input that a recipe may want to be given."""
    rows = tmp_path / "rows.jsonl"
    lines = [{"instruction": f"Name the number {number}.", "output": str(number)} for number in range(200)]
    rows.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    questions = tmp_path / "questions.jsonl"
    asked = [{"question_id": number, "text": f"Why {number}?", "category": "generic"} for number in range(3)]
    questions.write_text("".join(json.dumps(line) + "\n" for line in asked), encoding="utf-8")
    seeds = tmp_path / "seed_tasks.jsonl"
    tasks = [{"instruction": f"Do {yes}.", "output": "x", "is_classification": yes} for yes in (True, False)]
    seeds.write_text("".join(json.dumps(task) + "\n" for task in tasks), encoding="utf-8")
    return {
        "writer": "{model: owner/name, template: raw}",
        "seeds": str(seeds),
        "base": "owner/name",
        "model": "owner/name",
        "instructions": str(rows),
        "teacher": "owner/name",
        "judge": "{base_url: http://localhost:1/v1, model: any}",
        "prm": "owner/small",
        "tokenizer": str(save_tiny_model(tmp_path / "tiny")),
        "superni": str(superni(tmp_path / "superni")),
        "lmentry": str(lmentry(tmp_path / "lmentry", "first_letter")),
        "vicuna": str(questions),
        "questions": str(rows),
        "against": str(questions),
    }


def declared(path: Path) -> dict[str, Any]:
    """Inputs of a recipe, those of the one that it extends included."""
    tree: dict[str, Any] = yaml.safe_load(path.read_text(encoding="utf-8"))
    inherited = declared(path.parent / tree["extends"]) if "extends" in tree else {}
    return {**inherited, **tree.get("inputs", {})}


def load(path: Path, inputs: dict[str, str]) -> Recipe:
    missing = [name for name, value in declared(path).items() if not value]
    return load_recipe(path, [f"{name}={inputs[name]}" for name in missing])


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_a_shipped_recipe_can_be_planned(path: Path, inputs: dict[str, str], tmp_path: Path) -> None:
    recipe = load(path, inputs)
    run = RunFolder(tmp_path / "run")
    stages = estimate(recipe, resolve(recipe, run), run, load_prices(recipe.prices)).stages
    assert [stage.stage for stage in stages] == list(recipe.stages)
    assert sum(asked.calls.expected for stage in stages for asked in stage.asked) > 0
    assert recipe.description


@pytest.mark.parametrize("name", SYSTEMS)
def test_every_system_of_the_paper_has_a_recipe(name: str, inputs: dict[str, str]) -> None:
    recipe = load(FOLDER / f"{name}.yaml", inputs)
    whole = load(FOLDER / "paper.yaml", inputs)
    assert SYSTEMS[name] <= recipe.stages.keys() & whole.stages.keys()
    assert SYSTEMS[name] <= recipe.stages["scores"].models.keys()  # type: ignore[union-attr]


def test_a_folder_stands_beside_the_systems_of_a_recipe(inputs: dict[str, str]) -> None:
    path, folder = FOLDER / "ppo_sim.yaml", inputs["tokenizer"]
    missing = [f"{name}={inputs[name]}" for name, value in declared(path).items() if not value]
    released = f"stages.scores.models.released={{model: {folder}, template: alpaca}}"
    scores = load_recipe(path, [*missing, released]).stages["scores"]
    assert isinstance(scores, Evaluate)
    assert {"ppo_sim", "released"} <= scores.models.keys()
    assert scores.models["released"].model_dump()["template"] == "alpaca"


def test_a_recipe_says_which_inputs_it_needs() -> None:
    with pytest.raises(RecipeError, match="base"):
        load_recipe(FOLDER / "tuna.yaml", [])
