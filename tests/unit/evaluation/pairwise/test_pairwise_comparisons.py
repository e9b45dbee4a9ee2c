"""Answers compared by a scripted judge."""

from __future__ import annotations

from collections.abc import Callable
from typing import cast

import pytest

from tunalm.calls.context import Calls
from tunalm.engines.base import Completion, Request
from tunalm.evaluation.pairwise.comparisons import JudgeRules, Outcome, Pair, PairVerdict, compare
from tunalm.recipe import ScriptedSettings
from tunalm.records import UNKNOWN, Instruction, Prediction

SOUND, PAPER = JudgeRules("sound"), JudgeRules("paper")


class Judge:
    """Stands for the calls: replies to every prompt, and remembers what was asked."""

    def __init__(self, reply: Callable[[str], Completion | str]) -> None:
        self.reply = reply
        self.asked: list[Request] = []

    def open(self, settings: ScriptedSettings) -> None:
        """There is no engine."""

    def complete(self, engine: None, requests: list[Request], description: str) -> dict[str, Completion]:
        self.asked += requests
        replies = {request.key: self.reply(request.messages[-1].content) for request in requests}
        return {key: Completion(key=key, text=text) if isinstance(text, str) else text for key, text in replies.items()}

    def on(self, *pairs: Pair, rules: JudgeRules = SOUND) -> list[PairVerdict]:
        return compare(pairs, rules, ScriptedSettings(), cast(Calls, self))


def prefers(good: str) -> Callable[[str], str]:
    """A judge that likes the response with a certain text, whatever its place."""
    return lambda prompt: "[[A]]" if prompt.index(good) < prompt.index("begin response B") else "[[B]]"


def pair(mine: str = "mine", other: str = "other", **question: str) -> Pair:
    answers = (
        Prediction(id="q", benchmark="vicuna", model=model, prediction=text)
        for model, text in (("tuna", mine), ("alpaca", other))
    )
    return Pair(Instruction(id="q", instruction="What?", **question), *answers)


def one(pair: Pair, rules: JudgeRules, reply: Callable[[str], Completion | str]) -> PairVerdict:
    return Judge(reply).on(pair, rules=rules)[0]


@pytest.mark.parametrize(("good", "outcome"), [("mine", "win"), ("other", "loss")])
def test_a_judge_without_a_liking_for_places_decides(good: str, outcome: Outcome) -> None:
    found = one(pair(), SOUND, prefers(good))
    assert (found.outcome, found.orders, found.score) == (outcome, [outcome, outcome], float(good == "mine"))
    assert (found.length, found.against_length) == (len("mine"), len("other"))


@pytest.mark.parametrize(("letter", "orders"), [("A", ["loss", "win"]), ("B", ["win", "loss"]), ("C", ["tie", "tie"])])
def test_a_judge_that_likes_a_place_makes_ties(letter: str, orders: list[str]) -> None:
    found = one(pair(), SOUND, lambda prompt: f"[[{letter}]]")
    assert (found.outcome, found.orders, found.score) == ("tie", orders, 0.5)


def test_paper_mode_asks_once_with_the_other_answer_first() -> None:
    judge = Judge(lambda prompt: "6 8\nbecause")
    found = judge.on(pair(), rules=PAPER)[0]
    assert len(judge.asked) == 1
    prompt = judge.asked[0].messages[-1].content
    assert prompt.index("other") < prompt.index("mine")
    assert (found.outcome, found.scores, found.orders) == ("win", [[8.0, 6.0]], ["win"])
    assert (judge.asked[0].temperature, judge.asked[0].max_new_tokens) == (0.2, 1024)


def test_each_category_has_its_published_kind_of_prompt() -> None:
    prompts = {}
    for category in ("coding", "math", "writing"):
        judge = Judge(lambda prompt: "5 5")
        judge.on(pair(task=category), rules=PAPER)
        prompts[category] = judge.asked[0].messages[-1].content
    assert "tuple" in prompts["math"]
    assert "program" in prompts["coding"]
    assert "tuple" not in prompts["writing"]
    assert "helpful" in prompts["writing"]


def test_a_right_answer_is_shown_where_there_is_one_and_worked_out_where_not() -> None:
    judge = Judge(prefers("mine"))
    rows = [
        pair(task="math", reference="forty-two"),
        pair(task="math"),
        pair(task="writing", reference="forty-two"),
    ]
    found = [judge.on(row)[0] for row in rows]
    prompts = [request.messages[-1].content for request in judge.asked[::2]]
    assert ["forty-two" in prompt for prompt in prompts] == [True, False, False]
    assert ["of your own" in prompt for prompt in prompts] == [False, True, False]
    assert [each.guided for each in found] == [True, False, False]


def test_equal_answers_are_a_tie_that_nobody_is_asked_about() -> None:
    judge = Judge(lambda prompt: "[[A]]")
    found = judge.on(pair("same", "same"))[0]
    assert (found.outcome, found.identical, judge.asked) == ("tie", True, [])


def test_a_reply_that_cannot_be_read_leaves_no_verdict() -> None:
    found = one(pair(), SOUND, lambda prompt: "Hard to say.")
    assert (found.outcome, found.score, found.orders) == (None, None, [None, None])
    assert found.failure == "order 1: the reply has no verdict; order 2: the reply has no verdict"
    assert found.reviews == ["Hard to say.", "Hard to say."]


def test_one_unread_order_is_enough_for_none() -> None:
    found = one(pair(), SOUND, lambda prompt: "[[A]]" if prompt.index("mine") < prompt.index("other") else "?")
    assert (found.outcome, found.orders) == (None, [None, "win"])


@pytest.mark.parametrize(
    ("rules", "reply", "failure"),
    [
        (
            PAPER,
            Completion(key="", text="Well", finish_reason="length"),
            "the review has no two scores on its first line (a review was cut at 1024 tokens)",
        ),
        (
            SOUND,
            Completion(key="", failure="connection refused"),
            "the judge gave no review: connection refused",
        ),
        (
            SOUND,
            Completion(key="", failure=f"{UNKNOWN}no reply in time", unknown=True),
            f"{UNKNOWN}no reply in time",
        ),
    ],
    ids=["cut", "down", "perhaps paid for"],
)
def test_why_there_is_no_review_is_said(rules: JudgeRules, reply: Completion, failure: str) -> None:
    found = one(pair(), rules, lambda prompt: reply)
    assert (found.outcome, found.failure) == (None, failure)


def test_answers_that_failed_are_not_shown_to_the_judge() -> None:
    judge = Judge(lambda prompt: "[[A]]")
    good = pair()
    broken = Prediction(id="q", benchmark="vicuna", model="x", prediction="", failure="timed out")
    lost, unknown = judge.on(Pair(good.question, broken, good.other), Pair(good.question, good.answer, broken))
    assert (lost.outcome, lost.score, lost.failure) == ("loss", None, "timed out")
    assert (unknown.outcome, unknown.failure) == (None, "x gave no answer: timed out")
    assert judge.asked == []


def test_a_judge_may_be_made_to_choose() -> None:
    judge = Judge(prefers("mine"))
    judge.on(pair(), rules=JudgeRules("sound", ties=False))
    assert "[[C]]" not in judge.asked[0].messages[-1].content
    assert len({request.key for request in judge.asked}) == 2
