"""What an audit says of lists whose habits are known."""

from __future__ import annotations

from typing import Any

import pytest

from tunalm.auditing.estimates import mean, ratio
from tunalm.auditing.lengths import lengths, ties
from tunalm.auditing.positions import positions
from tunalm.auditing.preferences import models, self_preference
from tunalm.errors import DataError
from tunalm.records import Ranking, Response


def make_list(name: str, *responses: tuple[str, int | None], **fields: Any) -> Ranking:
    made = [Response(text=text, rank=rank, num_tokens=len(text) // 2) for text, rank in responses]
    return Ranking(id=name, instruction="Go.", responses=made, **fields)


def by_models(name: str, ranks: dict[str, int], ranked_by: str = "judge acme/judgy-7b") -> Ranking:
    responses = [Response(text=model, model=model, rank=rank) for model, rank in ranks.items()]
    return Ranking(id=name, instruction="Go.", responses=responses, ranked_by=ranked_by)


def shown(*orders: tuple[list[int], list[float]]) -> dict[str, Any]:
    """What a judge says that gives these scores to the places that it is shown."""
    scored = [
        (places, {str(place): score for place, score in zip(places, scores, strict=True)}) for places, scores in orders
    ]
    return {"orders": [{"shown": places, "scores": scores} for places, scores in scored]}


def test_estimates_say_of_how_many_lists_they_are() -> None:
    assert mean([1.0, None, 3.0])["value"] == 2
    assert mean([1.0, None, 3.0])["lists"] == 2
    assert mean([None]) == {"value": None, "ci95": None, "lists": 0}
    assert ratio([(1, 2), (0, 0), (2, 2)])["value"] == 0.75
    assert mean([4.0, 4.0])["ci95"] is None


def test_intervals_hold_the_value_and_repeat_themselves() -> None:
    few = mean([float(number % 7) for number in range(300)])
    assert few["ci95"][0] < few["value"] < few["ci95"][1]
    assert few == mean([float(number % 7) for number in range(300)])
    many = mean([number / 7 for number in range(3000)])
    assert many["ci95"][0] < many["value"] < many["ci95"][1]


def test_ties_are_counted_in_pairs_and_lists() -> None:
    rows = [
        make_list("a", ("x", 0), ("y", 0), ("z", 1)),
        make_list("b", ("x", 0), ("y", 0)),
        make_list("c", ("x", 1), ("y", 0)),
    ]
    found = ties(rows)
    assert found["tied_pairs"]["value"] == 0.4
    assert found["tied_best"]["value"] == pytest.approx(2 / 3, abs=1e-4)
    assert found["all_tied"]["value"] == pytest.approx(1 / 3, abs=1e-4)


def test_a_ranking_by_length_has_a_tau_of_one() -> None:
    rows = [make_list(str(number), ("x" * 30, 0), ("x" * 20, 1), ("x" * 10, 2)) for number in range(5)]
    found = lengths(rows)
    assert [(each["rank"], each["value"], each["responses"]) for each in found["characters"]["by_rank"]] == [
        (0, 30, 5),
        (1, 20, 5),
        (2, 10, 5),
    ]
    assert found["characters"]["tau"]["value"] == 1
    assert found["characters"]["best_is_longest"]["value"] == 1
    assert found["characters"]["by_chance"] == pytest.approx(1 / 3, abs=1e-4)
    assert found["tokens"]["by_rank"][0]["value"] == 15


def test_a_length_that_nobody_counted_is_left_out_and_its_list_counts_for_the_means_alone() -> None:
    row = make_list("a", ("xxxx", 0), ("xx", 1))
    row.responses[1].num_tokens = None
    found = lengths([row])["tokens"]
    assert [each["rank"] for each in found["by_rank"]] == [0]
    assert found["tau"]["lists"] == 0
    row.responses[0].num_tokens = None
    assert list(lengths([row])) == ["characters"]


def found_in(*rows: Ranking) -> dict[str, Any]:
    found = positions(rows)
    assert found is not None
    return found


def test_a_judge_that_prefers_the_first_is_found_out() -> None:
    judgement = shown(([0, 1], [5, 3]), ([1, 0], [5, 3]))
    found = found_in(*(make_list(str(n), ("x", 0), ("y", 0), judgement=judgement) for n in range(4)))
    values = {name: found[name]["value"] for name in ("earlier_wins", "survival", "flipped", "concordance")}
    assert values == {"earlier_wins": 1, "survival": 0, "flipped": 1, "concordance": 0}
    assert [each["value"] for each in found["score_by_place"]] == [5, 3]


def test_a_tie_that_becomes_a_verdict_does_not_survive_and_is_not_turned_round() -> None:
    steady = make_list("a", ("x", 0), ("y", 1), judgement=shown(([0, 1], [5, 3]), ([1, 0], [2, 4])))
    wavering = make_list("b", ("x", 0), ("y", 1), judgement=shown(([0, 1], [5, 5]), ([1, 0], [2, 4])))
    found = found_in(steady, wavering)
    assert (found["survival"]["value"], found["flipped"]["value"]) == (0.5, 0)


def test_marks_of_every_response_are_added_up() -> None:
    marks = [{"accuracy": 3, "detail": 2}, None, {"accuracy": 1, "detail": 0}]
    orders = [{"shown": [2, 0], "marks": marks}, {"shown": [0, 2], "failure": "no JSON"}]
    row = make_list("a", ("x", 0), ("x", 0), ("y", 1), judgement={"orders": orders})
    found = found_in(row)
    assert (found["orders"], found["lists_in_several_orders"], found["survival"]["value"]) == (1, 0, None)
    assert found["earlier_wins"]["value"] == 0
    assert [each["value"] for each in found["score_by_place"]] == [1, 5]


def test_one_order_is_read_from_the_scores_of_the_responses() -> None:
    row = make_list("a", ("x", 0), ("y", 1), judgement={"shown": [1, 0]})
    row.responses[0].score, row.responses[1].score = 9.0, 4.0
    assert found_in(row)["earlier_wins"]["value"] == 0
    assert positions([make_list("a", ("x", 0), ("y", 1), judgement={"confidence": 0.7})]) is None


@pytest.mark.parametrize(
    "orders",
    ["text", [1], [{"shown": 3}], [{"shown": [0, 9], "scores": {}}], [{"shown": [0, 1], "scores": {"x": 1}}]],
    ids=str,
)
def test_a_judgement_of_another_form_is_one_line(orders: object) -> None:
    with pytest.raises(DataError, match="list a: found a judgement that cannot be read"):
        positions([make_list("a", ("x", 0), ("y", 1), judgement={"orders": orders})])


def test_models_are_held_against_the_others_in_the_same_list() -> None:
    rows = [by_models("a", {"m": 0, "n": 1}), by_models("b", {"m": 0, "n": 0, "o": 1})]
    found = {each["model"]: (each["responses"], each["wins"]["value"]) for each in models(rows)}
    assert found == {"m": (2, round(2.5 / 3, 4)), "n": (2, 0.5), "o": (1, 0)}
    assert models([by_models("a", {"m": 0})]) == []


@pytest.mark.parametrize(
    ("ranks", "ranked_by", "named", "own", "wins"),
    [
        (
            {"acme/judgy-7b": 0, "Judgy2": 1, "other": 2, "judge": 3},
            "judge acme/judgy-7b",
            (),
            ["Judgy2", "acme/judgy-7b"],
            1,
        ),
        ({"judgy": 0, "other": 1}, "judge judgy-7b, veto verifier", (), ["judgy"], 1),
        ({"m": 1, "n": 0}, "likelihood", ("m",), ["m"], 0),
    ],
    ids=["family", "combined judge", "named"],
)
def test_a_judges_own_are_those_of_its_family_or_those_that_are_named(
    ranks: dict[str, int], ranked_by: str, named: tuple[str, ...], own: list[str], wins: int
) -> None:
    found = self_preference([by_models("a", ranks, ranked_by)], own=named)
    assert found is not None
    assert (found["own"], found["wins"]["value"], found["difference"]) == (own, wins, None)


@pytest.mark.parametrize("ranked_by", ["likelihood", "verifier", "judge elsewhere-7b"])
def test_without_responses_of_its_own_nobody_prefers_himself(ranked_by: str) -> None:
    assert self_preference([by_models("a", {"judgy": 0, "other": 1}, ranked_by)]) is None
