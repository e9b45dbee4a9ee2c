"""What a reasoning model thought, told apart from what it answered.

reply --> thoughts (`<think>...</think>`, with or without the tag that opens them) + answer
      `-> a reply that was cut inside its thoughts has no answer
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass

_OPENS = re.compile(
    r"\s*(?:<(?:think|thinking|thought|thoughts|reasoning|seed:think)>|\[THINK\]|◁think▷|<\|begin_of_thought\|>"
    r"|<\|channel>thought\b|<\|channel\|>analysis<\|message\|>)"
)
_CLOSES = re.compile(
    r"(?<![`'\"])(?:</(?:think|thinking|thought|thoughts|reasoning|seed:think)>|\[/THINK\]|◁/think▷"
    r"|<\|end_of_thought\|>|<channel\|>|(?:<\|end\|>)?<\|start\|>assistant<\|channel\|>final<\|message\|>)"
)
"""A tag behind a quotation mark or backtick is talked about, not used."""


@dataclass(frozen=True)
class SplitReply:
    """A reply in its two parts."""

    reasoning: str | None
    """The thoughts, without their tags; None where there are none."""
    answer: str | None
    """What stands after the thoughts; None if the reply was cut inside them."""
    start: int
    """Characters of the reply before the answer."""


def split_thoughts(text: str, *, opened: bool = False) -> SplitReply:
    """Split what a model wrote into its thoughts and its answer.

    Args:
        text: all that the model wrote.
        opened: the prompt ended inside the thoughts, because the template writes the tag that opens them. Then a text
            without the tag that closes them was cut.

    A text that is JSON as a whole is an answer, whatever tags its strings quote.
    """
    if _is_json(text):
        return SplitReply(None, text, 0)
    start, inside = 0, opened or bool(_OPENS.match(text))
    while closing := _CLOSES.search(text, start):
        start = closing.end()
        inside = bool(_OPENS.match(text, start))
        if not inside:
            break
    reasoning = _untagged(text if inside else text[:start])
    if inside:
        return SplitReply(reasoning, None, len(text))
    if not start:
        return SplitReply(None, text, 0)
    start = len(text) - len(text[start:].lstrip())
    return SplitReply(reasoning, text[start:], start)


def _untagged(text: str) -> str:
    parts = (part.strip() for part in re.split(rf"{_OPENS.pattern}|{_CLOSES.pattern}", text))
    return "\n".join(part for part in parts if part)


def _is_json(text: str) -> bool:
    if not text.lstrip().startswith(("{", "[")):
        return False
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return False
    return True
