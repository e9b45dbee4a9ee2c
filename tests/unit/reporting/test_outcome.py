"""The result in plain words: never more than the numbers say."""

from __future__ import annotations

from tests.unit.reporting.conftest import results
from tunalm.records import EvaluationResults
from tunalm.reporting.formats import metric
from tunalm.reporting.outcome import sentences


def said(found: EvaluationResults, kind: str = "success") -> list[str]:
    lines = sentences(found.on("checkable"), found.comparisons, metric(kind))
    return [line.replace("\N{NO-BREAK SPACE}", " ") for line in lines]


def test_every_model_is_stated_with_interval_and_p_value_and_what_may_be_chance_is_called_so() -> None:
    assert said(results()) == [
        "base answers 20.0 % right (95 % interval 16.0 to 24.0).",
        "sft answers 21.0 % right, 1.0 points more than base "
        "(95 % interval \N{MINUS SIGN}4.0 to 6.0, corrected p = 0.800): that may be chance.",
        "tuna answers 31.2 % right, 11.2 points more than base (95 % interval 6.2 to 16.2, corrected p = 0.003).",
        "tuna has 10.2 points more than sft (95 % interval 5.2 to 15.2, corrected p = 0.004).",
        "3 of 100 answers of tuna failed; each counts as 0.",
    ]


def test_a_loss_is_stated_as_one_and_its_interval_is_turned_with_it() -> None:
    found = results()
    pair = found.comparisons[0]
    pair.difference, pair.ci95, pair.p_holm = -8.0, (-13.0, -3.0), 0.0001
    assert said(found)[1].endswith(", 8.0 points less than base (95 % interval 3.0 to 13.0, corrected p < 0.001).")


def test_a_significant_difference_needs_no_interval() -> None:
    found = results()
    found.comparisons[1].ci95 = None
    assert said(found)[2].endswith(", 11.2 points more than base (corrected p = 0.003).")


def test_equal_models_are_called_equal() -> None:
    found = results()
    found.comparisons[0].difference = 0.0
    expected = "sft reaches a ROUGE-L of 21.0 with the references, as much as base."
    assert said(found, "rougeL")[1] == expected


def test_a_single_model_without_an_interval() -> None:
    found = results()
    only = found.models["base"].results["checkable"].model_copy(update={"ci95": None})
    assert list(sentences({"base": only}, [], metric("success"))) == ["base answers 20.0 % right."]


def test_a_model_none_of_whose_answers_could_be_judged_has_no_number() -> None:
    found = results()
    found.models["sft"].results["checkable"].value = None
    for pair in found.comparisons:
        if "sft" in (pair.model, pair.against):
            pair.difference = None
    lines = said(found)
    assert lines[1] == "No answer of sft could be scored."
    assert not any("than sft" in line for line in lines)
