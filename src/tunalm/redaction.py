"""Keeps keys out of everything that is shown or kept: error lines, tracebacks, logs, manifests, reports, ledgers.

Two kinds of text are taken for a key: a value that this process uses as one (`remember`), wherever it turns up, and
what looks like one, where people type. The answers of a model are searched for the first kind alone, because a text
that explains what a key looks like is an honest answer.
"""

from __future__ import annotations

import html
import json
import re
from typing import TextIO
from urllib.parse import quote

PLACEHOLDER = "[key]"
SHORTEST = 8
"""Characters; what is shorter (`none`, `EMPTY`) is no secret, and a word that answers may well contain."""

_known: dict[str, None] = {}
"""Every spelling of every secret, the longest first."""

_SHAPE = re.compile(
    r"""
      \b(?:sk|pk|rk)[-_](?=[\w-]*\d)[\w-]{12,}                  # OpenAI, Anthropic, Stripe and those after them
    | \bhf_\w{16,} | \bgsk_\w{16,} | \bxai-[\w-]{16,} | \br8_\w{16,} | \bnvapi-[\w-]{16,}
    | \bgh[pousr]_\w{16,} | \bgithub_pat_\w{16,} | \bglpat-[\w-]{16,} | \bxox[abeprs]-[\w-]{10,}
    | \bA(?:KIA|SIA)[0-9A-Z]{16}\b | \bAIza[\w-]{30,}
    | \beyJ[\w-]{8,}\.[\w-]{8,}\.[\w-]*                         # a signed token
    | (?<=://)[^\s/@'"]+(?=@)                                   # name and password in an address
    """,
    re.VERBOSE,
)
_VARIABLE = re.compile(r"(?=.*_|[^0-9]*$|.{0,15}$)[A-Z_][A-Z0-9_]*")
_NAMED = re.compile(r"(?i)(\bbearer\s+|[\w-]*(?:key|token|secret|password|signature)=)(?!value\b|\.{3})[^\s&'\"\[]{4,}")
"""A value that is called a secret: in an address, a header, a command; not the `key=value` or `key=...` of a help."""


def remember(secret: str) -> None:
    """Never show or keep this value from now on."""
    if len(secret) < SHORTEST:
        return
    spellings = {secret, quote(secret, safe=""), html.escape(secret), json.dumps(secret)[1:-1]}
    longest_first = sorted({*_known, *spellings}, key=lambda spelling: (-len(spelling), spelling))
    _known.clear()
    _known.update(dict.fromkeys(longest_first))


def without_secrets(text: str) -> str:
    """The text with every remembered secret replaced."""
    for secret in _known:
        text = text.replace(secret, PLACEHOLDER)
    return text


def without_secret_bytes(body: bytes) -> bytes:
    """The same for text that is not decoded yet."""
    for secret in _known:
        body = body.replace(secret.encode(), PLACEHOLDER.encode())
    return body


def without_keys(text: str) -> str:
    """The text with every remembered secret, and everything that looks like a key, replaced."""
    return _NAMED.sub(rf"\1{PLACEHOLDER}", _SHAPE.sub(PLACEHOLDER, without_secrets(text)))


def holds_key(text: str) -> bool:
    """Whether something in the text is a secret or has the shape of a key."""
    return _SHAPE.search(without_secrets(text)) is not None or without_secrets(text) != text


def names_variable(text: str) -> bool:
    """Whether a text is the name of an environment variable and not, by mistake, the key that belongs into it.

    Long words of capitals and digits alone are taken for keys.
    """
    return _VARIABLE.fullmatch(text) is not None and not holds_key(text)


class CleanStream:
    """A text stream through which no key gets out."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        """Write the text without its keys."""
        self._stream.write(without_keys(text))
        return len(text)

    def writelines(self, lines: list[str]) -> None:
        """Write the lines without their keys."""
        for line in lines:
            self.write(line)

    def __getattr__(self, name: str) -> object:
        return getattr(self._stream, name)
