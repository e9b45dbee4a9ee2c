"""Programs that decide whether a response does what an instruction asks.

A checker is a pure function of a response and the parameters of the instruction. It returns 1.0 for a right response,
0.0 for a wrong one, and something between only where one wrong response is plainly nearer than another (success is
1.0 and nothing else). It never raises, whatever the response, and an empty response, an echo of the instruction or a
list of all possible answers is worth nothing.

To add one, write such a function, with types that say which parameters make sense, and list it in `CHECKERS`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, ConfigDict, Field, ValidationError, validate_call

from tunalm.data.checkable.words import KINDS
from tunalm.errors import DataError, complaint, did_you_mean


def _known_kind(kind: str) -> str:
    if kind not in KINDS:
        raise ValueError(f"unknown kind {kind!r}. {did_you_mean(kind, KINDS)}")
    return kind


Word = Annotated[str, Field(pattern=r"[^\W_]")]
"""A word, or a few words with spaces between them."""
Words = Annotated[list[Word], Field(min_length=1)]
Pair = Annotated[list[Word], Field(min_length=2, max_length=2)]
Count = Annotated[int, Field(ge=2, le=100)]
Kind = Annotated[str, AfterValidator(_known_kind)]

LONGEST_SENTENCE = 25
LONGEST_ANSWER = 14
"""Words of a response to a question with a short answer."""
_WORD = re.compile(r"[^\W_]+(?:['\u2019-][^\W_]+)*")
_END_OF_SENTENCE = re.compile(r"[.!?]+(?=\s|$)")
_ABOUT_THE_TASK = frozenset({"sentence", "sentences", "word", "words", "topic", "write"})
"""Words of the instructions; a response that has one talks about the task, or repeats it, instead of doing it."""
_COMPARATIVES = "larger|bigger|greater|higher|more"
_OTHER_WAY = frozenset({"smaller", "smallest", "less", "least", "lower", "lowest"})
_DENIALS = frozenset({"not", "no", "isn't", "never", "neither", "nor"})


def words_of(text: str) -> list[str]:
    """The words of a text in lower case, without punctuation."""
    return _WORD.findall(text.casefold())


def _mentions(text: str, phrase: str) -> bool:
    """Whether the words of `phrase` stand next to each other in `text`."""
    wanted, words = words_of(phrase), words_of(text)
    return any(words[start : start + len(wanted)] == wanted for start in range(len(words)))


def _bare(text: str) -> str:
    """The text without the space, quotes, emphasis and punctuation around it."""
    return text.strip(" \t\n\r\"'`*_.!\u201c\u201d\u2018\u2019")


def _answer(text: str) -> str:
    """What follows the last colon (`Here you are: ...`), or everything; bare."""
    return _bare(_bare(text).rpartition(":")[2])


def _is_sentence(text: str) -> bool:
    """Whether the text is one finished sentence of at least three words which does not talk about the task."""
    text, words = text.strip(' \t\n"“”'), words_of(text)
    return (
        len(set(words)) >= 3
        and len(words) <= LONGEST_SENTENCE
        and "\n" not in text
        and text[-1] in ".!?"
        and len(_END_OF_SENTENCE.findall(text)) == 1
        and _ABOUT_THE_TASK.isdisjoint(words)
    )


def contains_words(response: str, *, words: Words) -> float:
    """One sentence with all the words; half of the share that it has, if it has not all."""
    if not _is_sentence(response):
        return 0.0
    share = sum(_mentions(response, word) for word in words) / len(words)
    return 1.0 if share == 1 else share / 2


def avoids_word(response: str, *, topic: Word, taboo: Word) -> float:
    """One sentence that names the topic and not the taboo."""
    return float(_is_sentence(response) and _mentions(response, topic) and not _mentions(response, taboo))


def starts_with(response: str, *, opening: Word) -> float:
    """One sentence that begins with the opening and goes on for at least two words."""
    first, words = words_of(opening), words_of(response)
    return float(_is_sentence(response) and words[: len(first)] == first and len(words) >= len(first) + 2)


def ends_with(response: str, *, ending: Word) -> float:
    """One sentence that closes with the ending; half when the ending stands elsewhere in it."""
    last = words_of(ending)
    if not _is_sentence(response) or not _mentions(response, ending):
        return 0.0
    return 1.0 if words_of(response)[-len(last) :] == last else 0.5


def brief(response: str, *, topic: Word, most: Count) -> float:
    """One sentence of at most so many words that names the topic; a longer one is worth less the longer it is."""
    if not _is_sentence(response) or not _mentions(response, topic):
        return 0.0
    length = len(words_of(response))
    return 1.0 if length <= most else most / length / 2


def letter(response: str, *, word: Word, place: Literal["first", "last"]) -> float:
    """The letter alone, or a short statement that ends with it, or begins `x is`, and names no other letter."""
    right = "".join(words_of(word))[0 if place == "first" else -1]
    words = words_of(response)
    if not 1 <= len(words) <= LONGEST_ANSWER:
        return 0.0
    stated = words[-1] == right or words[:2] == [right, "is"]
    others = {other for other in words if len(other) == 1} - {right, "a"}
    return float(stated and not others)


def larger_number(response: str, *, numbers: Annotated[list[int], Field(min_length=2, max_length=2)]) -> float:
    """The larger number alone, a short statement that ends with `is` and that number, or `7 is larger than 3`."""
    larger, smaller = str(max(numbers)), str(min(numbers))
    words = words_of(response)
    named = {word for word in words if word.isdigit()}
    if larger not in named or named - {larger, smaller} or len(words) > LONGEST_ANSWER:
        return 0.0
    compared = re.fullmatch(f"{larger} is ({_COMPARATIVES}) than {smaller}", " ".join(words))
    concluded = smaller not in named or words[-2:] == ["is", larger]
    return float(compared is not None or (concluded and (_OTHER_WAY | _DENIALS).isdisjoint(words)))


def one_of_kind(response: str, *, kind: Kind, options: Words) -> float:
    """A short statement that names the options of that kind and no other option."""
    named = {option for option in options if _mentions(response, option)}
    right = {option for option in options if option.casefold() in KINDS[kind]}
    words = words_of(response)
    return float(bool(named) and named == right and len(words) <= LONGEST_ANSWER and _DENIALS.isdisjoint(words))


def opposite(response: str, *, asked: Word, accepted: Words) -> float:
    """An accepted word alone, or a short statement: `... is cold`, or `Cold is ... hot`."""
    words, right = words_of(response), {word.casefold() for word in accepted}
    if len(words) == 1:
        return float(words[0] in right)
    if len(words) > LONGEST_ANSWER or not (_DENIALS - right).isdisjoint(words) or "is" not in words:
        return 0.0
    concluded = words[-2] == "is" and words[-1] in right
    return float(concluded or (words[0] in right and words[1] == "is" and words[-1] == asked.casefold()))


def yes_or_no(response: str, *, item: Word, items: Words) -> float:
    """`Yes` or `No` first, whichever is true of the item's being in the list, and nothing that takes it back."""
    words = words_of(response)
    if item in items:
        return float(words[:1] == ["yes"] and _DENIALS.isdisjoint(words))
    return float(words[:1] == ["no"] and "yes" not in words)


def list_of(response: str, *, kind: Kind, count: Count) -> float:
    """Exactly so many different items with commas between them, all known to be of the kind.

    A list of another length is worth less the further it is off, and never more than half.
    """
    parts = re.split(r",\s*(?:and\s)?|\sand\s|;", _answer(response).casefold())
    names = [_name_of_kind(part, kind) for part in parts]
    if len(parts) < 2 or None in names or len(set(names)) < len(names):
        return 0.0
    return 1.0 if len(names) == count else min(count, len(names)) / max(count, len(names)) / 2


def _name_of_kind(item: str, kind: str) -> str | None:
    """The name in `KINDS` that an item of at most three words ends with (`polar bears`: bear), or None."""
    words = words_of(item)
    if not 1 <= len(words) <= 3:
        return None
    last = words[-1]
    singulars = (last, last.removesuffix("s"), last.removesuffix("es"), last.removesuffix("ies") + "y")
    return next((name for name in singulars if name in KINDS[kind]), None)


def titled(response: str, *, text: Word) -> float:
    """The text with every word capitalised and nothing else; 0.3 for the text in another case that is not its own."""
    answer, wanted = _answer(response), " ".join(word.capitalize() for word in text.split())
    if answer == wanted:
        return 1.0
    return 0.3 if answer.casefold() == text.casefold() and answer != text else 0.0


def repeated(response: str, *, word: Word, times: Count) -> float:
    """The word exactly so many times and nothing else; 0.3 when it was repeated, but not so often."""
    named = words_of(_answer(response))
    if set(named) != {word.casefold()} or not 2 <= len(named) <= 2 * times:
        return 0.0
    return 1.0 if len(named) == times else 0.3


def bracketed(response: str, *, word: Word, brackets: Literal["[ ]", "( )", "{ }", "< >"]) -> float:
    """The word in these brackets and nothing else; 0.3 for other brackets."""
    opening, closing = brackets.split()
    answer = _answer(response)
    if _bare(answer[1:-1]).casefold() != word.casefold():
        return 0.0
    if answer[0] == opening and answer[-1] == closing:
        return 1.0
    return 0.3 if answer[0] + answer[-1] in ("[]", "()", "{}", "<>") else 0.0


def json_pair(response: str, *, key: Word, value: Word) -> float:
    """A JSON object with this one pair and nothing around it but a code fence; half for one with both and more."""
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


def swapped(response: str, *, words: Pair) -> float:
    """The two words the other way round and nothing else."""
    first, second = map(words_of, words)
    return float(first != second and words_of(_answer(response)) == second + first)


CHECKERS: dict[str, Callable[..., float]] = {
    function.__name__: validate_call(config=ConfigDict(strict=True))(function)
    for function in (
        avoids_word,
        bracketed,
        brief,
        contains_words,
        ends_with,
        json_pair,
        larger_number,
        letter,
        list_of,
        one_of_kind,
        opposite,
        repeated,
        starts_with,
        swapped,
        titled,
        yes_or_no,
    )
}
"""Name -> checker. Parameters are validated, since an instruction of the user's may bring a checker of its own."""


def check(checker: Mapping[str, Any], response: str) -> float:
    """Score a response, 0.0 (wrong) to 1.0 (right).

    Args:
        checker: name and parameters, as in `Instruction.checker`; for instance
            `{"name": "contains_words", "words": ["lamp", "boat"]}`.
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
            expected=f"one of {', '.join(CHECKERS)}",
            fix=did_you_mean(str(name), CHECKERS),
        )
    try:
        return CHECKERS[name](response, **parameters)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        raise DataError(
            f"checker '{name}'",
            found=f"{'.'.join(map(str, first['loc']))}: {complaint(first)}",
            fix="Correct the `checker` of the row.",
        ) from error
