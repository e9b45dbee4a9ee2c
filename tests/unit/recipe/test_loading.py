"""Recipes: overrides, inputs, references between stages, and one clear line for every mistake."""

from __future__ import annotations

from pathlib import Path

import pytest

from tunalm.errors import RecipeError
from tunalm.recipe.loading import load_recipe

RECIPE = """\
name: tiny
inputs:
  base: embedded:smollm2
  judge: null
stages:
  teacher:
    kind: sample
    engine: "${base}"
    data: {source: "checkable:train", limit: 8}
    logprobs: true
  ranked: {kind: rank, by: likelihood, responses: teacher}
  tuned:
    kind: train
    start: "${base}"
    rankings: ranked
    margin: 0.1
"""


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    path = tmp_path / "tiny.yaml"
    path.write_text(RECIPE, encoding="utf-8")
    return path


def test_inputs_fill_placeholders_and_plain_strings_become_settings(recipe: Path) -> None:
    stages = load_recipe(recipe).stages
    assert stages["teacher"].model_dump()["engine"]["model"] == "embedded:smollm2"
    assert stages["teacher"].model_dump()["data"]["limit"] == 8


def test_overrides_reach_inputs_and_stages(recipe: Path) -> None:
    stages = load_recipe(recipe, ["base=owner/name", "stages.tuned.margin=0.05"]).stages
    assert stages["tuned"].model_dump()["start"] == "owner/name"
    assert stages["tuned"].model_dump()["margin"] == 0.05


def test_an_override_can_build_an_input_piece_by_piece(recipe: Path) -> None:
    text = RECIPE.replace("by: likelihood,", 'by: judge, engine: "${judge}",')
    recipe.write_text(text, encoding="utf-8")
    engine = load_recipe(recipe, ["judge.base_url=http://127.0.0.1:8/v1", "judge.model=m"]).stages["ranked"]
    assert engine.model_dump()["engine"]["kind"] == "endpoint"


def test_the_limit_reaches_every_data_source(recipe: Path) -> None:
    assert load_recipe(recipe, limit=3).stages["teacher"].model_dump()["data"]["limit"] == 3
    assert load_recipe(recipe, limit=50).stages["teacher"].model_dump()["data"]["limit"] == 8


def test_the_seed_of_the_recipe_is_for_stages_without_their_own(recipe: Path) -> None:
    stages = load_recipe(recipe, ["seed=7", "stages.tuned.seed=1"]).stages
    assert (stages["teacher"].seed, stages["tuned"].seed) == (7, 1)


def test_a_slice_can_be_put_around_an_input_that_is_a_mapping(recipe: Path) -> None:
    text = RECIPE.replace("  judge: null", "  judge: null\n  rows: {source: a.jsonl, limit: 9}")
    text = text.replace('{source: "checkable:train", limit: 8}', '{source: "${rows}", rows: ":5"}')
    recipe.write_text(text, encoding="utf-8")
    data = load_recipe(recipe).stages["teacher"].model_dump()["data"]
    assert (data["source"], data["limit"], data["rows"]) == ("a.jsonl", 9, ":5")


TYPOS = [
    ("margin: 0.1", "margn: 0.1", "margin", 16),
    ("logprobs: true", "logprob: true", "logprobs", 10),
    ("responses: teacher", "response: teacher", "responses", 11),
    ("limit: 8", "limt: 8", "limit", 9),
    ("inputs:", "input:", "inputs", 2),
    ("rankings: ranked", "rankings: rankd", "ranked", 15),
    ("kind: train", "kind: trian", "train", 13),
    ("responses: teacher", "responses: techer", "teacher", 11),
]


@pytest.mark.parametrize(("right", "wrong", "meant", "line"), TYPOS)
def test_a_typo_is_named_with_its_line_and_the_nearest_word(
    recipe: Path, right: str, wrong: str, meant: str, line: int
) -> None:
    recipe.write_text(RECIPE.replace(right, wrong).replace("${base}", "owner/name"), encoding="utf-8")
    with pytest.raises(RecipeError) as caught:
        load_recipe(recipe)
    message = str(caught.value)
    assert f"'{meant}'" in message
    assert f"tiny.yaml:{line}:" in message
    assert "\n" not in message


@pytest.mark.parametrize(
    ("right", "wrong", "says"),
    [
        ("rankings: ranked", "rankings: teacher", "makes responses"),
        ("responses: teacher", "responses: tuned", "runs later"),
        ('start: "${base}"', "start: nowhere", "'nowhere'"),
        ("margin: 0.1", "margin: -1", "must be at least 0"),
        ("margin: 0.1", "margin: many", "number"),
        ("by: likelihood", "by: taste", "likelihood"),
        ("by: likelihood", "by: judge", "ranked: by: judge needs an engine"),
        ("${base}", "${bse}", "Did you mean 'base'?"),
        ("${base}", "${judge}", "Add judge=..."),
        ("    margin: 0.1", "    margin: 0.1\n    margin: 0.2", "a second time (first on line 16)"),
        ("name: tiny", "name: ../up", "name of a folder"),
        ("name: tiny", "name: [", "expected"),
        ("name: tiny", "name: !!python/object/apply:os.getcwd []", "plain YAML"),
        ("limit: 8", "limit: 0", "must be at least 1"),
        ("limit: 8", "rows: '1:2:3'", "slice"),
    ],
)
def test_other_mistakes_get_one_clear_line(recipe: Path, right: str, wrong: str, says: str) -> None:
    recipe.write_text(RECIPE.replace(right, wrong), encoding="utf-8")
    with pytest.raises(RecipeError) as caught:
        load_recipe(recipe)
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("override", "says"),
    [
        ("bse=x", "Did you mean 'base'?"),
        ("noequals", "key=value"),
        ("stages.tund.margin=1", "stage 'tund'"),
        ("stages.tuned.margin.x=1", "plain value"),
        ("stages.tuned.margn=1", "Did you mean 'margin'?"),
        ("base={", "no plain YAML"),
    ],
)
def test_a_wrong_override_says_so(recipe: Path, override: str, says: str) -> None:
    with pytest.raises(RecipeError) as caught:
        load_recipe(recipe, [override])
    assert says in str(caught.value)


def test_a_missing_file_suggests_its_neighbour(recipe: Path) -> None:
    with pytest.raises(RecipeError, match=r"tiny\.yaml'\?"):
        load_recipe(recipe.with_name("tny.yaml"))


@pytest.mark.parametrize("rows", [":3", "-3:", "1:30", ":"])
def test_a_slice_can_be_given_as_it_is_written(recipe: Path, rows: str) -> None:
    teacher = load_recipe(recipe, [f"stages.teacher.data.rows={rows}"]).stages["teacher"]
    assert teacher.model_dump()["data"]["rows"] == rows


def test_a_stage_can_be_named_where_null_is_allowed(recipe: Path) -> None:
    sft = "  again: {kind: sft, model: owner/name, data: 'checkable:train', responses: RESPONSES}\n"
    recipe.write_text(RECIPE + sft.replace("RESPONSES", "teacher"), encoding="utf-8")
    assert "again" in load_recipe(recipe).stages
    recipe.write_text(RECIPE + sft.replace("RESPONSES", "teachr"), encoding="utf-8")
    with pytest.raises(RecipeError, match="'teacher'"):
        load_recipe(recipe)
