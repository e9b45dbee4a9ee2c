"""A small language for accepted forms, and its translation into regular expressions.

    {answer} (is/comes) [the] first      one word of the two, then `the` or nothing

`(a/b)` is a choice and `[a]` may be left out; both may be nested. `{name}` is a place for a word of the question,
dressed up as its kind allows (`KINDS`), and `{kind name}` overrides the kind. `<name>` is an expression of `FIXED`.
Everything else stands for itself.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

FIXED = {
    "start": "^",
    "end": "$",
    "border": r"\b",
    "gap": r"[^a-z0-9_]*",
    "break": r"[^a-z0-9_]+",
    "spaces": r"\s+",
    "word characters": r"\w+",
    "letters": r"[a-z]*",
    "any": ".*",
    "some word": r"(?:a|i|\w\w+)",
    "count": r"(?P<count>\d+|one|two|three|four|five|six|seven|eight|nine|ten|zero|a single)",
}
"""Expressions that may stand in a form as `<name>`."""

_QUOTES = r"[\"'.,]*"
KINDS = {
    "plain": "{}",
    "quoted": rf"{_QUOTES}\b{{}}\b{_QUOTES}",
    "word": rf"(?:the\ word\ )?{_QUOTES}\b{{}}\b{_QUOTES}",
    "letter": rf"(?:the\ letter\ )?{_QUOTES}\b{{}}\b{_QUOTES}",
    "number": rf"(?:the\ number\ )?{_QUOTES}\b{{}}\b{_QUOTES}",
    "list": r"(?:the\ words\ )?{}",
    "sentence": rf"(?:(?:the\ sentence\ )?{_QUOTES}{{}}{_QUOTES}|the\ sentence)",
}
"""How a word of the question may be dressed up; `{}` is the word."""

_BRACKETS = {"(": "(?:", ")": ")", "[": "(?:", "]": ")?", "/": "|"}
_PIECE = re.compile(r"\{[^}]*\}|<[^>]*>|.", re.DOTALL)
_PLACE = re.compile(r"\{(?:(?P<kind>\w+) )?(?P<name>\w+)(?:=(?P<word>[^}]*))?\}")
_NO_LITERAL = re.compile(r"\{[^}]*\}|<[^>]*>")
_OPEN = re.compile(r"\[[^][()]*\]|\([^][()]*\)")

_SMALL = (
    *("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve"),
    *("thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen"),
)
_TENS = ("", "", "twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety")


def mirror(lines: Sequence[str], places: tuple[str, str], old: str, new: str) -> list[str]:
    """The forms that have `old` in them, with `new` for it and the two places exchanged: A is more, so B is less."""
    one, other = places
    exchange = {one: other, other: one}
    pattern = re.compile(f"{re.escape(one)}|{re.escape(other)}")
    return [pattern.sub(lambda found: exchange[found[0]], line).replace(old, new) for line in lines if old in line]


def to_regex(form: str, kinds: Mapping[str, str], words: Mapping[str, str]) -> str:
    """Translate a form.

    Args:
        form: in the language of this module; a place may carry its own word, as in `{answer=dog}`.
        kinds: kind of each place, by name.
        words: expression for the word of each place, by name.
    """
    pieces = []
    for piece in _PIECE.findall(form):
        if found := _PLACE.fullmatch(piece):
            name, own = found["name"], found["word"]
            word = words[name] if own is None else to_regex(own, kinds, words)
            pieces.append(KINDS[found["kind"] or kinds[name]].replace("{}", word))
        elif piece.startswith("<"):
            pieces.append(FIXED[piece[1:-1]])
        else:
            pieces.append(_BRACKETS.get(piece) or re.escape(piece))
    return "".join(pieces)


def anchor(form: str) -> str:
    """The longest text that stands in everything which a form describes; empty if there is none."""
    text, before = _NO_LITERAL.sub("\n", form), ""
    while text != before:
        text, before = _OPEN.sub("\n", text), text
    return max(text.split("\n"), key=len)


def in_words(number: int) -> str:
    """An English numeral below one thousand: 342 is `three hundred and forty-two`."""
    hundreds, rest = divmod(number, 100)
    if number < 20:
        return _SMALL[number]
    if not hundreds:
        return _TENS[rest // 10] + (f"-{_SMALL[rest % 10]}" if rest % 10 else "")
    return f"{_SMALL[hundreds]} hundred" + (f" and {in_words(rest)}" if rest else "")


def numeral(digits: str, words: str, spaced: str) -> str:
    """Expression for a number in digits, or in words with or without hyphens (each an expression)."""
    return rf"(?:\b{digits}\b|{words}|{spaced})"
