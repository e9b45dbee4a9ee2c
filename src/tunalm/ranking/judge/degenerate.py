"""Responses that are none: found before a judge sees them, because judges have been won over by such texts.

A response that is found here is not shown, gets no rank, and says so in `Ranking.judgement`. That can hit an honest
one (a refrain that was asked for, the same refusal to many requests): it then neither gains nor loses by it, and the
figures tell how often it happened. Known attacks: one reply to every instruction (arXiv 2410.07137), an opening or a
sign without an answer behind it (arXiv 2507.08794).
"""

from __future__ import annotations

import re
import unicodedata
from collections import defaultdict
from collections.abc import Sequence

from tunalm.data.fences import LOOKALIKE
from tunalm.progress import tracked
from tunalm.records import Ranking

NO_WORD = "nothing but punctuation"
REPETITION = "the same words over and over"
OPENING = "an opening without an answer"
ECHO = "the instruction itself"
CONSTANT = "the same text for many instructions"
ADDRESS = "closes a fence or gives marks"

OPENINGS = frozenset(
    {
        "thought process",
        "let's solve this problem step by step",
        "let's think step by step",
        "let me think",
        "reasoning",
        "solution",
        "final answer",
        "the answer is",
        "respuesta",
        "r\u00e9ponse",
        "l\u00f6sung",
        "resposta",
        "\u0440\u0435\u0448\u0435\u043d\u0438\u0435",
        "\u89e3",
        "\u89e3\u7b54",
        "\u304b\u3044\u305b\u3064",
        "\ud480\uc774",
    }
)
"""Whole texts that judges have taken for right answers, without the signs at their ends."""
LONGEST_OPENING = 6
"""Words of a text that ends in a colon and promises an answer."""
SHINGLE, SHORTEST_REPETITION, NEW_SHINGLES = 8, 80, 0.15
"""A text of so many characters whose runs of eight characters are nearly all runs that it has had before."""
SHORTEST_CONSTANT, FEWEST_LISTS, SHARE_OF_LISTS = 40, 5, 0.005
"""A text of so many characters that answers so many different instructions, and such a share of them."""

_MARKS_GIVEN = re.compile(r"[\"']R\d+[\"']\s*:\s*[\[{]|^\s*rank:\s*R\d+\s*>", re.MULTILINE)


def find_degenerate(rows: Sequence[Ranking]) -> dict[str, dict[int, str]]:
    """Find the responses that are not to be judged.

    Returns:
        By the id of a list, for those that have any: position in `row.responses` -> what it is.
    """
    constant = _constant_texts(rows)
    found: defaultdict[str, dict[int, str]] = defaultdict(dict)
    for row in tracked(rows, "looking for degenerate responses"):
        asked = {_plain(row.instruction), _plain(row.messages()[-1].text)}
        for place, response in enumerate(row.responses):
            if response.is_usable and (reason := _reason(response.text, asked, constant)):
                found[row.id][place] = reason
    return dict(found)


def _reason(text: str, asked: set[str], constant: set[str]) -> str | None:
    plain = _plain(text)
    if all(unicodedata.category(character)[0] in "PZC" for character in plain):
        return NO_WORD
    if plain in asked:
        return ECHO
    if plain.casefold().strip(" .:!?*#_\uff1a\u3002") in OPENINGS:
        return OPENING
    if plain.endswith((":", "\uff1a")) and len(plain.split()) <= LONGEST_OPENING:
        return OPENING
    if LOOKALIKE.search(text) or _MARKS_GIVEN.search(text):
        return ADDRESS
    if _repeats(plain):
        return REPETITION
    return CONSTANT if plain in constant else None


def _repeats(plain: str) -> bool:
    if len(plain) < SHORTEST_REPETITION:
        return False
    total = len(plain) - SHINGLE + 1
    different: set[str] = set()
    for start in range(total):
        different.add(plain[start : start + SHINGLE])
        if len(different) > NEW_SHINGLES * total:
            return False
    return True


def _constant_texts(rows: Sequence[Ranking]) -> set[str]:
    """Texts that answer too many instructions."""
    answered: defaultdict[str, set[str]] = defaultdict(set)
    instructions = set()
    for row in rows:
        instruction = row.messages()[-1].text
        instructions.add(instruction)
        for response in row.responses:
            if response.is_usable and len(plain := _plain(response.text)) >= SHORTEST_CONSTANT:
                answered[plain].add(instruction)
    enough = max(FEWEST_LISTS, SHARE_OF_LISTS * len(instructions))
    return {text for text, lists in answered.items() if len(lists) >= enough}


def _plain(text: str) -> str:
    return " ".join(text.split())
