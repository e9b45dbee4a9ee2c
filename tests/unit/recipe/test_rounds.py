"""Rounds are written out as the stages that one would write by hand."""

from __future__ import annotations

from typing import Any

import pytest

from tunalm.errors import RecipeError
from tunalm.pipeline.manifest import dump_recipe
from tunalm.recipe import Evaluate, Recipe, Sample, Train
from tunalm.recipe.loading import build_recipe

HELD_OUT = {"name": "checkable", "data": {"source": "checkable:train", "rows": "-64:"}}


def tree(rounds: Any, **more: Any) -> dict[str, Any]:
    data = {"source": "checkable:train", "rows": ":240"}
    return {
        "name": "rounds",
        "stages": {
            "sft": {"kind": "sft", "model": "owner/base", "data": "checkable:train"},
            "own": {"kind": "sample", "engine": "sft", "data": data, "num_responses": 4},
            "by_checker": {"kind": "rank", "by": "verifier", "responses": "own"},
            "tuna": {"kind": "train", "start": "sft", "rankings": "by_checker", "margin": 0.2, "rounds": rounds},
            "scores": {"kind": "evaluate", "models": ["sft", "tuna"], "benchmarks": ["checkable"]},
        },
        **more,
    }


def stage(recipe: Recipe, name: str) -> Any:
    return recipe.stages[name]


def test_rounds_are_the_stages_that_one_would_write_by_hand() -> None:
    written = build_recipe(tree(2))
    data = {"source": "checkable:train"}
    by_hand = build_recipe(
        {
            "name": "rounds",
            "stages": {
                "sft": {"kind": "sft", "model": "owner/base", "data": "checkable:train"},
                "own_1": {"kind": "sample", "engine": "sft", "data": {**data, "rows": ":240"}},
                "by_checker_1": {"kind": "rank", "by": "verifier", "responses": "own_1"},
                "tuna_1": {"kind": "train", "start": "sft", "rankings": "by_checker_1", "margin": 0.2},
                "own_2": {"kind": "sample", "engine": "tuna_1", "data": {**data, "rows": "240:480"}},
                "by_checker_2": {"kind": "rank", "by": "verifier", "responses": "own_2"},
                "tuna_2": {"kind": "train", "start": "tuna_1", "rankings": "by_checker_2", "margin": 0.2},
                "scores": {"kind": "evaluate", "models": ["sft", "tuna_1", "tuna_2"], "benchmarks": ["checkable"]},
            },
        }
    )
    assert dump_recipe(written) == dump_recipe(by_hand)


def test_overrides_and_limits_reach_all_rounds() -> None:
    recipe = build_recipe(tree(3), ["stages.tuna.rounds=2", "stages.tuna.margin=0.4"], limit=8)
    assert "tuna_3" not in recipe.stages
    assert [each.margin for each in recipe.stages.values() if isinstance(each, Train)] == [0.4, 0.4]
    assert [(each.data.rows, each.data.limit) for each in recipe.stages.values() if isinstance(each, Sample)] == [
        (":240", 8),
        ("240:480", 8),
    ]


@pytest.mark.parametrize(
    ("data", "rounds", "rows"),
    [
        ({"rows": "100:150"}, {"times": 3}, ["100:150", "150:200", "200:250"]),
        ({"limit": 50}, {"times": 3}, [":", "50:100", "100:150"]),
        ({}, {"times": 2}, [":", ":"]),
        ({"rows": "-50:"}, {"times": 2}, ["-50:", "-50:"]),
        ({"rows": ":50"}, {"times": 2, "rows": "same"}, [":50", ":50"]),
    ],
    ids=["a part", "a limit", "all", "the last", "the same"],
)
def test_every_round_reads_the_next_rows(data: dict[str, Any], rounds: dict[str, Any], rows: list[str]) -> None:
    written = tree(rounds)
    written["stages"]["own"]["data"] = {"source": "checkable:train", **data}
    recipe = build_recipe(written)
    assert [each.data.rows for each in recipe.stages.values() if isinstance(each, Sample)] == rows


def test_lists_of_earlier_rounds_may_be_kept() -> None:
    written = tree({"times": 3, "keep_lists": True})
    written["stages"]["tuna"]["rankings"] = [{"source": "by_checker", "rows": ":9"}]
    lists = stage(build_recipe(written), "tuna_3").rankings
    assert [(each.source, each.rows) for each in lists] == [(f"by_checker_{number}", ":9") for number in (1, 2, 3)]


def test_only_what_lies_between_start_and_model_is_repeated() -> None:
    written = tree(2)
    stages = written["stages"]
    written["stages"] = {
        "sft": stages["sft"],
        "teacher": {"kind": "sample", "engine": "owner/teacher", "data": "checkable:train", "logprobs": True},
        "by_teacher": {"kind": "rank", "by": "likelihood", "responses": "teacher"},
        "own": stages["own"],
        "by_checker": stages["by_checker"],
        "control": {"kind": "train", "start": "sft", "rankings": "by_checker", "loss": "none"},
        "tuna": {**stages["tuna"], "rankings": ["by_checker", "by_teacher"]},
        "more": {"kind": "train", "start": "tuna", "rankings": "by_checker"},
    }
    recipe = build_recipe(written)
    assert [name for name in recipe.stages if name.startswith(("teacher", "by_teacher", "control", "more"))] == [
        *("teacher", "by_teacher", "control", "more")
    ]
    assert stage(recipe, "control").rankings[0].source == "by_checker_1", "it stands before the second round"
    assert [each.source for each in stage(recipe, "tuna_2").rankings] == ["by_checker_2", "by_teacher"]
    assert (stage(recipe, "more").start, stage(recipe, "more").rankings[0].source) == ("tuna_2", "by_checker_2")


def test_rounds_may_follow_rounds() -> None:
    written = tree(2)
    last = written["stages"].pop("scores")
    data = {"source": "checkable:train", "rows": ":10"}
    written["stages"] |= {
        "again": {"kind": "sample", "engine": "tuna", "data": data},
        "judged": {"kind": "rank", "by": "verifier", "responses": "again"},
        "better": {"kind": "train", "start": "tuna", "rankings": "judged", "rounds": 2},
        "scores": {**last, "models": ["better"]},
    }
    recipe = build_recipe(written)
    assert stage(recipe, "again_1").engine.model == stage(recipe, "better_1").start == "tuna_2"
    assert stage(recipe, "again_2").engine.model == stage(recipe, "better_2").start == "better_1"
    assert list(stage(recipe, "scores").models) == ["better_1", "better_2"]


def test_a_sweep_crosses_rounds() -> None:
    recipe = build_recipe(tree({"times": 2, "patience": 1, "held_out": HELD_OUT}, sweep={"tuna.margin": [1, 2]}))
    assert [name for name in recipe.stages if name.startswith(("own", "tuna_2"))] == [
        *("own_1", "own_2~margin=1", "own_2~margin=2", "tuna_2~margin=1", "tuna_2~margin=2")
    ]
    scores = recipe.stages["scores"]
    assert isinstance(scores, Evaluate)
    assert list(scores.models) == ["sft", *(f"tuna_{each}~margin={margin}" for each in (1, 2) for margin in (1, 2))]
    assert recipe.early_stopping["tuna~margin=2"].rounds[1][-1] == "tuna_2~margin=2"


@pytest.mark.parametrize("axis", ["own.data.rows", "tuna.rounds", "tuna.rounds.times", "tuna.start"])
def test_what_rounds_set_cannot_be_swept(axis: str) -> None:
    with pytest.raises(RecipeError, match="the rounds themselves set"):
        build_recipe(tree(2, sweep={axis: ["1", "2"]}))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"own": {"engine": "owner/teacher"}}, "train on the same lists"),
        ({"by_checker": {"responses": "owm"}}, "Did you mean 'own'"),
        ({"own_2": {"kind": "sample", "engine": "sft", "data": "checkable:train"}}, "a stage 'own_2' already"),
        ({"tuna": {"rounds": 0}}, "at least 1"),
        ({"tuna": {"rounds": {"times": 2, "patience": 1}}}, "go together"),
        ({"tuna": {"rounds": {"times": 2, "patience": 1, "held_out": "text:rows.jsonl"}}}, "scores more"),
        ({"scores": {"models": ["tuna", "own"]}}, "makes responses"),
    ],
    ids=[
        "off policy",
        "a misspelt name",
        "a name that is taken",
        "none",
        "nothing to look at",
        "less is better",
        "no model",
    ],
)
def test_rounds_that_make_no_sense_are_refused(change: dict[str, Any], said: str) -> None:
    written = tree(2)
    for name, settings in change.items():
        written["stages"] = {name: {}, **written["stages"]} if name not in written["stages"] else written["stages"]
        written["stages"][name] |= settings
    if "own_2" in change:
        written["stages"]["own_2"]["engine"] = "owner/base"
    with pytest.raises(RecipeError, match=said):
        build_recipe(written)
