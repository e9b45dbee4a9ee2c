"""Tasks that have many right answers: a word or a sentence has to be written."""

from __future__ import annotations

import re
import string
from collections.abc import Callable, Mapping
from typing import Any

from tunalm.evaluation.lmentry.grammar import forms
from tunalm.evaluation.lmentry.task import WORD, Example, Task, Verdict, normalise, words_of


def _letter_of(example: Example) -> str:
    return str(example["metadata"]["letter"])


def _written(answer: Callable[[str], str], accepted: list[str], **more: Any) -> Task:
    """A word has to be written that `answer` describes, given a letter."""

    def fixed(example: Example) -> dict[str, str]:
        letter = _letter_of(example)
        return {"answer": answer(letter), "letter": re.escape(letter)}

    return Task(
        kinds={"answer": "word", "letter": "letter"}, fixed=fixed, exact=["{answer}"], accepted=accepted, **more
    )


def _rest(letter: str) -> str:
    """What has to stand beside the letter: `a` and `i` are words alone."""
    return r"\w*" if letter in {"a", "i"} else r"\w+"


_SUGGESTIONS = """
    (a/one) possible[ such] (word/answer) is {answer}
    {answer} is (a/one) possible[ such] (word/answer)
    may i suggest {answer}
    """
_STARTS_WITH_LETTER = _written(
    lambda letter: f"{letter}-?{_rest(letter)}",
    forms(
        f"""{_SUGGESTIONS}
        {{answer}} [is (a/one) word that ](starts/begins) with {{letter}}
        {{answer}} is (a/one) word (starting/beginning) with {{letter}}
        a word (starting/beginning) with {{letter}} is {{answer}}
        {{answer}} is (a/one) word whose first letter is {{letter}}
        {{letter}} is for {{answer}}
        how about {{answer}}
        """
    ),
    needs="<border>{plain letter}<letters><border>",
)
_ENDS_WITH_LETTER = _written(
    lambda letter: f"{_rest(letter)}{letter}",
    forms(
        f"""{_SUGGESTIONS}
        {{answer}} [is (a/one) word that ]ends with {{letter}}
        {{answer}} is (a/one) word ending with {{letter}}
        a word ending with {{letter}} is {{answer}}
        {{answer}} is (a/one) word whose last letter is {{letter}}how about {{answer}}
        """
    ),
    needs="<border><letters>{plain letter}<border>",
)
_WORD_CONTAINING = _written(
    lambda letter: rf"\w*{letter}\w*" if letter in {"a", "i"} else rf"(?:\w+{letter}\w*|\w*{letter}\w+|{letter}-\w+)",
    ["{answer} [is a word (that/which) ](contains/uses/has) {letter}"],
)


def _word_without(letter: str) -> str:
    others = string.ascii_lowercase.replace(letter, "")
    alone = "".join(rf"|{word}" for word in "ai" if word != letter)
    return rf"(?:\b[{others}]{{2,}}\b{alone})"


def _repeats_prompt_or_has_letter(prediction: str, example: Example) -> bool:
    letter = _letter_of(example)
    prompt = re.escape(normalise(example["input"])).replace(f'"{letter}"', r'"\w"')
    return bool(re.match(f"{prompt}$", prediction)) or (not re.search(r"\W", prediction) and letter in prediction)


_WORD_NOT_CONTAINING = _written(
    _word_without,
    forms(
        """
        {answer} [is a word (that/which) ]DOESNT (contain/use/have) {letter}
        a word (that/which) DOESNT (contain/use/have) {letter} is {answer}
        a word not (containing/using/having) {letter} is {answer}
        {answer} is a word without {letter}
        """,
        doesnt="(does not/doesn't)",
    ),
    refused=_repeats_prompt_or_has_letter,
    repeats=False,
    shared="",
)


def _with_word(sentence: str, prefixes: list[str], suffixes: list[str]) -> Task:
    return Task(
        kinds={"word": "word"},
        words=words_of("word"),
        needs="<border>{plain word}<border>",
        exact=[sentence],
        accepted=[sentence],
        shared=sentence,
        prefixes=prefixes,
        suffixes=suffixes,
    )


_STARTS_WITH_WORD = _with_word(
    "<gap>{word}<break><some word><any>",
    ["(the sentence/(a/one) sentence (that starts with/starting with/whose first word is) {word})[ is]"],
    ["[is a sentence that ]starts with {word}", "is a sentence (starting with/whose first word is) {word}"],
)
_ENDS_WITH_WORD = _with_word(
    "<any><some word><break>{word}<gap>",
    [
        "(the sentence/(a/one) sentence (ending with/whose (last/final) word is) {word})[ is]",
        "(a/one) sentence that ends with {word} [ is]",
    ],
    ["<end>"],
)


def _sentence_containing(prediction: str, example: Example) -> Verdict:
    word = re.escape(example["metadata"]["word"].lower())
    return int(bool(re.search(rf"\b{word}\b.|.\b{word}\b", prediction))), 1


def _sentence_not_containing(prediction: str, example: Example) -> Verdict:
    word = example["metadata"]["word"].lower()
    if re.search(rf"\b{re.escape(word)}\b", prediction):
        return 0, 1
    words = len(WORD.findall(prediction))
    if words < 2:
        return 0, int(words == 0)
    return 1, int(word not in prediction)


TASKS: Mapping[str, Task] = {
    "sentence_containing": Task(own=_sentence_containing),
    "sentence_not_containing": Task(own=_sentence_not_containing),
    "word_containing": _WORD_CONTAINING,
    "word_not_containing": _WORD_NOT_CONTAINING,
    "starts_with_word": _STARTS_WITH_WORD,
    "ends_with_word": _ENDS_WITH_WORD,
    "starts_with_letter": _STARTS_WITH_LETTER,
    "ends_with_letter": _ENDS_WITH_LETTER,
}
"""By name."""
