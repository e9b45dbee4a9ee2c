"""What becomes of the replies of a server; faults one by one are in the integration tests."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tunalm.engines.base import Completion, Request
from tunalm.engines.endpoint.faults import Fault
from tunalm.engines.endpoint.replies import ReplyReader
from tunalm.records import Message

SECRET = "sk-secret-0123456789"
READER = ReplyReader("asked-for", SECRET)


def request(key: str = "row", **changes: Any) -> Request:
    return Request(key=key, messages=[Message(role="user", content="Name a colour.")], **changes)


def read(body: object, *requests: Request, status: int = 200) -> list[Completion]:
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    return READER.completions(requests or [request()], status, data)


def choice(text: str = "Green.", **changes: Any) -> dict[str, Any]:
    return {"message": {"content": text}, "finish_reason": "stop", **changes}


@pytest.mark.parametrize(
    ("finish", "end"), [("stop", "stop"), ("eos_token", "stop"), ("length", "length"), ("max_tokens", "length")]
)
def test_the_two_ends_have_one_name_each(finish: str, end: str) -> None:
    assert read({"choices": [choice(finish_reason=finish)]})[0].finish_reason == end


def test_choices_without_an_index_stand_in_their_order() -> None:
    got = read({"choices": [choice("One."), choice("Two.")]}, request("a"), request("b"))
    assert [(one.key, one.text, one.model) for one in got] == [("a", "One.", "asked-for"), ("b", "Two.", "asked-for")]


def test_the_tokens_of_a_call_stand_on_its_first_completion_even_if_that_one_failed() -> None:
    usage = {"prompt_tokens": 7, "completion_tokens": 9}
    body = {"choices": [choice(" "), choice("Two.")], "usage": usage}
    first, second = read(body, request("a"), request("b"))
    assert (first.failure or "").startswith("empty-text: ")
    assert (first.prompt_tokens, first.completion_tokens) == (7, 9)
    assert (second.prompt_tokens, second.completion_tokens, second.num_tokens) == (None, None, None)


@pytest.mark.parametrize(
    ("count", "tokens", "hidden", "fits"),
    [(3, 3, 0, True), (2, 3, 0, True), (1, 3, 0, False), (4, 3, 0, False), (3, 50, 47, True), (3, 50, 0, False)],
)
def test_log_probabilities_must_be_as_many_as_tokens_but_for_the_end(
    count: int, tokens: int, hidden: int, fits: bool
) -> None:
    values = {"content": [{"logprob": -1.0}] * count}
    usage = {"completion_tokens": tokens, "completion_tokens_details": {"reasoning_tokens": hidden}}
    (got,) = read({"choices": [choice(logprobs=values)], "usage": usage}, request(logprobs=True))
    assert (got.failure is None) is fits
    assert fits or (got.failure or "").startswith("wrong-logprobs: ")


@pytest.mark.parametrize(("count", "fits"), [(24, True), (8, False)])
def test_a_sibling_cut_at_the_limit_has_a_log_probability_per_token(count: int, fits: bool) -> None:
    """The tokens of each sibling are not told; llama.cpp joins the tokens of an emoji and gives one value for them."""
    values = {"content": [{"logprob": -1.0}] * count}
    cut = choice(finish_reason="length", logprobs=values)
    unit = [request(key, logprobs=True, max_new_tokens=24) for key in "ab"]
    assert [one.failure is None for one in read({"choices": [cut, cut]}, *unit)] == [fits, fits]


def test_rounding_errors_above_zero_are_zero() -> None:
    values = {"content": [{"logprob": 1e-7}, {"logprob": -2.0}]}
    (got,) = read({"choices": [choice(logprobs=values)]}, request(logprobs=True))
    assert got.token_logprobs == [0.0, -2.0]


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ({"error": {"message": f"wrong\nkey {SECRET}\x1b[31m"}}, "wrong key [key] [31m"),
        ({"error": "short"}, "short"),
        ({"detail": [{"msg": "field required"}]}, "[{'msg': 'field required'}]"),
        (b"upstream said hello", "upstream said hello"),
        (b"<html>secret portal</html>", "no explanation"),
        (b"", "no explanation"),
        ({"error": {"message": "x" * 1000}}, "x" * 200),
    ],
)
def test_what_a_server_says_is_one_clean_line(body: object, said: str) -> None:
    assert read(body, status=400)[0].failure == f"http-400: {said}"


def test_a_token_across_the_border_of_prompt_and_text_cannot_be_scored() -> None:
    values = {"token_logprobs": [None, -1.0, -1.0], "text_offset": [0, 4, 8]}
    body = {"choices": [{"text": "x", "finish_reason": "length", "logprobs": values}]}

    def scored(prompt: str, text: str) -> Completion:
        asked = Request.to_score([Message(role="user", content=prompt)], text, ended=True)
        return read(body, asked.model_copy(update={"raw": True}))[0]

    assert scored("prompt", "text").failure == (
        "split-token: a token holds the end of the prompt and the start of the response"
    )
    whole = scored("prom", "pttext")
    assert (whole.token_logprobs, whole.num_tokens, whole.logprob) == ([-1.0, -1.0], 2, -2.0)


JSON: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=10,
)
NAMES = st.sampled_from(
    ["choices", "message", "content", "finish_reason", "logprobs", "usage", "index", "text", "error", "tool_calls"]
)
REPLY_LIKE = st.recursive(
    JSON, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=6), max_leaves=20
)


@given(st.binary() | REPLY_LIKE.map(lambda value: json.dumps(value).encode("utf-8", "surrogatepass")), st.booleans())
def test_whatever_comes_is_a_text_or_a_named_failure(body: bytes, logprobs: bool) -> None:
    unit = [request("a", logprobs=logprobs), request("b", logprobs=logprobs)]
    kinds = {str(fault) for fault in Fault} | {"http-500"}
    for status in (200, 500):
        got = READER.completions(unit, status, body)
        assert [one.key for one in got] == ["a", "b"]
        assert all(bool(one.text.strip()) == (one.failure is None) for one in got)
        assert all(one.failure is None or one.failure.partition(": ")[0] in kinds for one in got)
