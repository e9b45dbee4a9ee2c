"""Which calls are made again, and after what pause."""

from __future__ import annotations

import time
from email.utils import formatdate

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tunalm.engines.endpoint.retries import (
    CallError,
    LostError,
    NotSentError,
    RefusedError,
    Retries,
    ServerError,
    asked_pause,
    may_pass,
)


@pytest.mark.parametrize(
    ("headers", "pause"),
    [
        ({}, None),
        ({"retry-after": "7"}, 7.0),
        ({"retry-after": " 0.5 "}, 0.5),
        ({"retry-after": "0"}, 0.0),
        ({"retry-after": "-3"}, 0.0),
        ({"retry-after": "86400"}, 86400.0),
        ({"retry-after": "Wed, 21 Oct 2015 07:28:00 GMT"}, 0.0),
        ({"retry-after": "nan"}, None),
        ({"retry-after": "inf"}, None),
        ({"retry-after": "soon"}, None),
        ({"retry-after": ""}, None),
        ({"retry-after-ms": "250"}, 0.25),
        ({"retry-after-ms": "250", "retry-after": "1"}, 0.25),
        ({"retry-after-ms": "much", "retry-after": "1"}, 1.0),
        ({"x-ratelimit-reset-requests": "1s"}, 1.0),
        ({"x-ratelimit-reset-requests": "6m0s"}, 360.0),
        ({"x-ratelimit-reset-requests": "1h2m3.5s"}, 3723.5),
        ({"x-ratelimit-reset-requests": "120ms"}, 0.12),
        ({"x-ratelimit-reset-requests": "2"}, 2.0),
        ({"x-ratelimit-reset-requests": "tomorrow"}, None),
        ({"x-ratelimit-reset-requests": "6m0s", "retry-after": "2"}, 2.0),
    ],
)
def test_the_pause_that_a_server_asks_for_is_read_in_every_spelling(
    headers: dict[str, str], pause: float | None
) -> None:
    assert asked_pause(headers) == (None if pause is None else pytest.approx(pause))


def test_a_date_is_a_pause_from_now() -> None:
    pause = asked_pause({"retry-after": formatdate(time.time() + 30, usegmt=True)})
    assert pause == pytest.approx(30, abs=1.5)


@given(st.sampled_from(["retry-after", "retry-after-ms", "x-ratelimit-reset-requests"]), st.text())
def test_no_header_breaks_the_reading(name: str, value: str) -> None:
    pause = asked_pause({name: value})
    assert pause is None or pause >= 0


@pytest.mark.parametrize(("status", "passing"), [(400, False), (404, False), (408, True), (409, True), (425, True)])
def test_what_may_be_different_the_next_time(status: int, passing: bool) -> None:
    assert may_pass(status) is passing
    assert may_pass(429)
    assert may_pass(500)


def lost(may_repeat: bool) -> LostError:
    error = LostError("reset: x")
    error.may_repeat = may_repeat
    return error


@pytest.mark.parametrize(
    ("error", "first", "second"),
    [
        (NotSentError("no-connection: x"), True, False),
        (ServerError("http-500: x"), True, False),
        (ServerError("http-500: x", 3.0), 3.0, False),
        (lost(True), True, False),
        (lost(False), False, False),
        (RefusedError("http-429: x"), 0.0, 0.0),
        (RefusedError("http-429: x", 7.0), 7.0, 7.0),
        (ValueError("a defect"), False, False),
    ],
)
def test_every_error_but_a_refusal_uses_up_a_retry(error: CallError, first: bool | float, second: bool | float) -> None:
    retries = Retries(1)
    pauses = [retries(error), retries(error)]
    assert pauses == [first, second]
    assert [type(pause) for pause in pauses] == [type(first), type(second)]
