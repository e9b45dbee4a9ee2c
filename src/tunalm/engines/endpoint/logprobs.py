"""Log-probabilities as servers report them, believed only if their tokens spell the text that came with them.

A server may report those of its thoughts, of another text, or placeholders: ranking by these would be wrong without a
word.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from itertools import accumulate
from typing import Annotated

from pydantic import BaseModel, Field

from tunalm.engines.endpoint.faults import Fault, ReplyError
from tunalm.engines.reasoning import split_thoughts

ROUNDING = 1e-3
"""A log-probability may exceed 0 by so much and is then taken for 0."""
LOWEST = -1000.0
"""No token with a log-probability below this is ever drawn: servers write -9999 and the like where they have none."""
_ESCAPED = re.compile(rb"\\x([0-9a-fA-F]{2})")
_UNKNOWN = "\ufffd"
"""What servers write for a token that is part of a character."""


class Token(BaseModel):
    """One token of a chat's reply."""

    token: str | None = None
    raw: list[Annotated[int, Field(ge=0, le=255)]] | None = Field(None, alias="bytes")
    logprob: float | None

    def spelling(self) -> bytes | None:
        """What the token adds to the text; None if the server does not say."""
        if self.raw is not None:
            return bytes(self.raw)
        return None if self.token is None else _spelling(self.token)


class Logprobs(BaseModel):
    """Log-probabilities, in either protocol's way."""

    content: list[Token] | None = None
    """Of a chat."""
    tokens: list[str] | None = None
    """Of a completion, as are the next two."""
    token_logprobs: list[float | None] | None = None
    text_offset: list[int] | None = None

    def values(self) -> list[float | None]:
        """One value per token; None where the server has none."""
        return [token.logprob for token in self.content] if self.content else self.token_logprobs or []

    def spellings(self) -> list[bytes | None]:
        """What each token adds to the text."""
        return [token.spelling() for token in self.content] if self.content else [*map(_spelling, self.tokens or [])]


def of_answer(logprobs: Logprobs | None, text: str, start: int) -> list[float]:
    """The log-probabilities of the tokens of a text from `start` on, that of the end token included where there is one.

    Args:
        logprobs: of all tokens.
        text: all that the model wrote.
        start: characters of it that are thoughts.

    Raises:
        ReplyError: there are none, they are not those of this text, or one of them is no log-probability.
    """
    values = logprobs.values() if logprobs else []
    if logprobs is None or not values:
        raise ReplyError(Fault.MISSING_LOGPROBS, "they were asked for")
    spellings = logprobs.spellings()
    pieces = [piece for piece in spellings if piece is not None]
    if len(pieces) != len(values) or len(spellings) != len(values):
        raise ReplyError(Fault.WRONG_LOGPROBS, f"{len(values)} log-probabilities for {len(pieces)} tokens")
    spelled = next((whole for whole in (pieces, pieces[:-1]) if _is_spelling(_decoded(whole), text)), None)
    if spelled is None:
        raise ReplyError(Fault.WRONG_LOGPROBS, "their tokens do not spell the text")
    written = _decoded(spelled)
    border = len(written[: split_thoughts(written).start].encode("utf-8", "surrogateescape")) if start else 0
    ends = [*accumulate(map(len, pieces))]
    first = next((place for place, end in enumerate(ends) if end > border), len(ends))
    before = pieces[first][: border - (ends[first] - len(pieces[first]))] if first < len(ends) else b""
    if before.strip():
        raise ReplyError(Fault.SPLIT_TOKEN, "a token holds the end of the thoughts and the start of the answer")
    return checked(values[first:])


def checked(values: Sequence[float | None]) -> list[float]:
    """Log-probabilities, once each is known to be one.

    Raises:
        ReplyError: one is missing, not finite, above 0, or a placeholder.
    """
    good = [value for value in values if value is not None and LOWEST < value <= ROUNDING and math.isfinite(value)]
    if len(good) < len(values):
        raise ReplyError(Fault.NAN_LOGPROB, "log-probabilities that are missing, not finite, above 0, or placeholders")
    return [min(value, 0.0) for value in good]


def _spelling(token: str) -> bytes:
    """A token's bytes; OpenAI writes `bytes:\\xe2\\x80` for one that is part of a character."""
    raw = token.encode("utf-8", "surrogatepass")
    if raw.startswith(b"bytes:"):
        return _ESCAPED.sub(lambda match: bytes([int(match[1], 16)]), raw.removeprefix(b"bytes:"))
    return raw


def _decoded(pieces: Sequence[bytes]) -> str:
    return b"".join(pieces).decode("utf-8", "surrogateescape")


def _is_spelling(spelled: str, text: str) -> bool:
    """Whether two texts are equal but for white space around them, and for characters that the server did not spell."""
    spelled, text = spelled.strip(), text.strip()
    if _UNKNOWN not in spelled:
        return spelled == text
    first, *middle, last = re.split(f"{_UNKNOWN}+", spelled)
    if not (text.startswith(first) and text.endswith(last) and len(text) >= len(first) + len(last)):
        return False
    at, end = len(first), len(text) - len(last)
    for piece in middle:
        found = text.find(piece, at, end)
        if found < 0:
            return False
        at = found + len(piece)
    return len(text) - len(spelled.replace(_UNKNOWN, "")) <= spelled.count(_UNKNOWN)
