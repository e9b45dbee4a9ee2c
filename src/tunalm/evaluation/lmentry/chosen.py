"""Tasks whose questions have one right answer.

What looks like a slip (a form that only one of two twins has) is the published scorer's; scores would not be comparable
without it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from tunalm.evaluation.lmentry.grammar import forms, in_words, numeral
from tunalm.evaluation.lmentry.task import RUN, WORD, Example, Task, words_of

_PUNCTUATION = re.compile(r"[^\w ]+")


def _one_other_word(prediction: str, example: Example) -> bool:
    words = WORD.findall(prediction)
    return len(words) == 1 and words[0] != example["metadata"]["answer"]


# --- two things compared ---------------------------------------------------------------------------------------------


def _difference(example: Example) -> dict[str, str]:
    metadata = example["metadata"]
    difference = abs(len(metadata["answer"]) - len(metadata["distractor"]))
    return {"difference": numeral(str(difference), in_words(difference), in_words(difference))}


def _letters(more: str, less: str, longer: str, shorter: str) -> Task:
    names = {"more": more, "longer": longer}
    sentences = """
        ONE has (MORE letters/{difference} MORE letter[s])[ than OTHER]
        the word that has MORE letters is ONE
        ONE is the word that has MORE letters
        the (LONGER word/word that is LONGER) is ONE
        ONE is the word that is LONGER
        """
    right = {"one": "{answer}", "other": "{distractor}", **names}
    wrong = {"one": "{distractor}", "other": "{answer}", **names}
    return Task(
        kinds={"answer": "word", "distractor": "word", "difference": "plain", "word1": "word", "word2": "word"},
        words=words_of("answer", "distractor", "word1", "word2"),
        fixed=_difference,
        denials=forms("OTHER\nOTHER is LONGER[ than ONE][ by {difference} letter[s]]", **right)
        + forms(sentences, **wrong),
        misstated=forms(
            """
            {quoted answer} has <count> MORE letter
            {quoted answer} is LONGER[ than {quoted distractor}] by <count> letter
            """,
            **names,
        ),
        exact=["{answer}"],
        accepted=forms(f"{sentences}\nONE is LONGER[ than OTHER[ by {{difference}} letter[s]]]", **right),
        mirrors=[(more, less), (longer, shorter)],
        prefixes=["", "(of/from) the words {word1} and {word2}, "],
    )


def _numbers(bigger: str, smaller: str) -> Task:
    def words(example: Example) -> dict[str, str]:
        metadata = example["metadata"]
        found = {name: str(metadata[name]) for name in ("n1", "n2")}
        for name in ("answer", "distractor"):
            found[name] = str(metadata[name])
            found[f"{name}_words"] = in_words(metadata[name])
            found[f"{name}_spaced"] = in_words(metadata[name]).replace("-", " ")
        return found

    def one_other_token(prediction: str, example: Example) -> bool:
        tokens = set(RUN.findall(prediction))
        return len(tokens) == 1 and tokens != {str(example["metadata"]["answer"])}

    return Task(
        kinds={"answer": "number", "distractor": "number", "n1": "plain", "n2": "plain"},
        words=words,
        refused=one_other_token,
        exact=["{answer}"],
        accepted=forms(
            """
            {answer} is BIGGER[ than {distractor}]
            {answer} is the BIGGER number
            the BIGGER number is {answer}
            """,
            bigger=bigger,
        ),
        mirrors=[(bigger, smaller)],
        prefixes=["", "(of/from/between) the numbers {n1} and {n2}, "],
    )


_FIRST_ALPHABETICALLY = Task(
    kinds=dict.fromkeys(("answer", "distractor", "word1", "word2"), "word"),
    words=words_of("answer", "distractor", "word1", "word2"),
    refused=_one_other_word,
    exact=["{answer}", "{answer} does"],
    accepted=forms(
        """
        {answer} (comes/is) (first/before {distractor})
        {distractor} (comes/is) (second/after[ {answer}])
        """
    ),
    prefixes=["", "(alphabetically/in [an ]alphabetical order/of the words {word1} and {word2}), "],
    suffixes=["", " (alphabetically/in [an ]alphabetical order/in the dictionary)"],
)

# --- sounds ----------------------------------------------------------------------------------------------------------


def _both_ways(block: str, **macros: str) -> list[str]:
    """Forms with the query and the answer in either order."""
    return [
        *forms(block, one="{query}", other="{answer}", **macros),
        *forms(block, one="{answer}", other="{query}", **macros),
    ]


_RHYMING_WORD = Task(
    kinds=dict.fromkeys(("query", "answer", "distractor"), "word"),
    words=words_of("query", "answer", "distractor"),
    refused=_one_other_word,
    exact=[
        "{answer}",
        *_both_ways(
            """
            ONE rhymes with OTHER[ and not with {distractor}]
            ONE is (a/the) rhyme of OTHER[ and not of {distractor}]
            ONE and OTHER (rhyme/are rhymes/are words that rhyme)
            (a/the) rhyme of ONE is OTHER[ and not {distractor}]
            (a/the) word (rhyming/that rhymes) with ONE is OTHER
            ONE and OTHER[ both] rhyme[ with each other], (while/but/and) {distractor} DOESNT rhyme with either[ word]
            """,
            doesnt="(does not/doesn't)",
        ),
        *forms(
            """
            {distractor} DOESNT rhyme with {query}[<spaces>{answer} (rhymes/does rhyme) with {query}]
            {query} DOESNT rhyme with {distractor}[<spaces>{query} (rhymes/does rhyme) with {answer}]
            {answer} rhymes with {query}<spaces>{distractor} DOESNT rhyme with {query}
            """,
            doesnt="(does not/doesn't)",
        ),
    ],
    shared="",
)

_HOMOPHONES = Task(
    kinds=dict.fromkeys(("query", "answer", "distractor"), "word"),
    words=words_of("query", "answer", "distractor"),
    needs="<border>{plain answer}<border>",
    exact=[
        "{answer}",
        *_both_ways(
            """
            ONE sounds LIKE OTHER[[.,] (but/and) (not LIKE {distractor}/{distractor} does not)]
            ONE sounds more LIKE OTHER[ than[ like] {distractor}[ does]]
            ONE sounds most LIKE OTHER
            ONE and OTHER (sound alike/are homophones[ of each other])
            ONE is a homophone of OTHER
            the homophone of ONE is OTHER
            """,
            like="(like/similar to)",
        ),
    ],
    shared="",
)

# --- categories ------------------------------------------------------------------------------------------------------

_CATEGORIES = {
    "items of clothing": "(?:items of clothing|clothes|clothing)",
    "furniture": "(?:furniture|pieces of furniture)",
    "fruit": "(?:fruit|fruits)",
}


def _yes_or_no(is_yes: Callable[[Mapping[str, Any]], bool], *more: str) -> Task:
    def fixed(example: Example) -> dict[str, str]:
        metadata = example["metadata"]
        answer, opposite = ("yes", "no") if is_yes(metadata) else ("no", "yes")
        category = metadata["category"]
        return {"answer": answer, "opposite": opposite, "category": _CATEGORIES.get(category, re.escape(category))}

    return Task(
        kinds=dict.fromkeys(("answer", "opposite", "category"), "plain"),
        fixed=fixed,
        denials=["{opposite}"],
        exact=["{answer}"],
        accepted=["<start>{answer}<border>", *more],
    )


_ALL_WORDS = _yes_or_no(
    lambda metadata: metadata["num_distractors"] == 0,
    "{answer}, the list contains only {category}",
    "{answer}, (all (of (these/those)/of the) words/they all)[ (listed/in the list)]"
    " (represent/are types of/refer to types of) {category}",
)
_ANY_WORDS = _yes_or_no(lambda metadata: metadata["num_words"] > metadata["num_distractors"])


def _associated(extreme: str, *exact: str) -> Task:
    def words(example: Example) -> dict[str, str]:
        metadata = example["metadata"]
        place, others = metadata["answer_index"], metadata["distractors"]
        listed = [*others[:place], metadata["answer"], *others[place:]]
        return {
            **words_of("answer", "category")(example),
            **{f"listed{number}": word for number, word in enumerate(listed)},
        }

    return Task(
        kinds={"answer": "word", "category": "word", "listed": "list"},
        words=words,
        needs="<border>{plain answer}<border>",
        exact=["{answer}", *exact],
        accepted=forms(
            """
            the word RELATED {category} [LISTED ]is {answer}
            {category} (is/are) RELATED {answer}
            {answer} (is/are) the [word ]RELATED {category}
            the word that relates to {category} the EXTREME is {answer}
            {answer} relates to {category} the EXTREME
            """,
            related=f"{extreme}[ commonly] (associated/related) (to/with)",
            extreme=extreme,
            listed=_LISTED,
        ),
        mirrors=[("", "")],
        mirrored=("answer", "category"),
        prefixes=["", f"{_LISTED}<gap>"],
        suffixes=["", f"<gap>{_LISTED}"],
    )


_LISTED = "(of/from) ({listed}/the (words/options) GIVEN/the GIVEN (words/options))".replace(
    "GIVEN", "(above/given/listed/following)"
)

# --- letters and words of a word or a sentence -----------------------------------------------------------------------


def _letter_of_word(sentences: str) -> Task:
    return Task(
        kinds={"answer": "letter", "word": "word"},
        words=words_of("answer", "word"),
        needs="<border>{plain answer}<border>",
        exact=["{answer}"],
        accepted=forms(sentences),
    )


_FIRST_LETTER = _letter_of_word(
    """
    the first letter[ (of/in) {word}] is {answer}
    {answer} is the (first/starting) letter (of/in) {word}
    {word} (starts/begins) with {answer}
    the letter that {word} (starts/begins) with is {answer}
    ({word}/first letter): {answer}
    """
)
_LAST_LETTER = _letter_of_word(
    """
    the last letter[ (of/in) {word}] is {answer}
    {answer} is the (last/final) letter (of/in) {word}
    {word} ends with {answer}
    the letter that {word} ends with is {answer}
    ({word}/last letter): {answer}
    """
)


def _in_sentence(accepted: Sequence[str], *names: str, **more: Any) -> Task:
    return Task(
        kinds={**dict.fromkeys(names, "word"), "sentence": "sentence"},
        words=words_of(*names, "sentence"),
        needs="<border>{plain answer}<border>",
        exact=["{answer}"],
        accepted=accepted,
        prefixes=["", "in {sentence} "],
        suffixes=["", " (of/in) {sentence}"],
        **more,
    )


def _word_of_sentence(place: str, begins: str) -> Task:
    sentences = """
        the PLACE word[ (of/in) {sentence}] is {answer}
        {answer} is the PLACE word
        {sentence} BEGINS with {answer}
        first word<word characters>{answer}
        """
    return _in_sentence(forms(sentences, place=place, begins=begins), "answer")


def _repeats_sentence(prediction: str, example: Example) -> bool:
    return _PUNCTUATION.sub("", prediction) == str(example["metadata"]["sentence"]).lower()


_AFTER, _BEFORE = "[immediately /right ]after", "[immediately /right ]before"


def _neighbour(where: str, opposite: str, *sentences: str) -> Task:
    return _in_sentence(
        forms("\n".join(sentences), where=where),
        "answer",
        "query",
        refused=_repeats_sentence,
        mirrors=[(where, opposite)],
        mirrored=("answer", "query"),
    )


_WORD_AFTER = _neighbour(
    _AFTER,
    _BEFORE,
    "{answer} [is the word that ]comes WHERE {query}",
    "{answer} [is the word that ][immediately ]succeeds {query}",
    "{answer} [immediately ]follows {query}",
    "the word that comes WHERE {query}[ in {sentence}] is {answer}",
    "the word that [immediately ](succeeds/follows) {query} is {answer}",
    "{query} is (succeeded/followed) by {answer}",
)
_WORD_BEFORE = _neighbour(
    _BEFORE,
    _AFTER,
    "{answer} [is the word that ]comes WHERE {query}",
    "{answer} [is the word that ][immediately ]precedes {query}",
    "{answer} is (followed/succeeded) by {query}",
    "the word that comes WHERE {query}[ in {sentence}] is {answer}",
    "the word that [immediately ]precedes {query} is {answer}",
    "the word that [immediately ]follows {answer} is {query}",
    "{query} [immediately ]follows {answer}",
)


_MORE, _LESS = "more", "(less/fewer)"
_BIGGER, _SMALLER = "(bigger/larger)", "smaller"

TASKS: Mapping[str, Task] = {
    "most_associated_word": _associated("most", "{category} - {answer}"),
    "least_associated_word": _associated("least"),
    "any_words_from_category": _ANY_WORDS,
    "all_words_from_category": _ALL_WORDS,
    "first_alphabetically": _FIRST_ALPHABETICALLY,
    "more_letters": _letters(_MORE, _LESS, "longer", "shorter"),
    "less_letters": _letters(_LESS, _MORE, "shorter", "longer"),
    "bigger_number": _numbers(_BIGGER, _SMALLER),
    "smaller_number": _numbers(_SMALLER, _BIGGER),
    "rhyming_word": _RHYMING_WORD,
    "homophones": _HOMOPHONES,
    "word_after": _WORD_AFTER,
    "word_before": _WORD_BEFORE,
    "first_word": _word_of_sentence("first", "begins"),
    "last_word": _word_of_sentence("last", "ends"),
    "first_letter": _FIRST_LETTER,
    "last_letter": _LAST_LETTER,
}
"""By name."""
