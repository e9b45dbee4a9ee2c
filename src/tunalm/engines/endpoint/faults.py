"""The kinds of failure of a call, so that every failed row names one."""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum

from tunalm.engines.base import Completion, Request
from tunalm.records import UNKNOWN


class Fault(StrEnum):
    """Kinds of failure; `Completion.failure` begins with one of them, or with `http-STATUS`."""

    NO_CONNECTION = "no-connection"
    TIMEOUT = "timeout"
    TOO_SLOW = "too-slow"
    RESET = "reset"
    TRUNCATED = "truncated"
    NOT_HTTP = "not-http"
    TOO_LARGE = "too-large"
    BAD_ENCODING = "bad-encoding"
    EMPTY_BODY = "empty-body"
    NOT_UTF8 = "not-utf8"
    HTML = "html"
    BAD_JSON = "bad-json"
    ERROR_REPLY = "error-reply"
    WRONG_SCHEMA = "wrong-schema"
    MISSING_CHOICES = "missing-choices"
    DUPLICATE_INDEX = "duplicate-index"
    NULL_CONTENT = "null-content"
    EMPTY_TEXT = "empty-text"
    CUT_THOUGHTS = "cut-thoughts"
    TOOL_CALL = "tool-call"
    REFUSAL = "refusal"
    CONTENT_FILTER = "content-filter"
    UNKNOWN_END = "unknown-end"
    MISSING_LOGPROBS = "missing-logprobs"
    NAN_LOGPROB = "nan-logprob"
    WRONG_LOGPROBS = "wrong-logprobs"
    SPLIT_TOKEN = "split-token"


class ReplyError(Exception):
    """A reply, or a choice of one, that cannot be used; its text is a `Completion.failure`."""

    def __init__(self, fault: Fault, why: str) -> None:
        super().__init__(f"{fault}: {why}")


def failed(unit: Sequence[Request], failure: str, *, unknown: bool = False, free: bool = False) -> list[Completion]:
    """The completions of a unit whose answer cannot be used.

    Args:
        unit: what was asked.
        failure: why.
        unknown: nobody knows what became of it.
        free: the server charges nothing for it.
    """
    failure = f"{UNKNOWN}{failure}" if unknown else failure
    tokens = 0 if free else None
    return [
        Completion(key=request.key, failure=failure, unknown=unknown, prompt_tokens=tokens, completion_tokens=tokens)
        for request in unit
    ]
