"""What answers to the elementary tasks are worth: score and certainty, as the published scorer gives them."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tunalm.evaluation.lmentry.engine import judge
from tunalm.evaluation.lmentry.tasks import TASKS

LETTERS = {"answer": "garden", "distractor": "sea", "word1": "garden", "word2": "sea"}
FEWER = {"answer": "sea", "distractor": "garden", "word1": "garden", "word2": "sea"}
ANYMORE = {"answer": "anymore", "distractor": "sea", "word1": "sea", "word2": "anymore"}
NUMBERS = {"answer": 342, "distractor": 21, "n1": 21, "n2": 342}
SMALLER = {"answer": 21, "distractor": 342, "n1": 21, "n2": 342}
ALPHABET = {"answer": "apple", "distractor": "zebra", "word1": "zebra", "word2": "apple"}
RHYME = {"query": "cat", "answer": "hat", "distractor": "dog"}
SOUND = {"query": "sea", "answer": "see", "distractor": "dog"}
TOOLS = {"category": "fruit", "answer": "plum", "distractors": ["saw", "axe", "nail", "rope"], "answer_index": 1}
ALL = {"category": "items of clothing", "num_distractors": 0, "num_words": 5}
NONE = {"category": "fruit", "num_distractors": 5, "num_words": 5}
SENTENCE = {"sentence": "Mary had a lamb", "answer": "Mary"}
LAST = {"sentence": "Mary had a lamb", "answer": "lamb"}
AFTER = {"sentence": "Mary had a lamb", "query": "had", "answer": "a"}
BEFORE = {"sentence": "Mary had a lamb", "query": "had", "answer": "Mary"}
FIRST_LETTER = {"word": "garden", "answer": "g"}
LAST_LETTER = {"word": "garden", "answer": "n"}
WORD = {"word": "garden"}
LETTER = {"letter": "t"}
PROMPT = 'Think of a word that can do without "t":\n'

SURE, UNSURE, WRONG, SURELY_WRONG = (1, 1), (1, 0), (0, 0), (0, 1)

CASES: list[tuple[str, dict[str, Any], str, tuple[int, int]]] = [
    # Whole answers, repetitions and parts.
    ("more_letters", LETTERS, "garden", SURE),
    ("more_letters", LETTERS, ' The word "Garden". ', SURE),
    ("more_letters", LETTERS, "garden garden garden", SURE),
    ("more_letters", LETTERS, "Garden is longer than sea by 3 letters.", SURE),
    ("more_letters", LETTERS, "Of the words garden and sea, garden has three more letters", SURE),
    ("more_letters", LETTERS, "sea is shorter than garden", SURE),
    ("more_letters", LETTERS, "I believe that garden is longer", UNSURE),
    ("more_letters", LETTERS, "I believe in garden", WRONG),
    ("more_letters", LETTERS, "sea", SURELY_WRONG),
    ("more_letters", LETTERS, "The longer word is sea.", SURELY_WRONG),
    ("less_letters", FEWER, "sea has fewer letters than garden", SURE),
    ("less_letters", FEWER, "garden has more letters", SURE),
    ("less_letters", FEWER, "garden is shorter", SURELY_WRONG),
    # A wrong number of letters is wrong only where the answer begins the reply, without "the word".
    ("more_letters", LETTERS, "garden has 2 more letters", SURELY_WRONG),
    ("more_letters", LETTERS, "garden is longer by two letters, I think", SURELY_WRONG),
    ("more_letters", LETTERS, "the word garden has 2 more letters", WRONG),
    ("less_letters", {**FEWER, "answer": "of", "distractor": "sea"}, "of has a single fewer letter", SURELY_WRONG),
    # A sentence that is right in one part.
    ("more_letters", LETTERS, "sea is longer than garden, garden is longer", UNSURE),
    # Mirroring turns `more` inside a word, too.
    ("more_letters", ANYMORE, "sea is longer, I think", UNSURE),
    ("more_letters", ANYMORE, "anymore is longer than sea", SURE),
    ("more_letters", ANYMORE, "sea has fewer letters than anymore", UNSURE),
    ("more_letters", ANYMORE, "sea has fewer letters than anyless", SURE),
    # Numbers: digits, words, and the negative check that knows digits alone.
    ("bigger_number", NUMBERS, "342", SURE),
    ("bigger_number", NUMBERS, "The number 342.", SURE),
    ("bigger_number", NUMBERS, "three hundred and forty-two", SURE),
    ("bigger_number", NUMBERS, "the answer is three hundred and forty two", SURE),
    ("bigger_number", NUMBERS, "Between the numbers 21 and 342, 342 is larger", SURE),
    ("bigger_number", NUMBERS, "21 is smaller than 342", SURE),
    ("bigger_number", NUMBERS, "21", SURELY_WRONG),
    ("bigger_number", {**NUMBERS, "answer": 11, "distractor": 10}, "eleven", SURELY_WRONG),
    ("bigger_number", {**NUMBERS, "answer": 11, "distractor": 10}, "the answer is eleven", SURE),
    ("bigger_number", NUMBERS, "I say 342 is bigger now", UNSURE),
    ("smaller_number", SMALLER, "342 is larger", SURE),
    ("smaller_number", SMALLER, "twenty one is smaller", SURE),
    # The alphabet.
    ("first_alphabetically", ALPHABET, "Alphabetically, apple comes first.", SURE),
    ("first_alphabetically", ALPHABET, "zebra is after apple in the dictionary", SURE),
    ("first_alphabetically", ALPHABET, "apple does", SURE),
    ("first_alphabetically", ALPHABET, "zebra", SURELY_WRONG),
    ("first_alphabetically", ALPHABET, "zebra is first", WRONG),
    # Sounds: whole sentences only.
    ("rhyming_word", RHYME, "Cat rhymes with hat and not with dog.", SURE),
    ("rhyming_word", RHYME, "cat and hat both rhyme with each other, but dog doesn't rhyme with either word", SURE),
    ("rhyming_word", RHYME, "dog does not rhyme with cat", SURE),
    ("rhyming_word", RHYME, "I think cat rhymes with hat", WRONG),
    ("rhyming_word", RHYME, "dog", SURELY_WRONG),
    ("homophones", SOUND, "Sea sounds like see., but not like dog", SURE),
    ("homophones", SOUND, "see is a homophone of sea", SURE),
    ("homophones", SOUND, "see \u017founds like sea", SURE),  # a long s is an s where case is ignored
    ("homophones", SOUND, "Well, see is a homophone of sea", WRONG),
    ("homophones", SOUND, "dog", SURELY_WRONG),
    # Association and categories.
    ("most_associated_word", TOOLS, "fruit - plum", SURE),
    ("least_associated_word", TOOLS, "fruit - plum", WRONG),
    (
        "most_associated_word",
        TOOLS,
        "Of the words saw, plum, axe, nail, and rope, plum relates to fruit the most",
        SURE,
    ),
    ("most_associated_word", TOOLS, "the word most commonly related to fruit is plum", SURE),
    ("least_associated_word", TOOLS, "the word least associated with plum is fruit", SURE),
    ("most_associated_word", TOOLS, "saw", SURELY_WRONG),
    ("all_words_from_category", ALL, "Yes, they all represent clothes.", SURE),
    ("all_words_from_category", ALL, "Yes, and why not", UNSURE),
    ("all_words_from_category", ALL, "no", SURELY_WRONG),
    ("all_words_from_category", ALL, "No, they are not", WRONG),
    ("any_words_from_category", NONE, "No.", SURE),
    ("any_words_from_category", NONE, "Eyes is the answer", WRONG),
    # Words and letters of a sentence or a word.
    ("first_letter", FIRST_LETTER, "The first letter of garden is g", SURE),
    ("first_letter", FIRST_LETTER, "garden: G", SURE),
    ("first_letter", FIRST_LETTER, "garden", SURELY_WRONG),
    ("last_letter", LAST_LETTER, 'The letter that "garden" ends with is "n".', SURE),
    ("first_word", SENTENCE, "The sentence begins with Mary", SURE),
    ("first_word", SENTENCE, "In Mary had a lamb the first word is Mary", SURE),
    ("first_word", SENTENCE, "First word: Mary", WRONG),
    ("last_word", LAST, "First wordy lamb", WRONG),
    ("last_word", LAST, "first wordy'lamb", SURE),
    ("word_after", AFTER, "a comes right after had", SURE),
    ("word_after", AFTER, "had comes before a", SURE),
    ("word_after", AFTER, "had precedes a", WRONG),
    ("word_after", AFTER, "Mary had a lamb.", SURELY_WRONG),
    ("word_before", BEFORE, "the word that immediately precedes had is mary", SURE),
    ("word_before", BEFORE, "had succeeds mary", WRONG),
    # Words to be written.
    ("starts_with_letter", LETTER, "t-shirt", SURE),
    ("starts_with_letter", LETTER, "T is for tea", SURE),
    ("starts_with_letter", LETTER, "t", WRONG),
    ("starts_with_letter", {"letter": "a"}, "a", SURE),
    ("starts_with_letter", LETTER, "How about tea", SURE),
    ("ends_with_letter", LETTER, "How about cat", WRONG),
    ("ends_with_letter", LETTER, "May I suggest cat", SURE),
    ("ends_with_letter", LETTER, "dog", SURELY_WRONG),
    ("word_containing", LETTER, "water", SURE),
    ("word_containing", LETTER, "Water has t in it", UNSURE),
    ("word_containing", LETTER, "sea", WRONG),
    ("word_not_containing", LETTER, "sea", SURE),
    ("word_not_containing", LETTER, "sea sea", WRONG),
    ("word_not_containing", LETTER, "water", SURELY_WRONG),
    ("word_not_containing", LETTER, 'Think of a word that can do without "q":', SURELY_WRONG),
    ("word_not_containing", LETTER, "a word without t is sea", WRONG),
    ("word_not_containing", LETTER, "sea is a word without t", SURE),
    # Sentences to be written.
    ("sentence_containing", WORD, "My garden", SURE),
    ("sentence_containing", WORD, "garden", SURELY_WRONG),
    ("sentence_containing", WORD, "garden\nmine", SURELY_WRONG),
    ("sentence_not_containing", WORD, "It rains", SURE),
    ("sentence_not_containing", WORD, "Two gardens", UNSURE),
    ("sentence_not_containing", WORD, "Rain", WRONG),
    ("sentence_not_containing", WORD, "42", SURELY_WRONG),
    ("sentence_not_containing", WORD, "My garden", SURELY_WRONG),
    ("starts_with_word", WORD, "Garden tools rust", SURE),
    ("starts_with_word", WORD, "Garden", WRONG),
    ("starts_with_word", WORD, "My garden", WRONG),
    ("ends_with_word", WORD, "I love my garden!", SURE),
    ("ends_with_word", WORD, "I love my garden a lot", WRONG),
    # Underscores are blanks, and blanks are one.
    ("first_letter", FIRST_LETTER, "the  first_letter is g", SURE),
]


def example(metadata: dict[str, Any]) -> dict[str, Any]:
    return {"input": PROMPT, "metadata": metadata}


@pytest.mark.parametrize(
    ("task", "metadata", "said", "expected"), CASES, ids=[f"{task}-{said[:40]}" for task, _, said, _ in CASES]
)
def test_answers_are_worth_what_the_published_scorer_says(
    task: str, metadata: dict[str, Any], said: str, expected: tuple[int, int]
) -> None:
    assert judge(task, said, example(metadata)) == expected


def test_the_cases_are_of_all_tasks() -> None:
    assert {task for task, *_ in CASES} == set(TASKS)
    assert len(TASKS) == 25


BY_TASK = {task: metadata for task, metadata, *_ in CASES}
WORDLESS = {
    "word_containing",
    "any_words_from_category",
    "all_words_from_category",
    "first_alphabetically",
    "more_letters",
    "less_letters",
    "bigger_number",
    "smaller_number",
    "rhyming_word",
}


@pytest.mark.parametrize("task", TASKS)
def test_an_answer_without_a_word_is_right_in_nine_tasks_unless_scored_strictly(task: str) -> None:
    russian = "\u0441\u043b\u043e\u0432\u043e"
    assert judge(task, russian, example(BY_TASK[task]))[0] == (task in WORDLESS)
    assert judge(task, russian, example(BY_TASK[task]), strict=True)[0] == 0
    assert [judge(task, silence, example(BY_TASK[task]))[0] for silence in ("", " ... ")] == [0, 0]


def test_a_model_that_does_not_stop_is_cut_at_its_first_sentence() -> None:
    said = "garden. But sea is longer\nQ: and now?"
    assert judge("more_letters", said, example(LETTERS)) == WRONG
    assert judge("more_letters", said, example(LETTERS), truncate=True) == SURE


@pytest.mark.parametrize("odd", ["\0", "\u0131", "\u017f"])
def test_odd_characters_do_not_change_the_rest(odd: str) -> None:
    assert judge("more_letters", f"garden is longer {odd}", example(LETTERS)) == UNSURE
    assert judge("more_letters", f"{odd} garden", example(LETTERS)) == SURE
    assert judge("bigger_number", f"342 is bigger {odd}", example(NUMBERS)) == UNSURE
    assert judge("most_associated_word", f"plum relates to fruit the most {odd}", example(TOOLS)) == UNSURE


PIECES = ["the", "answer", "is", "garden", "sea", "more", "fewer", "letters", "has", "longer", "than", "by", "3", "two"]
PIECES += ["word", "first", "comes", "after", "mary", "had", "a", "lamb", "of", "in", "rhymes", "with", "fruit", "plum"]
PIECES += [".", ",", '"', ":", "-", "\n", "_", "\u0441\u043b\u043e\u0432\u043e", "\u201c", "t", "g", "342", "number"]


@given(st.sampled_from(sorted(TASKS)), st.lists(st.sampled_from(PIECES), max_size=12), st.sampled_from(["", " "]))
def test_words_in_front_of_the_answer_and_words_in_the_forms_are_the_same(
    task: str, pieces: list[str], between: str
) -> None:
    """`\\0` makes the engine compile the words of the question into the forms; at the end it is no part of any."""
    said = between.join(pieces)
    assert judge(task, f"{said}, \0", example(BY_TASK[task])) == judge(task, f"{said}, \1", example(BY_TASK[task]))
