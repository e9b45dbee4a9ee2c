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
from tunalm.recipe import EndpointSettings
from tunalm.records import Message

SECRET = "sk-secret-0123456789"
SETTINGS = EndpointSettings(base_url="http://127.0.0.1:1/v1", model="asked-for")
READER = ReplyReader(SETTINGS, SECRET)


def request(key: str = "row", **changes: Any) -> Request:
    return Request(key=key, messages=[Message(role="user", content="Name a colour.")], **changes)


def read(body: object, *requests: Request, status: int = 200) -> list[Completion]:
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    return READER.completions(requests or [request()], status, data)


def choice(text: str = "Green.", **changes: Any) -> dict[str, Any]:
    return {"message": {"content": text}, "finish_reason": "stop", **changes}


@pytest.mark.parametrize(
    ("finish", "end"),
    [
        ("stop", "stop"),
        ("STOP", "stop"),
        ("COMPLETE", "stop"),
        ("eos_token", "stop"),
        ("length", "length"),
        ("max_tokens", "length"),
    ],
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


def tokens(*pieces: str | bytes | None, logprob: float = -1.0) -> dict[str, Any]:
    """Log-probabilities of tokens that are told as text, as bytes, or not at all."""
    spelled: list[dict[str, Any]] = [
        {"token": "?", "bytes": list(piece)} if isinstance(piece, bytes) else {"token": piece} for piece in pieces
    ]
    return {"content": [{**token, "logprob": logprob} for token in spelled]}


EMOJI = "😀".encode()


@pytest.mark.parametrize(
    ("text", "logprobs", "count"),
    [
        ("Green.", tokens("Gr", "een", "."), 3),
        ("Green.", tokens("Gr", "een", ".", "<|im_end|>"), 4),
        ("Green.", tokens("Gr", "een", ".", ""), 4),
        ("Green.", tokens(" Gr", "een", ".", "\n"), 4),
        ("Grün 😀", tokens("Gr", "ün ", EMOJI[:2], EMOJI[2:]), 4),
        ("Grün 😀", tokens("Gr", "ün ", "\ufffd", "\ufffd"), 4),
        (
            "Grün 😀!",
            {"tokens": ["Gr", "ün ", "bytes:\\xf0\\x9f", "bytes:\\x98\\x80", "!"], "token_logprobs": [-1.0] * 5},
            5,
        ),
        ("<think>Hm.</think>\n\nGreen.", tokens("<think>", "Hm", ".", "</think>", "\n\n", "Gr", "een.", "<|end|>"), 3),
        ("Hm.</think> Green.", tokens("Hm.", "</think>", " Green", "."), 2),
        ("Green.", tokens("Gr", "een"), None),
        ("Green.", tokens("Blue", "."), None),
        ("Green.", tokens("Hm. ", "Gr", "een", "."), None),
        ("Green.", tokens("Green.", " Or", " blue"), None),
        ("Green.", tokens("token_id:7", "token_id:8"), None),
        ("Green.", tokens(None, None, None), None),
        ("Green. Blue.", tokens("\ufffd"), None),
        ("<think>Hm.</think>Green.", tokens("<think>", "Hm", ".</think>Gr", "een."), None),
    ],
)
def test_log_probabilities_are_those_of_tokens_that_spell_the_answer(
    text: str, logprobs: dict[str, Any], count: int | None
) -> None:
    (got,) = read({"choices": [choice(text, logprobs=logprobs)]}, request(logprobs=True))
    if count is None:
        assert (got.failure or "").partition(": ")[0] in ("wrong-logprobs", "split-token")
    else:
        assert (got.failure, got.num_tokens, got.logprob) == (None, count, -count)


@pytest.mark.parametrize("value", [-9999.0, -9999.5, -1e30, -1001.0, 0.5, None])
def test_a_placeholder_is_no_log_probability(value: Any) -> None:
    (got,) = read({"choices": [choice(logprobs=tokens("Green.", logprob=value))]}, request(logprobs=True))
    assert (got.failure or "").startswith("nan-logprob: ")


def test_thoughts_are_kept_beside_the_answer_and_not_counted_among_its_tokens() -> None:
    usage = {"completion_tokens": 50, "completion_tokens_details": {"reasoning_tokens": 47}, "prompt_tokens": 9}
    usage["prompt_tokens_details"] = {"cached_tokens": 8}
    apart = {"content": "Green.", "reasoning_content": "A colour."}
    (got,) = read({"choices": [{"message": apart, "finish_reason": "stop"}], "usage": usage})
    assert (got.text, got.reasoning, got.num_tokens) == ("Green.", "A colour.", 3)
    assert (got.completion_tokens, got.reasoning_tokens, got.cached_tokens) == (50, 47, 8)
    (inside,) = read({"choices": [choice("A colour.</think>Green.")], "usage": {"completion_tokens": 9}})
    assert (inside.text, inside.reasoning, inside.num_tokens) == ("Green.", "A colour.", None)


def test_a_model_that_always_thinks_was_cut_where_the_closing_tag_is_missing() -> None:
    reader = ReplyReader(SETTINGS.model_copy(update={"always_thinks": True}), None)
    cut, whole = choice("A colour, as in"), choice("A colour.</think>Green.")
    got = [reader.completions([request()], 200, json.dumps({"choices": [body]}).encode())[0] for body in (cut, whole)]
    assert [one.failure and one.failure.partition(": ")[0] for one in got] == ["cut-thoughts", None]


@pytest.mark.parametrize(("used", "end"), [(255, "stop"), (256, None), (None, None)])
def test_a_text_without_a_stated_end_is_read_if_it_did_not_fill_its_room(used: int | None, end: str | None) -> None:
    (got,) = read({"choices": [choice(finish_reason=None)], "usage": {"completion_tokens": used}})
    assert got.finish_reason == end


def test_rounding_errors_above_zero_are_zero() -> None:
    values = {"content": [{"token": "Gr", "logprob": 1e-7}, {"token": "een.", "logprob": -2.0}]}
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
    (failed,) = read(body, status=400)
    assert failed.failure == f"http-400: {said}"
    assert (failed.prompt_tokens, failed.completion_tokens) == (0, 0), "an error costs nothing"


def test_a_token_across_the_border_of_prompt_and_text_cannot_be_scored() -> None:
    values = {"token_logprobs": [None, -1.0, -1.0], "text_offset": [0, 4, 8]}
    body = {"choices": [{"text": "x", "finish_reason": "length", "logprobs": values}]}

    def scored(prompt: str, text: str) -> Completion:
        asked = Request.to_score([Message(role="user", content=prompt)], text, ended=True)
        return READER.scored(asked, prompt, text, json.dumps(body).encode())

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
