"""Recipes that come with tunalm: found by name, copied with their comments, described by a schema."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from tunalm.errors import RecipeError
from tunalm.recipe.copying import Draft
from tunalm.recipe.loading import load_recipe, read_recipe
from tunalm.recipe.schema import MARK, SCHEMA_FILE, recipe_schema
from tunalm.recipe.shipped import description, find_recipe, missing_inputs, recipes_folder, shipped


def test_a_name_means_a_file_here_first_and_a_shipped_recipe_then(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "quickstart").mkdir()
    assert find_recipe("quickstart") == find_recipe("quickstart.yaml") == shipped()["quickstart"]
    Path("quickstart.yaml").write_text("name: mine\n", encoding="utf-8")
    assert find_recipe("quickstart") == Path("quickstart.yaml")
    for wrong, said in (("qickstart", "Did you mean 'quickstart"), ("./paper", "Use one of"), ("a/b.yaml", "recipes`")):
        with pytest.raises(RecipeError, match=said):
            find_recipe(wrong)


def test_a_recipe_of_ones_own_may_extend_a_shipped_one(tmp_path: Path) -> None:
    mine = tmp_path / "mine.yaml"
    mine.write_text("name: mine\nextends: quickstart\nstages: {tuna: {margin: 0.2}}\n", encoding="utf-8")
    assert load_recipe(mine).stages["tuna"].model_dump()["margin"] == 0.2


@pytest.mark.parametrize("name", shipped())
def test_a_copy_of_a_shipped_recipe_says_the_same(name: str, tmp_path: Path) -> None:
    target = tmp_path / "copy.yaml"
    Draft(name).write(target)
    assert read_recipe(target)[0] == read_recipe(shipped()[name])[0]
    first, *rest = target.read_text(encoding="utf-8").splitlines()
    assert first == f"{MARK}{(recipes_folder() / SCHEMA_FILE).resolve().as_uri()}"
    assert rest == shipped()[name].read_text(encoding="utf-8").splitlines()[1:]
    assert description(target)


@pytest.mark.parametrize("name", ["tuna", "tuna_c", "sound"])
def test_given_inputs_stand_in_the_copy_and_comments_stay(name: str, tmp_path: Path) -> None:
    draft = Draft(name, ["base='it is: # a name'", "judge.base_url=http://127.0.0.1:1/v1", "judge.model=m"])
    target = tmp_path / "copy.yaml"
    draft.write(target)
    inputs = read_recipe(target)[0]["inputs"]
    assert inputs["base"] == "it is: # a name"
    assert inputs["judge"] == {"base_url": "http://127.0.0.1:1/v1", "model": "m"}
    assert draft.missing == missing_inputs(read_recipe(target)[0])
    assert not {"base", "judge"} & set(draft.missing)
    text, source = target.read_text(encoding="utf-8"), shipped()[name].read_text(encoding="utf-8")
    assert text.count("#") == source.count("#") + 1
    assert draft.comment("judge").startswith(("{base_url", "ranks in context"))


@pytest.mark.parametrize(
    ("pair", "said"),
    [
        ("bse=1", "'bse' is no input"),
        ("base={", "no plain YAML"),
        ("judge.api_key_env=sk-1234567890abcdef", "may be a key"),
        ("margin", "no input"),
    ],
)
def test_an_input_that_cannot_be_given_is_refused(pair: str, said: str) -> None:
    with pytest.raises(RecipeError, match=said):
        Draft("tuna", [pair])


def test_a_copy_is_checked_and_never_written_over_a_file(tmp_path: Path) -> None:
    target = tmp_path / "copy.yaml"
    with pytest.raises(RecipeError, match="rows"):
        Draft("quickstart", ["instructions.rows=many"]).write(target)
    assert not target.exists()
    target.write_text("mine", encoding="utf-8")
    with pytest.raises(RecipeError, match="there already"):
        Draft("quickstart").write(target)
    assert target.read_text(encoding="utf-8") == "mine"


def complaints(tree: Any) -> list[str]:
    jsonschema = pytest.importorskip("jsonschema")
    return [error.message for error in jsonschema.Draft7Validator(recipe_schema()).iter_errors(tree)]


@pytest.mark.parametrize("path", shipped().values(), ids=lambda path: path.stem)
def test_the_schema_lets_every_shipped_recipe_pass(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert text.startswith(f"{MARK}{SCHEMA_FILE}\n")
    assert complaints(yaml.safe_load(text)) == []


LINE = """
name: line
inputs: {base: "embedded:smollm2"}
stages:
  tuna_p:     {kind: sft, model: "${base}", data: "checkable:train"}
  own:        {kind: sample, engine: tuna_p, data: "checkable:train", num_responses: 4, max_rouge_l: 0.8}
  by_checker: {kind: rank, by: verifier, responses: own}
  tuna:       {kind: train, start: tuna_p, rankings: by_checker, mle_weight: 10}
"""


@pytest.mark.parametrize(
    ("right", "wrong", "said"),
    [
        ("mle_weight", "mle_wieght", "'mle_wieght' was unexpected"),
        ("max_rouge_l: 0.8", "max_rouge_l: 8", "8 is not valid"),
        ("max_rouge_l: 0.8", 'max_rouge_l: "${base}"', ""),
        ("kind: sft", "kind: stf", "'stf' is not one of"),
        ("{kind: rank, by: verifier, responses: own}", "{kind: rank, by: verifier}", "'responses' is a required"),
        ("{kind: rank, by: verifier, responses: own}", "{by: verifier, responses: own}", "'kind' is a required"),
        ("engine: tuna_p", "engine: {base_url: a, model: b}", ""),
        ("engine: tuna_p", "engine: {base_url: a, modl: b}", "is not valid"),
        ("engine: tuna_p", "engine: {kind: endpont, model: b}", "is not valid"),
        ("engine: tuna_p", 'engine: {kind: "mine.py:Engine", options: {a: 1}}', ""),
        ("inputs:", "input:", "'input' was unexpected"),
        ("stages:", "extends: paper\nstages:", ""),
    ],
)
def test_the_schema_finds_what_an_editor_should_underline(right: str, wrong: str, said: str) -> None:
    assert right in LINE
    found = complaints(yaml.safe_load(LINE.replace(right, wrong, 1)))
    assert (found == []) if not said else any(said in each for each in found)
