"""Rounds in the report: every measure of a model over its rounds."""

from __future__ import annotations

from xml.etree import ElementTree

from tests.unit.recipe.test_rounds import tree
from tests.unit.reporting.conftest import result
from tunalm.recipe import Evaluate
from tunalm.recipe.loading import build_recipe
from tunalm.records import EvaluationKnobs, EvaluationResults, ModelResults
from tunalm.reporting.rounds import by_round, starts_of


def evaluated(values: dict[str, float]) -> EvaluationResults:
    models = {
        name: ModelResults(
            identity="x",
            results={
                "checkable": result(value, metric="success", ci95=(value - 1, value + 1)),
                "checkable: pass@4": result(value + 20, metric="pass@4"),
            },
        )
        for name, value in values.items()
    }
    knobs = EvaluationKnobs(bootstrap_samples=100, seed=0, max_new_tokens=8)
    return EvaluationResults(baseline=next(iter(values)), models=models, comparisons=[], settings=knobs)


def test_every_measure_is_drawn_from_the_start_over_the_rounds() -> None:
    recipe = build_recipe(tree(3, sweep={"seed": [0, 1]}))
    scores = recipe.stages["scores"]
    assert isinstance(scores, Evaluate)
    starts = starts_of(recipe, scores)
    assert starts["tuna_1~seed=1"] == "sft~seed=1"
    drawings = by_round(evaluated({name: 40.0 + number for number, name in enumerate(scores.models)}), starts)
    assert [drawing.caption for drawing in drawings] == ["checkable by round", "checkable: pass@4 by round"]
    texts = [text.strip() for text in ElementTree.fromstring(drawings[0].svg).itertext()]
    assert {"round", "0", "1", "2", "3"} <= set(texts)


def test_models_that_are_only_numbered_are_no_rounds() -> None:
    assert by_round(evaluated({"seed_1": 1.0, "seed_2": 2.0}), {"seed_1": "base", "seed_2": "base"}) == []
