"""Parts of recipes, and recipes that extend others."""

from __future__ import annotations

from pathlib import Path

import pytest

from tunalm.errors import RecipeError
from tunalm.recipe import Evaluate, Train
from tunalm.recipe.loading import load_recipe

PARENT = """\
name: parent
inputs: {base: owner/base, margin: 0.1}
stages:
  sft: {kind: sft, model: "${base}", data: "checkable:train"}
  drawn: {kind: sample, engine: sft, data: "checkable:train"}
  lists: {kind: rank, by: verifier, responses: drawn}
  one: {kind: train, start: sft, rankings: lists, margin: "${margin}"}
  other: {kind: train, start: one, rankings: lists}
  scores: {kind: evaluate, models: {base: "${base}", sft: sft, one: one, other: other}, benchmarks: [checkable]}
  more: {kind: evaluate, models: {other: other}, benchmarks: [checkable]}
"""


@pytest.fixture
def parent(tmp_path: Path) -> Path:
    path = tmp_path / "parent.yaml"
    path.write_text(PARENT, encoding="utf-8")
    return path


def test_only_what_is_wanted_is_left_with_all_that_it_reads(parent: Path) -> None:
    recipe = load_recipe(parent, ["only=[one]"])
    assert list(recipe.stages) == ["sft", "drawn", "lists", "one", "scores"]
    scores = recipe.stages["scores"]
    assert isinstance(scores, Evaluate)
    assert list(scores.models) == ["base", "one"]


def test_inputs_of_stages_that_are_left_out_need_no_value(parent: Path) -> None:
    text = PARENT.replace("margin: 0.1}", "margin: 0.1, other: null}").replace("start: one", 'start: "${other}"')
    parent.write_text(text, encoding="utf-8")
    assert "one" in load_recipe(parent, ["only=[one]"]).stages
    with pytest.raises(RecipeError, match="no value for the input 'other'"):
        load_recipe(parent, ["only=[other]"])


def test_a_stage_that_is_unknown_cannot_be_wanted(parent: Path) -> None:
    with pytest.raises(RecipeError, match="Did you mean 'other'"):
        load_recipe(parent, ["only=[others]"])


def test_a_recipe_extends_another_key_by_key(parent: Path) -> None:
    child = parent.with_name("child.yaml")
    child.write_text(
        "name: child\nextends: parent.yaml\nonly: [one]\ninputs: {margin: 0.3}\nstages: {one: {mle_weight: 2}}\n",
        encoding="utf-8",
    )
    recipe = load_recipe(child)
    one = recipe.stages["one"]
    assert isinstance(one, Train)
    assert (recipe.name, one.margin, one.mle_weight) == ("child", 0.3, 2)


def test_a_recipe_that_extends_itself_or_nothing_is_one_clear_line(parent: Path) -> None:
    child = parent.with_name("child.yaml")
    child.write_text("name: child\nextends: child.yaml\n", encoding="utf-8")
    with pytest.raises(RecipeError, match="extends itself"):
        load_recipe(child)
    child.write_text("name: child\nextends: nobody.yaml\n", encoding="utf-8")
    with pytest.raises(RecipeError, match=r"nobody\.yaml"):
        load_recipe(child)
