"""Which calls to a server are worth making again, and after what pause."""

from __future__ import annotations

import logging
import math
import re
import time
from collections.abc import Mapping
from email.utils import parsedate_to_datetime

NO_ROOM = frozenset({429, 503, 529})
"""Statuses of a server that has refused a call because it has too many."""
PASSING = frozenset({408, 409, 425})
"""Statuses below 500 that may be different the next time."""
UNCERTAIN = frozenset({504, 524})
"""Statuses of a gateway that gave up waiting: the model behind it may have answered, and may charge for it."""

_SILENT = logging.NullHandler()
_DURATION = re.compile(r"(?=.)(?:(\d+)h)?(?:(\d+)m)?(?:(\d+(?:\.\d+)?)s)?(?:(\d+(?:\.\d+)?)ms)?")
_SECONDS = (3600.0, 60.0, 1.0, 0.001)


class CallError(Exception):
    """A call that may be made again.

    Args:
        failure: what to say when it is not: a `Fault`, or `http-STATUS`, and an explanation.
        asked: seconds that the server asks to be left alone for, if it does.
    """

    def __init__(self, failure: str, asked: float | None = None) -> None:
        super().__init__(failure)
        self.failure = failure
        self.asked = asked


class NotSentError(CallError):
    """There was no connection, so nothing was sent."""


class LostError(CallError):
    """The request was sent and no whole answer came back: it may have been carried out.

    Args:
        overload: the reply did not come in time, so the server may have too much to do.

    Attributes:
        may_repeat: whether the call may be made, and paid for, a second time.
    """

    def __init__(self, failure: str, asked: float | None = None, *, overload: bool = False) -> None:
        super().__init__(failure, asked)
        self.overload = overload
        self.may_repeat = False


class RefusedError(CallError):
    """The server has no room (429, 503). That says nothing about the request, so it uses up none of its retries."""


class ServerError(CallError):
    """The server failed (5xx), or could not do it now (408, 409, 425)."""


class Retries:
    """The retries of one call: a hook for `stamina`, asked with the error of every attempt.

    Args:
        most: retries after errors; a refusal for want of room is none.
    """

    def __init__(self, most: int) -> None:
        self._left = most

    def __call__(self, error: Exception) -> bool | float:
        """Whether to make the call again: False, True (the usual back-off), or after how many seconds."""
        if isinstance(error, RefusedError):
            return error.asked or 0.0  # beyond that, `limits.Concurrency` decides when
        if (
            not isinstance(error, CallError)
            or not self._left
            or (isinstance(error, LostError) and not error.may_repeat)
        ):
            return False
        self._left -= 1
        return True if error.asked is None else error.asked


def silence_retries() -> None:
    """Keep `stamina` from printing every retry through the progress bar."""
    logging.getLogger("stamina").addHandler(_SILENT)


def may_pass(status: int) -> bool:
    """Whether an HTTP status is of the kind that may be different the next time."""
    return status in NO_ROOM or status in PASSING or (status >= 500 and status != 501)


def asked_pause(headers: Mapping[str, str]) -> float | None:
    """Seconds that a server asks to wait: the first that it names, in any of the spellings in use.

    These are `Retry-After-Ms`; `Retry-After` as a number or a date; `X-RateLimit-Reset-Requests` as a duration (6m0s).
    """
    readings = (
        _number(headers.get("retry-after-ms", ""), 0.001),
        _number(headers.get("retry-after", ""), 1.0),
        _until(headers.get("retry-after", ""), headers.get("date", "")),
        _duration(headers.get("x-ratelimit-reset-requests", "")),
    )
    return next((max(seconds, 0.0) for seconds in readings if seconds is not None), None)


def _number(text: str, unit: float) -> float | None:
    try:
        value = float(text) * unit
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def _until(text: str, now: str) -> float | None:
    """Seconds to a date, on the clock of the server if it says what that shows: ours may be wrong."""
    until = _date(text)
    return None if until is None else until - (_date(now) or time.time())


def _date(text: str) -> float | None:
    try:
        return parsedate_to_datetime(text).timestamp()
    except (TypeError, ValueError, OverflowError):
        return None


def _duration(text: str) -> float | None:
    if (match := _DURATION.fullmatch(text.strip())) is None:
        return _number(text, 1.0)
    return sum(float(part) * seconds for part, seconds in zip(match.groups(), _SECONDS, strict=True) if part)
