"""The stand-in behaves like a model: seeded, with honest log-probabilities, cut at the token limit."""

from __future__ import annotations

import math
from collections import Counter

import pytest

from tunalm.engines import open_engine
from tunalm.engines.base import Capabilities, Completion, Journal, Request
from tunalm.engines.scripted import ScriptedEngine
from tunalm.recipe import ScriptedSettings
from tunalm.records import Message

REPLIES = ["one", "two three", "two three", "four five six"]


def request(key: str = "a", **changes: object) -> Request:
    plain = Request(key=key, messages=[Message(role="user", content="b a", input="n a n a")], logprobs=True)
    return plain.model_copy(update=changes)


def ask(engine: ScriptedEngine, *requests: Request) -> dict[str, Completion]:
    units = engine.generate(engine.batches(requests), Journal())
    return {completion.key: completion for unit in units for completion in unit}


def scripted(*replies: str) -> ScriptedEngine:
    return ScriptedEngine(ScriptedSettings(replies=list(replies)))


def test_the_same_request_has_the_same_answer_whatever_is_asked_beside_it() -> None:
    many = [request(str(number), seed=number % 3) for number in range(40)]
    together = ask(scripted(*REPLIES), *many)
    assert together == {one.key: ask(scripted(*REPLIES), one)[one.key] for one in reversed(many)}
    assert len({completion.text for completion in together.values()}) == 3


def test_seeds_change_the_draw() -> None:
    texts = {ask(scripted(*REPLIES), request(seed=seed))["a"].text for seed in range(30)}
    assert texts == set(REPLIES)


def test_temperature_0_takes_the_first_reply_and_is_certain() -> None:
    answer = ask(scripted(*REPLIES), request(temperature=0.0))["a"]
    assert (answer.text, answer.logprob) == ("one", 0.0)
    assert ask(scripted(), request(temperature=0.0))["a"].text == "b a n a n a"


def test_log_probabilities_are_those_of_the_draws() -> None:
    drawn = ask(scripted(*REPLIES), *(request(str(number)) for number in range(2000))).values()
    shares = {text: count / 2000 for text, count in Counter(answer.text for answer in drawn).items()}
    for answer in drawn:
        assert answer.logprob == pytest.approx(math.log(REPLIES.count(answer.text) / 4))
        assert math.exp(answer.logprob or 0.0) == pytest.approx(shares[answer.text], abs=0.04)


def test_without_replies_the_words_of_the_instruction_are_shuffled() -> None:
    answers = ask(scripted(), *(request(str(number)) for number in range(50))).values()
    assert {tuple(sorted(answer.text.split())) for answer in answers} == {("a", "a", "a", "b", "n", "n")}
    assert len({answer.text for answer in answers}) > 10
    # 6! / (3! 2! 1!) = 60 orders, all as likely.
    assert [answer.logprob for answer in answers] == pytest.approx([-math.log(60)] * 50)


def test_every_token_has_a_log_probability_and_the_end_is_a_token() -> None:
    answer = ask(scripted("four five six"), request())["a"]
    assert (answer.num_tokens, answer.finish_reason) == (4, "stop")
    assert answer.token_logprobs == [0.0] * 4
    assert ask(scripted("x"), request(logprobs=False))["a"].token_logprobs is None


@pytest.mark.parametrize(
    ("limit", "text", "reason"), [(3, "four\n five six", "length"), (4, "four\n five six", "stop")]
)
def test_the_token_limit_cuts(limit: int, text: str, reason: str) -> None:
    answer = ask(scripted("four\n five six"), request(max_new_tokens=limit))["a"]
    assert (answer.text, answer.finish_reason, answer.num_tokens) == (text, reason, limit)
    assert len(answer.token_logprobs or []) == limit


def test_an_empty_reply_is_an_end_token() -> None:
    answer = ask(scripted(""), request())["a"]
    assert (answer.text, answer.num_tokens, answer.finish_reason) == ("", 1, "stop")


def test_units_do_not_depend_on_the_order_of_the_requests() -> None:
    engine = ScriptedEngine.from_function(lambda request: "x", batch_size=3)
    many = [request(str(number)) for number in range(8)]
    units = engine.batches(many)
    assert units == engine.batches(many[::-1])
    assert [len(unit) for unit in units] == [3, 3, 2]


def test_a_function_can_answer() -> None:
    engine = ScriptedEngine.from_function(lambda request: request.key * 2, "doubler", capabilities=Capabilities())
    assert ask(engine, request("ab"))["ab"].text == "abab"
    assert (engine.identity, engine.capabilities) == ("doubler", Capabilities())
    failing = ScriptedEngine.from_function(lambda request: Completion(key=request.key, failure="no"))
    assert ask(failing, request())["a"].failure == "no"


def test_other_replies_are_another_engine() -> None:
    assert scripted("a").identity != scripted("b").identity
    assert scripted("a").identity == open_engine(ScriptedSettings(replies=["a"])).identity
