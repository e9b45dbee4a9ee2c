"""Contextual ranking with a judge that answers by a rule: what it is shown, and what is made of its replies."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.judges import RuleEngine, by_length, marking, paper_reply, questions, responses_shown, shown_texts
from tunalm.records import UNKNOWN, Message, Ranking, Response

RankStage = Callable[..., Any]


def lists(*texts: str, name: str = "row", **changes: Any) -> Ranking:
    return Ranking(id=name, instruction="Say a.", responses=[Response(text=text) for text in texts], **changes)


def ranks(row: Ranking) -> list[int | None]:
    return [response.rank for response in row.responses]


# One order


def test_ranks_come_from_the_sums_of_the_marks(rank: RankStage) -> None:
    engine = RuleEngine(by_length)
    summary, (row,) = rank(engine, lists("aa", "a", "aaaa", "aaa"))
    assert [response.text for response in row.responses] == ["aa", "a", "aaaa", "aaa"]
    assert ranks(row) == [2, 3, 0, 1]
    assert [response.score for response in row.responses] == [4.0, 3.0, 6.0, 5.0]
    assert row.ranked_by == "judge wise"
    assert (summary.requested, summary.ok, summary.failed) == (1, 1, 0)
    (request,) = engine.asked
    assert (request.temperature, request.max_new_tokens, request.key) == (0.0, 1024, "row/0")


def test_the_judges_own_response_is_kept_and_not_ranked(rank: RankStage) -> None:
    _, (row,) = rank(RuleEngine(by_length), lists("aa", "a"))
    assert row.judgement["reference"] == "Forty-two."
    assert row.judgement["kind"] == "close-ended"
    assert row.judgement["orders"][0]["marks"] == [
        {"accuracy": 2, "detail": 1, "relevance_or_clarity": 1},
        {"accuracy": 1, "detail": 1, "relevance_or_clarity": 1},
    ]
    assert all(text.startswith("Read r") for text in row.judgement["orders"][0]["evidence"])
    assert row.reference is None
    assert len(row.responses) == 2


def test_the_order_shown_is_drawn_by_seed_and_row_and_undone(rank: RankStage) -> None:
    texts = ["a", "aa", "aaa", "aaaa", "aaaaa"]
    rows = [lists(*texts, name=f"row-{number}") for number in range(30)]
    _, ranked = rank(RuleEngine(by_length), *rows)
    orders = [tuple(row.judgement["orders"][0]["shown"]) for row in ranked]
    assert len(set(orders)) > 20
    assert all(sorted(order) == [0, 1, 2, 3, 4] for order in orders)
    assert all(ranks(row) == [4, 3, 2, 1, 0] for row in ranked)
    assert orders == [questions(row)[0].shown for row in rows]
    assert orders != [questions(row, seed=1)[0].shown for row in rows]


def test_equal_texts_are_shown_once_and_tie(rank: RankStage) -> None:
    engine = RuleEngine(by_length)
    _, (row,) = rank(engine, lists("aa", "a", "aa", "a"))
    assert sorted(responses_shown(engine.asked[0].messages[0].content).values()) == ["a", "aa"]
    assert ranks(row) == [0, 1, 0, 1]
    assert sorted(row.judgement["orders"][0]["shown"]) == [0, 1]


def test_failed_and_empty_responses_are_not_shown(rank: RankStage) -> None:
    engine = RuleEngine(by_length)
    row = lists("aa", " ", "a")
    row.responses.append(Response(text="aaa", failure="HTTP 500"))
    _, (after,) = rank(engine, row)
    assert sorted(shown_texts(engine.asked[0].messages[0].content).values()) == ["Say a.", "a", "aa"]
    assert ranks(after) == [0, None, 1, None]
    assert after.judgement["orders"][0]["marks"][1] is None


def test_a_text_that_failed_in_one_response_is_shown_for_another() -> None:
    row = lists("aa", "a", "aa")
    row.responses[0].failure = "HTTP 500"
    assert sorted(questions(row)[0].shown) == [1, 2]


def test_earlier_turns_and_inputs_are_shown() -> None:
    history = [Message(role="system", content="Be brief."), Message(role="user", content="Hello")]
    prompt = questions(lists("a", "b", history=history, input="the input"))[0].prompt
    assert shown_texts(prompt)["instruction"] == "system: Be brief.\n\nuser: Hello\n\nuser: Say a.\n\nthe input"


@pytest.mark.parametrize(
    ("texts", "reason"),
    [
        (("a", ""), "fewer than two responses"),
        (("a", "a"), "fewer than two different responses that can be judged"),
    ],
)
def test_lists_with_nothing_to_compare_are_not_asked_about(
    rank: RankStage, texts: tuple[str, str], reason: str
) -> None:
    engine = RuleEngine(by_length)
    summary, (short, _) = rank(engine, lists(*texts, name="short"), lists("a", "b", name="long"))
    assert [request.key for request in engine.asked] == ["long/0"]
    assert short.failure == reason
    assert (summary.ok, summary.failed) == (1, 1)


def test_a_failed_list_has_no_ranks_and_is_counted_by_reason(rank: RankStage) -> None:
    replies = iter(["I like R1.", "fail", '{"kind": ...', by_length({"R1": "a", "R2": "aa"})])
    engine = RuleEngine(lambda texts: next(replies))
    summary, rows = rank(engine, *(lists("a", "aa", name=str(number)) for number in range(4)), max_new_tokens=50)
    assert [row.failure for row in rows] == [
        "the judge's reply has no JSON object",
        "HTTP 500",
        "the judge's reply was cut at 50 tokens",
        None,
    ]
    assert all(response.rank is None for row in rows[:3] for response in row.responses)
    assert (summary.ok, summary.failed, len(summary.details["failures"])) == (1, 3, 3)
    assert summary.details["judge"]["replies"] == {"asked": 4, "valid": 1, "salvaged": 0}


def test_a_second_run_asks_only_about_what_failed_to_be_answered(rank: RankStage) -> None:
    rows = [lists("a", "aa", name=str(number)) for number in range(3)]
    first = RuleEngine(lambda texts: "fail" if first.asked[-1].key == "1/0" else by_length(texts))
    rank(first, *rows)
    second = RuleEngine(by_length)
    summary, after = rank(second, *rows)
    assert [request.key for request in second.asked] == ["1/0"]
    assert summary.failed == 0
    assert all(ranks(row) == [1, 0] for row in after)


def test_a_judge_without_schemas_gets_the_same_prompt(rank: RankStage) -> None:
    plain = RuleEngine(lambda texts: f"Sure! Here it is:\n```json\n{by_length(texts)}\n``` Done.", json_schema=False)
    summary, (row,) = rank(plain, lists("aa", "a"))
    assert ranks(row) == [0, 1]
    assert plain.asked[0].json_schema is None
    assert plain.asked[0].messages[0].content == questions(lists("aa", "a"))[0].prompt
    assert row.judgement["orders"][0]["salvaged"] is True
    assert summary.details["judge"]["replies"]["salvaged"] == 1


def test_a_stated_order_that_contradicts_the_marks_is_counted(rank: RankStage) -> None:
    engine = RuleEngine(lambda texts: marking({"R1": [5, 0, 3], "R2": [1, 2, 3]}, ranking=["R2", "R1"]))
    summary, (row,) = rank(engine, lists("a", "b"))
    assert row.judgement["ranking_agrees"] is False
    assert summary.details["judge"]["contradictions"] == 1
    assert row.responses[row.judgement["orders"][0]["shown"][0]].rank == 0, "the marks decide"


# Several orders


def favouring(place: int, points: int = 2) -> Callable[[dict[str, str]], str]:
    """A judge to whom longer is better, and who gives more to one position."""

    def rule(texts: dict[str, str]) -> str:
        marks = {label: [min(len(text), 5), 1, 1] for label, text in texts.items()}
        marks[list(texts)[place]][1] += points
        return marking(marks)

    return rule


def test_a_preference_for_a_place_is_averaged_out_and_measured(rank: RankStage) -> None:
    texts = ["a", "aa", "aaa", "aaaa"]
    rows = [lists(*texts, name=str(number)) for number in range(6)]
    summary, ranked = rank(RuleEngine(favouring(0)), *rows, num_orders=4)
    assert all(ranks(row) == [3, 2, 1, 0] for row in ranked)
    assert all([response.score for response in row.responses] == [3.5, 4.5, 5.5, 6.5] for row in ranked)
    assert all(row.judgement["borda_ranks"] == [3, 2, 1, 0] for row in ranked)
    judge = summary.details["judge"]
    assert judge["mean_score_by_position"] == [6.5, 4.5, 4.5, 4.5]
    assert 0.5 < judge["mean_agreement"] < 1
    assert judge["flip_rate"] == 0.5, "neighbours change places, others at most tie"
    _, biased = rank(RuleEngine(favouring(0)), *rows, num_orders=1)
    assert any(ranks(row) != [3, 2, 1, 0] for row in biased)


@pytest.mark.parametrize(("num_bad", "ok"), [(1, True), (2, True), (3, False), (4, False)])
def test_a_list_stands_on_at_least_half_of_its_orders(rank: RankStage, num_bad: int, ok: bool) -> None:
    engine = RuleEngine(lambda texts: "no" if int(engine.asked[-1].key[-1]) < num_bad else by_length(texts))
    summary, (row,) = rank(engine, lists("a", "aa", "aaa", "aaaa"), num_orders=4)
    assert (summary.requested, summary.ok, summary.failed) == (1, int(ok), int(not ok))
    assert summary.details["judge"]["partial_lists"] == int(ok)
    assert [order.get("failure") is not None for order in row.judgement["orders"]].count(True) == num_bad
    if ok:
        assert ranks(row) == [3, 2, 1, 0]
    else:
        assert row.failure == "the judge's reply has no JSON object"
        assert ranks(row) == [None] * 4


def test_a_list_whose_replies_are_of_unknown_outcome_is_unknown(rank: RankStage) -> None:
    class Lost(RuleEngine):
        def generate(self, batches: Any, journal: Any) -> Any:
            for (completion,), (request,) in zip(super().generate(batches, journal), batches, strict=True):
                lost = request.key != "row/0"
                yield [completion.model_copy(update={"failure": f"{UNKNOWN}no reply"} if lost else {})]

    summary, (row,) = rank(Lost(lambda texts: "no"), lists("a", "aa", "aaa"), num_orders=3)
    assert (summary.requested, summary.ok, summary.failed, summary.unknown) == (1, 0, 0, 1)
    assert row.failure.startswith(UNKNOWN)


@pytest.mark.parametrize("treatment", ["drop", "weigh", "keep", "no threshold"])
def test_lists_on_which_the_orders_disagree(rank: RankStage, treatment: str) -> None:
    texts = ["a", "b", "c", "d"]  # equal but for their place
    rows = [lists(*texts, name="vague"), lists("a", "aaaaa", name="clear")]
    knobs = {} if treatment == "no threshold" else {"min_agreement": 0.6, "low_agreement": treatment}
    summary, (vague, clear) = rank(RuleEngine(favouring(0, points=1)), *rows, num_orders=4, **knobs)
    assert summary.details["judge"]["low_agreement_lists"] == len(knobs) / 2
    assert vague.judgement["agreement"] < 0.6
    assert clear.failure is None
    assert clear.weight is None
    if treatment == "drop":
        assert vague.failure == "the orders agree too little: W is less than 0.6"
        assert (summary.ok, summary.failed) == (1, 1)
        assert ranks(vague) == [None] * 4
    else:
        assert vague.failure is None
        assert vague.weight == (vague.judgement["agreement"] if treatment == "weigh" else None)


@pytest.mark.parametrize("knobs", [{"num_orders": 1}, {"protocol": "paper"}])
def test_a_threshold_for_one_order_is_refused(rank: RankStage, knobs: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="two orders or more"):
        rank(RuleEngine(by_length), lists("a", "aa"), min_agreement=0.5, **{"num_orders": 4} | knobs)


# The paper's protocol


def test_the_papers_protocol_asks_once_and_leaves_the_judges_own_response_out(rank: RankStage) -> None:
    engine = RuleEngine(paper_reply)
    summary, (row,) = rank(engine, lists("aa", "a", "aaa"), protocol="paper", num_orders=4)
    assert ranks(row) == [1, 2, 0]
    assert [response.score for response in row.responses] == [4.0, 3.0, 5.0]
    (request,) = engine.asked
    assert request.json_schema is None
    assert request.temperature == 0
    assert row.judgement["reference"] == "aaaaa\naaaa"
    assert row.judgement["orders"][0]["ranking"][0] == "own"
    assert row.judgement["orders"][0]["own_marks"] == dict.fromkeys(("accuracy", "detail", "relevance_or_clarity"), 5)
    assert len(row.responses) == 3
    assert summary.details["judge"]["mean_agreement"] is None


def test_the_papers_order_decides_between_equal_sums(rank: RankStage) -> None:
    engine = RuleEngine(lambda texts: paper_reply(dict.fromkeys(texts, "aa")))
    _, (row,) = rank(engine, lists("a", "b", "c"), protocol="paper")
    assert sorted(ranks(row), key=str) == [0, 1, 2]
    assert {response.score for response in row.responses} == {4.0}


def test_a_response_that_the_paper_protocol_leaves_out_has_no_rank(rank: RankStage) -> None:
    reply = (
        "kind: close-ended\nreference: a\nduplicates: R3=R1\nmarks:\nR1: 1 1 1\nR2: 2 2 2\nR4: 3 3 3\n"
        "rank: R4 > R2 > R1"
    )
    _, (row,) = rank(RuleEngine(lambda texts: reply), lists("a", "b", "c"), protocol="paper")
    first, second, third = row.judgement["orders"][0]["shown"]
    assert [row.responses[place].rank for place in (first, second, third)] == [1, 0, None]
    assert row.responses[third].score is None
    assert row.judgement["orders"][0]["duplicates"] == {str(third): first}
