"""Programs that decide whether a response does what an instruction asks.

A checker is a pure function of a response and the parameters of the instruction. It returns 1.0 for a right response,
0.0 for a wrong one, and something between only where one wrong response is plainly nearer than another (success is
1.0 and nothing else). It never raises, whatever the response, and an empty response, an echo of the instruction or a
list of all possible answers is worth nothing.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from itertools import combinations
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, ConfigDict, Field, ValidationError, validate_call

from tunalm.data.checkable.words import KINDS
from tunalm.errors import DataError, did_you_mean

Word = Annotated[str, Field(pattern=r"\w")]
Words = Annotated[list[Word], Field(min_length=2)]
Count = Annotated[int, Field(ge=2, le=10)]


def _known_kind(kind: str) -> str:
    if kind not in KINDS:
        raise ValueError(did_you_mean(kind, KINDS))
    return kind


Kind = Annotated[str, AfterValidator(_known_kind)]

_WORD = re.compile(r"[^\W_]+(?:['’-][^\W_]+)*")
_END_OF_SENTENCE = re.compile(r"[.!?]+(?=\s|$)")
_ABOUT_THE_TASK = frozenset("sentence sentences word words letter letters write topic".split())
"""Words of the instructions; a response that has one talks about the task, or repeats it, instead of doing it."""
_NUMBER_WORDS = {
    word: value
    for value, word in enumerate("zero one two three four five six seven eight nine ten eleven twelve".split())
}
_BRACKETS = {"square": "[]", "round": "()", "curly": "{}"}
_LONGEST_ANSWER = 14
"""Words of a response to a question with a short answer."""


def words_of(text: str) -> list[str]:
    """The words of a text in lower case, without punctuation."""
    return _WORD.findall(text.casefold())


def _mentions(text: str, phrase: str) -> int:
    """How often the words of `phrase` stand next to each other in `text`."""
    wanted, words = words_of(phrase), words_of(text)
    return sum(words[start : start + len(wanted)] == wanted for start in range(len(words)))


def _bare(text: str) -> str:
    """The text without the space, quotes, emphasis and full stop around it."""
    return text.strip(" \t\n\r\"'`*_.!“”‘’")


def _answer(text: str) -> str:
    """What follows the last colon (`Here you are: ...`), or everything; bare."""
    return _bare(_bare(text).rpartition(":")[2])


def _is_sentence(text: str, *, longest: int = 25) -> bool:
    """Whether the text is one finished sentence of at least three words which does not talk about the task."""
    text, words = text.strip(" \t\n\"“”"), words_of(text)
    return (
        3 <= len(words) <= longest
        and len(set(words)) >= 3
        and "\n" not in text
        and len(_END_OF_SENTENCE.findall(text)) == 1
        and text[-1] in ".!?"
        and _ABOUT_THE_TASK.isdisjoint(words)
    )


def _is_only(words: list[str], allowed: set[str]) -> bool:
    return bool(words) and set(words) <= allowed


def contains_words(response: str, *, words: Words) -> float:
    """One sentence with all the words; otherwise half of the share that it has."""
    if not _is_sentence(response):
        return 0.0
    share = sum(_mentions(response, word) > 0 for word in words) / len(words)
    return 1.0 if share == 1 else share / 2


def avoids_word(response: str, *, topic: Word, taboo: Word) -> float:
    """One sentence that names the topic and not the taboo."""
    return float(_is_sentence(response) and _mentions(response, topic) > 0 and not _mentions(response, taboo))


def starts_with(response: str, *, opening: Word, topic: Word) -> float:
    """One sentence that begins with the opening; half without the topic."""
    first = words_of(opening)
    if not _is_sentence(response) or words_of(response)[: len(first)] != first:
        return 0.0
    return 1.0 if _mentions(response, topic) else 0.5


def ends_with(response: str, *, ending: Word, topic: Word) -> float:
    """One sentence that closes with the ending; half without the topic."""
    last = words_of(ending)
    if not _is_sentence(response) or words_of(response)[-len(last) :] != last:
        return 0.0
    return 1.0 if _mentions(response, topic) else 0.5


def brief(response: str, *, topic: Word, most: Count) -> float:
    """A sentence of at most so many words that names the topic; a longer one is worth less the longer it is."""
    if not _is_sentence(response) or not _mentions(response, topic):
        return 0.0
    length = len(words_of(response))
    return 1.0 if length <= most else most / length / 2


def letter_of(response: str, *, word: Word, place: Literal["first", "last"]) -> float:
    """The letter alone, or a short statement that begins or ends with it and names no other letter."""
    letters = [char for char in word.casefold() if char.isalpha()]
    words = words_of(response)
    if not letters or not 1 <= len(words) <= _LONGEST_ANSWER:
        return 0.0
    letter = letters[0 if place == "first" else -1]
    stated = words[-1] == letter or (words[0] == letter and words[1:2] == ["is"])
    others = {other for other in words if len(other) == 1} - {letter, "a"}
    return float(stated and not others)


def sorted_words(response: str, *, words: Words) -> float:
    """The words in alphabetical order and nothing else; another new order earns half of the pairs that it has right."""
    expected = sorted(map(str.casefold, words))
    named = [word for word in words_of(_answer(response)) if word != "and" and not word.isdigit()]
    if named == expected:
        return 1.0
    if sorted(named) != expected or named == list(map(str.casefold, words)):
        return 0.0
    pairs = list(combinations(named, 2))
    return sum(first <= second for first, second in pairs) / len(pairs) / 2


def larger_number(response: str, *, numbers: Annotated[list[int], Field(min_length=2, max_length=2)]) -> float:
    """The larger number alone, `... is 7.` at the end of one statement, or `7 is larger than 3`."""
    larger, smaller = max(numbers), min(numbers)
    words = words_of(response)
    named = [word for word in words if word.isdigit()]
    if len(words) > _LONGEST_ANSWER or not _is_only(named, {str(larger), str(smaller)}) or "not" in words:
        return 0.0
    if str(smaller) not in named:
        return float({"smaller", "less", "lower"}.isdisjoint(words))
    if named.count(str(larger)) + named.count(str(smaller)) > 3:
        return 0.0
    concluded = words[-2:] == ["is", str(larger)]
    comparison = rf"{larger} is (bigger|larger|greater|higher|more) than {smaller}"
    return float(concluded or re.fullmatch(comparison, " ".join(words)) is not None)


def count_of(response: str, *, items: Words) -> float:
    """A short statement that names the number of items and no other number."""
    words = words_of(response)
    if len(words) > _LONGEST_ANSWER + len(items):
        return 0.0
    numbers = [word if word.isdigit() else str(_NUMBER_WORDS[word]) for word in words if _is_number(word)]
    return float(_is_only(numbers, {str(len(items))}))


def _is_number(word: str) -> bool:
    return word.isdigit() or word in _NUMBER_WORDS


def list_of(response: str, *, kind: Kind, count: Count) -> float:
    """Exactly so many different items with commas between them, most of them known to be of the kind.

    A list of another length is worth less the further it is off, and never more than half.
    """
    answer = re.sub(r",?\s+and\s+|;", ", ", _answer(response).casefold())
    items = [_bare(item) for item in answer.split(",")]
    known = sum(item in KINDS[kind] or item.removesuffix("s") in KINDS[kind] for item in items)
    if len(items) < 2 or len(set(items)) < len(items) or not all(1 <= len(words_of(item)) <= 3 for item in items):
        return 0.0
    if known * 2 <= len(items):
        return 0.0
    return 1.0 if len(items) == count else min(count, len(items)) / max(count, len(items)) / 2


def capitals(response: str, *, text: Word) -> float:
    """The text in capital letters and nothing else."""
    return float(_answer(response) == text.upper())


def repeated(response: str, *, word: Word, times: Count) -> float:
    """The word exactly so many times and nothing else; 0.3 when it was repeated, but not so often."""
    named = words_of(_answer(response))
    if not _is_only(named, {word.casefold()}) or not 2 <= len(named) <= 2 * times:
        return 0.0
    return 1.0 if len(named) == times else 0.3


def bracketed(response: str, *, word: Word, brackets: Literal["square", "round", "curly"]) -> float:
    """The word in these brackets and nothing else; 0.3 for other brackets."""
    answer = _answer(response)
    inside = _bare(answer[1:-1])
    if inside.casefold() != word.casefold() or answer[:1] + answer[-1:] not in _BRACKETS.values():
        return 0.0
    return 1.0 if answer[0] == _BRACKETS[brackets][0] else 0.3


def json_pair(response: str, *, key: Word, value: Word) -> float:
    """A JSON object with this one pair and nothing around it but a code fence; half for other JSON with both words."""
    text = re.sub(r"^```(?:json)?\s*|\s*```$", "", response.strip())
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return 0.0
    if not isinstance(found, dict):
        return 0.0
    if found == {key: value}:
        return 1.0
    strings = {*found, *(item for item in found.values() if isinstance(item, str))}
    return 0.5 if {key, value} <= strings else 0.0


def yes_or_no(response: str, *, item: Word, items: Words) -> float:
    """`Yes` or `No` first, whichever is true of the item's being in the list, and never the other."""
    right, wrong = ("yes", "no") if item in items else ("no", "yes")
    words = words_of(response)
    return float(words[:1] == [right] and wrong not in words and len(words) <= _LONGEST_ANSWER)


def swapped(response: str, *, words: Annotated[list[Word], Field(min_length=2, max_length=2)]) -> float:
    """The two words the other way round and nothing else."""
    named = words_of(_answer(response))
    return float(named == words_of(" ".join(reversed(words))) != words_of(" ".join(words)))


def one_of_kind(response: str, *, kind: Kind, options: Words) -> float:
    """A short statement that names the one option of that kind and no other option."""
    named = {option for option in options if _mentions(response, option)}
    words = words_of(response)
    right = {option for option in options if option.casefold() in KINDS[kind]}
    return float(bool(named) and named == right and len(words) <= _LONGEST_ANSWER and "not" not in words)


def one_word(response: str, *, accepted: Annotated[list[Word], Field(min_length=1)], asked: Word) -> float:
    """One of the accepted words alone; 0.3 when a short statement names it beside the word that was asked about."""
    words = words_of(response)
    if len(words) == 1:
        return float(words[0] in accepted)
    stated = len(words) <= _LONGEST_ANSWER and words[-1:] and words[-1] in accepted and asked in words
    return 0.3 if stated else 0.0


def bullets(response: str, *, items: Words) -> float:
    """One line `- item` for each item, in the given order; half for any other bullet or number in front."""
    lines = [line.strip() for line in response.strip().splitlines()]
    bare = [_bare(re.sub(r"^(?:[-*•]|\d{1,3}[.)])\s*", "", line)) for line in lines]
    if bare != items or any(line == item for line, item in zip(lines, items, strict=True)):
        return 0.0
    return 1.0 if all(line.startswith("-") for line in lines) else 0.5


CHECKERS: dict[str, Callable[..., float]] = {
    function.__name__: validate_call(config=ConfigDict(strict=True))(function)
    for function in (
        contains_words,
        avoids_word,
        starts_with,
        ends_with,
        brief,
        letter_of,
        sorted_words,
        larger_number,
        count_of,
        list_of,
        capitals,
        repeated,
        bracketed,
        json_pair,
        yes_or_no,
        swapped,
        one_of_kind,
        one_word,
        bullets,
    )
}
"""Name -> checker. Parameters are validated, since an instruction of the user's may bring a checker of its own."""


def check(checker: Mapping[str, Any], response: str) -> float:
    """Score a response, 0.0 (wrong) to 1.0 (right).

    Args:
        checker: `{"name": ..., parameters ...}`, as in `Instruction.checker`.
        response: any text.

    Raises:
        DataError: there is no checker of that name, or the parameters are not its own.
    """
    parameters = dict(checker)
    name = parameters.pop("name", None)
    if not isinstance(name, str) or name not in CHECKERS:
        raise DataError(
            "checker",
            found=f"the name {name!r}",
            expected=f"one of {', '.join(sorted(CHECKERS))}",
            fix=did_you_mean(str(name), CHECKERS),
        )
    try:
        return CHECKERS[name](response, **parameters)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        raise DataError(
            f"checker '{name}'",
            found=f"{'.'.join(map(str, first['loc']))}: {first['msg']}",
            expected="the parameters that this checker takes",
            fix="Correct the `checker` of the row.",
        ) from error
