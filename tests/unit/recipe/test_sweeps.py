"""A sweep is written out: what a value reaches is there once per value, everything else once."""

from __future__ import annotations

from typing import Any

import pytest

from tunalm.errors import RecipeError
from tunalm.pipeline.manifest import dump_recipe
from tunalm.recipe import Evaluate, Recipe, Train
from tunalm.recipe.loading import build_recipe
from tunalm.recipe.sweeps import label, read_label


def line(sweep: dict[str, Any], **changes: Any) -> Recipe:
    tree: dict[str, Any] = {
        "name": "line",
        "sweep": sweep,
        "stages": {
            "sft": {"kind": "sft", "model": "owner/base", "data": "checkable:train"},
            "teacher": {"kind": "sample", "engine": "owner/teacher", "data": "checkable:train", "logprobs": True},
            "lists": {"kind": "rank", "by": "likelihood", "responses": "teacher"},
            "tuna_p": {"kind": "train", "start": "sft", "rankings": "lists"},
            "own": {"kind": "sample", "engine": "tuna_p", "data": "checkable:train"},
            "checked": {"kind": "rank", "by": "verifier", "responses": "own"},
            "tuna": {"kind": "train", "start": "tuna_p", "rankings": [{"source": "checked", "rows": ":10"}, "lists"]},
            "scores": {"kind": "evaluate", "models": ["sft", "tuna_p", "tuna"], "benchmarks": ["checkable"]},
        },
    }
    tree["stages"]["scores"] |= changes
    return build_recipe(tree)


def test_what_a_value_reaches_is_written_once_per_value() -> None:
    recipe = line({"tuna.mle_weight": [0, 0.1]})
    assert list(recipe.stages) == [
        *("sft", "teacher", "lists", "tuna_p", "own", "checked"),
        *("tuna~mle_weight=0", "tuna~mle_weight=0.1", "scores"),
    ]
    weights = [stage.mle_weight for stage in recipe.stages.values() if isinstance(stage, Train)]
    assert weights == [1.0, 0.0, 0.1]
    scores = recipe.stages["scores"]
    assert isinstance(scores, Evaluate)
    assert list(scores.models) == ["sft", "tuna_p", "tuna~mle_weight=0", "tuna~mle_weight=0.1"]
    assert recipe.sweep == {}


def test_a_value_goes_with_everything_that_reads_from_it() -> None:
    recipe = line({"tuna_p.margin": [0.1, 0.2]})
    tuna = recipe.stages["tuna~margin=0.2"]
    assert isinstance(tuna, Train)
    assert tuna.start == "tuna_p~margin=0.2"
    assert [lists.source for lists in tuna.rankings] == ["checked~margin=0.2", "lists"]
    assert tuna.margin == 0.1, "a knob of tuna_p, not of tuna"
    assert "own~margin=0.1" in recipe.stages
    assert "lists" in recipe.stages


def test_axes_are_crossed_where_they_meet() -> None:
    recipe = line({"tuna_p.margin": [0.1, 0.2], "tuna.margin": [1, 2, 3]})
    assert sum(name.startswith("tuna~") for name in recipe.stages) == 6
    assert "tuna~tuna_p.margin=0.2,tuna.margin=3" in recipe.stages
    assert sum(name.startswith("own~") for name in recipe.stages) == 2


def test_seeds_reach_every_stage_that_has_none_of_its_own() -> None:
    recipe = line({"seed": [0, 1]})
    assert [stage.seed for name, stage in recipe.stages.items() if name.startswith("tuna_p")] == [0, 1]
    assert list(recipe.stages)[-1] == "scores"
    assert recipe.stages["scores"].seed == 0
    assert len(recipe.stages) == 2 * 7 + 1


def test_a_benchmark_that_names_a_model_gets_its_first_variant() -> None:
    judged = {"name": "pairwise", "data": "checkable:heldout", "judge": "tuna_p", "against": "tuna_p"}
    scores = line({"tuna_p.margin": [0.1, 0.2]}, benchmarks=[judged]).stages["scores"]
    assert isinstance(scores, Evaluate)
    (benchmark,) = scores.benchmarks
    assert benchmark.against == "tuna_p~margin=0.1"
    assert benchmark.judge.model == "tuna_p~margin=0.1"  # type: ignore[union-attr]


def test_the_written_recipe_reads_back_as_itself() -> None:
    recipe = line({"tuna.mle_weight": [0, 0.1], "seed": [0, 1]})
    import yaml

    again = build_recipe(yaml.safe_load(dump_recipe(recipe)))
    assert again == recipe


@pytest.mark.parametrize(
    ("sweep", "said"),
    [
        ({"nobody.margin": [1]}, "found 'nobody'"),
        ({"scores.max_new_tokens": [1, 2]}, "found 'scores'"),
        ({"tuna.margins": [1, 2]}, "did you mean 'margin'"),
        ({"tuna.margin": []}, "values that differ"),
        ({"tuna.margin": [1, 1]}, "values that differ"),
        ({"tuna.margin": [1, -1]}, "margin: -1: it must be at least 0"),
        ({"tuna": [1]}, "STAGE.KNOB"),
        ({"tuna.rankings.2.rows": [":3", ":7"]}, "rankings.2"),
    ],
)
def test_a_sweep_that_makes_no_sense_is_one_clear_line(sweep: dict[str, Any], said: str) -> None:
    with pytest.raises(RecipeError, match="sweep") as caught:
        line(sweep)
    assert said.lower() in str(caught.value).lower()


def test_labels_can_be_read() -> None:
    assert read_label("tuna") == ("tuna", {})
    assert read_label(label("tuna", {"rows": ":13000", "seed": 2})) == ("tuna", {"rows": "13000", "seed": "2"})


def test_a_part_of_a_list_can_be_swept() -> None:
    recipe = line({"tuna.rankings.0.rows": [":3", ":7"]})
    tuna = recipe.stages["tuna~rows=7"]
    assert isinstance(tuna, Train)
    assert [lists.rows for lists in tuna.rankings] == [":7", ":"]
    assert {"teacher~rows=10", "teacher~rows=-20"} <= line({"teacher.data.rows": [":10", "-20:"]}).stages.keys()
