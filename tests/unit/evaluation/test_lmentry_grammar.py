"""The language of accepted forms."""

from __future__ import annotations

import re

import pytest

from tunalm.evaluation.lmentry.grammar import anchor, in_words, mirror, numeral, to_regex

KINDS = {"answer": "word", "other": "plain"}
WORDS = {"answer": "dog", "other": "cat"}


def matches(form: str, text: str) -> bool:
    return re.fullmatch(to_regex(form, KINDS, WORDS), text) is not None


@pytest.mark.parametrize("text", ["a dog is", "one dog is", "one dog is now", "a the word 'dog'. is"])
@pytest.mark.parametrize("other", ["two dog is", "a cat is", "a dog is now now", "a (dog) is"])
def test_choices_options_and_dressed_words(text: str, other: str) -> None:
    assert matches("(a/one) {answer} is[ now]", text)
    assert not matches("(a/one) {answer} is[ now]", other)


def test_places_may_have_another_kind_or_a_word_of_their_own() -> None:
    assert matches("{plain answer}", "dog")
    assert not matches("{plain answer}", "the word dog")
    assert matches("{answer=(owl/bat)}", '"bat"')


def test_options_may_be_nested_and_other_characters_stand_for_themselves() -> None:
    assert all(matches("a[ b[ c]].*", text) for text in ("a.*", "a b.*", "a b c.*"))
    assert not matches("a[ b[ c]].*", "a c.*")


def test_a_mirrored_form_has_the_other_word_and_exchanged_places() -> None:
    lines = ["{answer} is more than {other}", "{answer} wins"]
    assert mirror(lines, ("{answer}", "{other}"), "more", "less") == ["{other} is less than {answer}"]


@pytest.mark.parametrize(
    ("form", "text"),
    [
        ("{a} is longer[ than {b}]", " is longer"),
        ("the (big/large) one is {a}", " one is "),
        ("a[ b[ long option]] c", " c"),
        ("{a}", ""),
    ],
)
def test_the_anchor_is_the_longest_text_that_must_be_there(form: str, text: str) -> None:
    assert anchor(form) == text


@pytest.mark.parametrize(
    ("number", "words"),
    [
        (0, "zero"),
        (13, "thirteen"),
        (20, "twenty"),
        (21, "twenty-one"),
        (100, "one hundred"),
        (101, "one hundred and one"),
        (342, "three hundred and forty-two"),
        (999, "nine hundred and ninety-nine"),
    ],
)
def test_numbers_in_words(number: int, words: str) -> None:
    assert in_words(number) == words


def test_a_numeral_is_digits_or_words_with_or_without_hyphens() -> None:
    pattern = numeral("21", "twenty-one", "twenty one")
    assert all(re.fullmatch(pattern, text) for text in ("21", "twenty-one", "twenty one"))
    assert not re.fullmatch(pattern, "2")
