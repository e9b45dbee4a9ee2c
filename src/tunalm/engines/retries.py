"""Which requests to a server are worth sending again, and after what pause."""

from __future__ import annotations

import math
import time
from email.utils import parsedate_to_datetime

import openai

LONGEST_WAIT = 120.0
"""Seconds: a server that asks for a longer pause than this has refused."""


def pause_before_retry(error: Exception) -> bool | float:
    """Whether to send a request again: False, True (the usual back-off), or the seconds that the server asks for."""
    if isinstance(error, openai.APIStatusError):
        if not (error.status_code in (408, 429) or error.status_code >= 500) or error.code == "insufficient_quota":
            return False
        asked = _retry_after(error.response.headers.get("retry-after", ""))
        if asked is None:
            return True
        return asked if asked <= LONGEST_WAIT else False
    return isinstance(error, openai.APIConnectionError | TimeoutError)


def _retry_after(value: str) -> float | None:
    """Seconds that a Retry-After header asks for, written as a number or as a date."""
    try:
        seconds = float(value)
    except ValueError:
        try:
            seconds = parsedate_to_datetime(value).timestamp() - time.time()
        except (TypeError, ValueError, OverflowError):
            return None
    return max(seconds, 0.0) if math.isfinite(seconds) else None
