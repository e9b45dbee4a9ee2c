"""The 25 tasks: `tasks.yaml` says which answers are right, in forms; what no form can say stands here.

A task of the file is like another one (`like`) but for what it says itself; words in upper case are replaced by the
keys of that name, of the task or of the whole file.
"""

from __future__ import annotations

import re
import string
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.resources import files
from typing import Any

import yaml

from tunalm.evaluation.lmentry.grammar import in_words, numeral

Example = Mapping[str, Any]
"""As the data has it: `input` and `metadata`."""
Words = Callable[[Example], dict[str, str]]

WORD = re.compile(r"\b[a-z]+\b")
RUN = re.compile(r"\b[a-z\d]+\b")
"""A word or number in an answer."""
SHARED = ["ANSWER is the answer", "the [correct ]answer is ANSWER", "answer: ANSWER"]
"""Forms that nearly all tasks accept."""
_PUNCTUATION = re.compile(r"[^\w ]+")
_CATEGORIES = {
    "items of clothing": "(?:items of clothing|clothes|clothing)",
    "furniture": "(?:furniture|pieces of furniture)",
    "fruit": "(?:fruit|fruits)",
}


@dataclass(frozen=True)
class LMentryTask:
    """How answers to one kind of question are judged; the steps are taken in the order of the fields."""

    places: Mapping[str, str] = field(default_factory=dict)
    """Kind of each place that forms may have."""
    words: Words = lambda _: {}
    """The words of a question, by place. They differ from question to question, so forms are compiled without them."""
    fixed: Words = lambda _: {}
    """Expressions by place of which there are few in all; forms are compiled for each of them."""
    own: Callable[[str, Example], tuple[int, int]] | None = None
    """Judges all by itself, score and certainty; nothing below is used then."""
    needs: str = ""
    """Form that stands somewhere in every right answer; without it an answer is certainly wrong."""
    refused: Callable[[str, Example], bool] | None = None
    """Says which other answers are certainly wrong."""
    denials: Sequence[str] = ()
    """Forms that are certainly wrong as a whole answer."""
    misstated: Sequence[str] = ()
    """Forms that are certainly wrong in front of an answer, unless `<count>` is the `difference`."""
    exact: Sequence[str] = ()
    """Forms that are certainly right as a whole answer; of the first, repetitions are right too."""
    repeats: bool = True
    """Whether they are."""
    accepted: Sequence[str] = ()
    """Forms that are certainly right as a whole answer, and right as a part of one."""
    mirrors: Sequence[Sequence[str]] = ()
    """`accepted` grows by its own forms with another word, (old, new), and the two places of `mirrored` exchanged."""
    mirrored: Sequence[str] = ("answer", "distractor")
    shared: str = "{answer}"
    """What the forms that all tasks share call the answer; empty for none of them."""
    prefixes: Sequence[str] = ("",)
    """Forms that may stand in front of an accepted one."""
    suffixes: Sequence[str] = ("",)
    """Forms that may stand after it."""


def normalise(text: str) -> str:
    """Strip, put into lower case, and make one of several blanks."""
    return re.sub(" +", " ", text.strip().lower())


# --- words of a question, and expressions of which there are few ------------------------------------------------------


def _number_words(example: Example) -> dict[str, str]:
    metadata = example["metadata"]
    found = {name: str(metadata[name]) for name in ("n1", "n2")}
    for name in ("answer", "distractor"):
        found[name] = str(metadata[name])
        found[f"{name}_words"] = in_words(metadata[name])
        found[f"{name}_spaced"] = in_words(metadata[name]).replace("-", " ")
    return found


def _listed_words(example: Example) -> dict[str, str]:
    metadata = example["metadata"]
    place, others = metadata["answer_index"], metadata["distractors"]
    listed = [*others[:place], metadata["answer"], *others[place:]]
    words = {name: str(metadata[name]).lower() for name in ("answer", "category")}
    return words | {f"listed{number}": word for number, word in enumerate(listed)}


def _difference(example: Example) -> dict[str, str]:
    metadata = example["metadata"]
    difference = abs(len(metadata["answer"]) - len(metadata["distractor"]))
    return {"difference": numeral(str(difference), in_words(difference), in_words(difference))}


def _yes_or_no(is_yes: Callable[[Example], bool]) -> Words:
    def fixed(example: Example) -> dict[str, str]:
        answer, opposite = ("yes", "no") if is_yes(example["metadata"]) else ("no", "yes")
        category = example["metadata"]["category"]
        return {"answer": answer, "opposite": opposite, "category": _CATEGORIES.get(category, re.escape(category))}

    return fixed


def _word_for(describe: Callable[[str], str]) -> Words:
    """A word has to be written, which an expression describes, given a letter."""

    def fixed(example: Example) -> dict[str, str]:
        letter = str(example["metadata"]["letter"])
        return {"answer": describe(letter), "letter": re.escape(letter)}

    return fixed


def _rest(letter: str) -> str:
    """What has to stand beside the letter: `a` and `i` are words alone."""
    return r"\w*" if letter in {"a", "i"} else r"\w+"


def _containing(letter: str) -> str:
    return rf"\w*{letter}\w*" if letter in {"a", "i"} else rf"(?:\w+{letter}\w*|\w*{letter}\w+|{letter}-\w+)"


def _not_containing(letter: str) -> str:
    others = string.ascii_lowercase.replace(letter, "")
    alone = "".join(rf"|{word}" for word in "ai" if word != letter)
    return rf"(?:\b[{others}]{{2,}}\b{alone})"


# --- answers that no form describes -----------------------------------------------------------------------------------


def _one_other_word(prediction: str, example: Example) -> bool:
    words = WORD.findall(prediction)
    return len(words) == 1 and words[0] != example["metadata"]["answer"]


def _one_other_token(prediction: str, example: Example) -> bool:
    tokens = set(RUN.findall(prediction))
    return len(tokens) == 1 and tokens != {str(example["metadata"]["answer"])}


def _repeats_sentence(prediction: str, example: Example) -> bool:
    return _PUNCTUATION.sub("", prediction) == str(example["metadata"]["sentence"]).lower()


def _repeats_prompt_or_has_letter(prediction: str, example: Example) -> bool:
    letter = str(example["metadata"]["letter"])
    prompt = re.escape(normalise(example["input"])).replace(f'"{letter}"', r'"\w"')
    return bool(re.match(f"{prompt}$", prediction)) or (not re.search(r"\W", prediction) and letter in prediction)


def _sentence_containing(prediction: str, example: Example) -> tuple[int, int]:
    word = re.escape(example["metadata"]["word"].lower())
    return int(bool(re.search(rf"\b{word}\b.|.\b{word}\b", prediction))), 1


def _sentence_not_containing(prediction: str, example: Example) -> tuple[int, int]:
    word = example["metadata"]["word"].lower()
    if re.search(rf"\b{re.escape(word)}\b", prediction):
        return 0, 1
    words = len(WORD.findall(prediction))
    if words < 2:
        return 0, int(words == 0)
    return 1, int(word not in prediction)


FUNCTIONS: Mapping[str, Mapping[str, Any]] = {
    "words": {"numbers": _number_words, "listed": _listed_words},
    "fixed": {
        "difference": _difference,
        "all_words": _yes_or_no(lambda metadata: metadata["num_distractors"] == 0),
        "any_words": _yes_or_no(lambda metadata: metadata["num_words"] > metadata["num_distractors"]),
        "containing": _word_for(_containing),
        "not_containing": _word_for(_not_containing),
        "starting_with": _word_for(lambda letter: f"{letter}-?{_rest(letter)}"),
        "ending_with": _word_for(lambda letter: f"{_rest(letter)}{letter}"),
    },
    "refused": {
        "one_other_word": _one_other_word,
        "one_other_token": _one_other_token,
        "repeats_sentence": _repeats_sentence,
        "repeats_prompt_or_has_letter": _repeats_prompt_or_has_letter,
    },
    "own": {"sentence_containing": _sentence_containing, "sentence_not_containing": _sentence_not_containing},
}
"""By the key of a task, and the name that stands there."""
_BLOCKS = ("denials", "misstated", "exact", "accepted", "both_ways")
"""Keys whose text has one form a line."""


def _load() -> dict[str, LMentryTask]:
    tree = yaml.safe_load(files("tunalm.evaluation.lmentry").joinpath("tasks.yaml").read_text(encoding="utf-8"))
    return {name: _task(_inherited(row, tree), tree["macros"]) for name, row in tree["tasks"].items()}


def _inherited(row: dict[str, Any], tree: dict[str, Any]) -> dict[str, Any]:
    return {**_inherited(tree[row["like"]], tree), **row} if "like" in row else row


def _task(row: dict[str, Any], macros: dict[str, str]) -> LMentryTask:
    macros = {key: value for key, value in row.items() if key.isupper()} | macros
    fields = {key: _spelled(value, macros) for key, value in row.items() if not key.isupper() and key != "like"}
    fields |= {key: fields[key].splitlines() for key in _BLOCKS if key in fields}
    for line in fields.pop("both_ways", []):
        for one, other in (("{query}", "{answer}"), ("{answer}", "{query}")):
            fields["exact"].append(_spelled(line, {"ONE": one, "OTHER": other}))
    fields |= {key: table[fields[key]] for key, table in FUNCTIONS.items() if key in fields}
    return LMentryTask(**{"words": _words_of(fields), **fields})


def _words_of(fields: Mapping[str, Any]) -> Words:
    """Read the words of all places that have no fixed expression from the metadata, in lower case."""
    partly = fields.get("fixed") is _difference  # every other function gives all places
    names = [name for name in fields.get("places", ()) if "fixed" not in fields or (partly and name != "difference")]
    return lambda example: {name: str(example["metadata"][name]).lower() for name in names}


def _spelled(value: Any, macros: Mapping[str, str]) -> Any:
    """Every text of a value with its macros replaced."""
    if isinstance(value, list):
        return [_spelled(each, macros) for each in value]
    if isinstance(value, str):
        for name, text in macros.items():
            value = re.sub(rf"\b{name}\b", lambda _: text, value)  # noqa: B023
    return value


TASKS: Mapping[str, LMentryTask] = _load()
"""By name."""
