"""The families of checkable tasks, and the rows that they make.

To add one, write a function that draws a `Task` (parameters of the checker and a right, natural answer) from the
material of a split, and give it a row in `FAMILIES` with a few phrasings. A phrasing is a format string over the
parameters, where a list reads as `one, two, three`. If no checker fits, add one to `checkers.py`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from random import Random
from typing import Any, Literal

from tunalm.data.checkable.words import HELDOUT, KINDS, TRAIN, Material
from tunalm.records import Instruction

VERSION = "1"
"""Edition of the tasks; scores can be compared within one edition only."""
Split = Literal["train", "heldout"]
_MATERIAL: dict[Split, Material] = {"train": TRAIN, "heldout": HELDOUT}
ROWS_PER_FAMILY: dict[Split, int] = {"train": 40, "heldout": 16}
_DRAWS_PER_ROW = 50
"""Draws after which a family is taken to have no further different instruction."""


@dataclass(frozen=True)
class Task:
    """What one instruction asks for."""

    parameters: dict[str, Any]
    reference: str


@dataclass(frozen=True)
class Family:
    """Tasks of one kind, decided by one checker."""

    draw: Callable[[Random, Material], Task]
    checker: str
    phrasings: tuple[str, ...]


def contains_words(rng: Random, material: Material) -> Task:
    """Two things in one sentence."""
    first, second = rng.sample(material.objects, 2)
    sentence = rng.choice(
        (
            "The {0} stood next to the {1}.",
            "We found a picture of the {0} behind the {1}.",
            "She looked at the {0} and then at the {1}.",
            "There is a {0} in front of the {1}.",
            "My brother drew the {0} and the {1} with a pen.",
            "Nobody saw the {0} near the {1} that day.",
        )
    )
    return Task({"words": [first, second]}, _article(sentence.format(first, second)))


def avoids_word(rng: Random, material: Material) -> Task:
    """A topic without the word that comes to mind first."""
    topic, taboo, sentence = rng.choice(material.taboos)
    return Task({"topic": topic, "taboo": taboo}, sentence)


def starts_with(rng: Random, material: Material) -> Task:
    """A sentence with a given beginning."""
    opening, topic = rng.choice(material.openings), rng.choice(material.objects)
    rest = rng.choice(
        (
            "the {0} was gone.",
            "we found the {0} again.",
            "my sister asked about the {0}.",
            "somebody took a photo of the {0}.",
            "the {0} looked different.",
        )
    )
    return Task({"opening": opening, "topic": topic}, f"{opening}, {rest.format(topic)}")


def ends_with(rng: Random, material: Material) -> Task:
    """A sentence with a given end."""
    ending, topic = rng.sample(material.objects, 2)
    sentence = rng.choice(
        (
            "The {0} is right behind the {1}.",
            "You can see the {0} from the {1}.",
            "He walked past the {0} to reach the {1}.",
            "I like the {0} more than the {1}.",
            "They put a photo of the {0} on the {1}.",
        )
    )
    return Task({"ending": ending, "topic": topic}, sentence.format(topic, ending))


def brief(rng: Random, material: Material) -> Task:
    """A sentence with few words."""
    topic, most = rng.choice(material.objects), rng.randrange(5, 8)
    sentence = rng.choice(
        ("The {0} is {1}.", "I like the {1} {0}.", "This {0} looks {1}.", "We saw the {1} {0}.", "Is the {0} {1}?")
    )
    return Task({"topic": topic, "most": most}, sentence.format(topic, rng.choice(material.adjectives)))


def first_letter(rng: Random, material: Material) -> Task:
    """The letter at the beginning of a word."""
    return _letter(rng, material, "first")


def last_letter(rng: Random, material: Material) -> Task:
    """The letter at the end of a word."""
    return _letter(rng, material, "last")


def _letter(rng: Random, material: Material, place: Literal["first", "last"]) -> Task:
    word = rng.choice(material.objects + material.adjectives)
    letter = word[0 if place == "first" else -1]
    reference = rng.choice(('The {0} letter is "{1}".', 'It is "{1}".', "{1}"))
    return Task({"word": word, "place": place}, reference.format(place, letter))


def sorted_words(rng: Random, material: Material) -> Task:
    """Three words to be put in order."""
    words = _sample(rng, material.objects, 3, lambda drawn: drawn != sorted(drawn))
    return Task({"words": words}, ", ".join(sorted(words)))


def larger_number(rng: Random, material: Material) -> Task:
    """Two numbers to be compared."""
    numbers = rng.sample(material.numbers, 2)
    larger, smaller = max(numbers), min(numbers)
    reference = rng.choice(("{0}", "The larger number is {0}.", "{0} is larger than {1}."))
    return Task({"numbers": numbers}, reference.format(larger, smaller))


def count_of(rng: Random, material: Material) -> Task:
    """Words to be counted."""
    count = rng.randrange(2, 7)
    reference = rng.choice(("{0}", "There are {0} words.", "The list has {0} words."))
    return Task({"items": rng.sample(material.objects, count)}, reference.format(count))


def list_of(rng: Random, material: Material) -> Task:
    """So many things of a kind."""
    kind, count = rng.choice(material.kinds), rng.randrange(2, 6)
    return Task({"kind": kind, "count": count}, ", ".join(rng.sample(sorted(KINDS[kind]), count)))


def capitals(rng: Random, material: Material) -> Task:
    """Two words to be written large."""
    text = f"{rng.choice(material.adjectives)} {rng.choice(material.objects)}"
    return Task({"text": text}, text.upper())


def repeated(rng: Random, material: Material) -> Task:
    """A word to be written more than once."""
    word, times = rng.choice(material.objects), rng.randrange(2, 6)
    return Task({"word": word, "times": times}, rng.choice((" ", ", ")).join([word] * times))


def bracketed(rng: Random, material: Material) -> Task:
    """A word to be put in brackets."""
    word = rng.choice(material.objects)
    brackets, pattern = rng.choice((("square", "[{0}]"), ("round", "({0})"), ("curly", "{{{0}}}")))
    return Task({"word": word, "brackets": brackets}, pattern.format(word))


def json_pair(rng: Random, material: Material) -> Task:
    """A small JSON object."""
    key, value = rng.choice(material.objects), rng.choice(material.adjectives)
    return Task({"key": key, "value": value}, f'{{"{key}": "{value}"}}')


def yes_or_no(rng: Random, material: Material) -> Task:
    """Whether a word is in a list; every second time it is not."""
    item, *items = rng.sample(material.objects, 4)
    there = rng.random() < 0.5
    if there:
        items[rng.randrange(3)] = item
    reference = rng.choice(("Yes", "Yes.", "Yes, it is.") if there else ("No", "No.", "No, it is not."))
    return Task({"item": item, "items": items}, reference)


def swapped(rng: Random, material: Material) -> Task:
    """Two words to be swapped."""
    words = [rng.choice(material.adjectives), rng.choice(material.objects)]
    return Task({"words": words}, " ".join(reversed(words)))


def one_of_kind(rng: Random, material: Material) -> Task:
    """The one thing of a kind among others."""
    kind = rng.choice(material.kinds)
    right = rng.choice(sorted(KINDS[kind]))
    options = [right, *rng.sample(material.objects, 2)]
    rng.shuffle(options)
    return Task({"kind": kind, "options": options}, rng.choice((right, f"The answer is {right}.")))


def opposite(rng: Random, material: Material) -> Task:
    """The opposite of a word, in one word."""
    asked, accepted = rng.choice(material.opposites)
    return Task({"asked": asked, "accepted": list(accepted)}, accepted[0])


def bullets(rng: Random, material: Material) -> Task:
    """Two words as a list with hyphens."""
    items = rng.sample(material.objects, 2)
    return Task({"items": items}, "\n".join(f"- {item}" for item in items))


def _article(sentence: str) -> str:
    """Put `an` in front of a vowel."""
    return "".join(
        f"{word}n " if word in ("a", "A") and follower[:1] in "aeiou" else f"{word} "
        for word, follower in zip(sentence.split(), [*sentence.split()[1:], ""], strict=True)
    ).strip()


def _sample(
    rng: Random, population: tuple[str, ...], size: int, accept: Callable[[list[str]], bool]
) -> list[str]:
    while not accept(drawn := rng.sample(population, size)):
        pass
    return drawn


FAMILIES: dict[str, Family] = {
    "contains_words": Family(
        contains_words,
        "contains_words",
        (
            "Write one sentence with these words: {words}.",
            "Use these words in a single sentence: {words}.",
            "Make a sentence that has both words: {words}.",
        ),
    ),
    "avoids_word": Family(
        avoids_word,
        "avoids_word",
        (
            'Write one sentence about the topic "{topic}" without the word "{taboo}".',
            'Do not use the word "{taboo}". Write a sentence with the word "{topic}".',
            'Write a sentence that has the word "{topic}" but not the word "{taboo}".',
            'Say something about "{topic}" in one sentence. The word "{taboo}" is forbidden.',
        ),
    ),
    "starts_with": Family(
        starts_with,
        "starts_with",
        (
            'Write a sentence about a {topic}. The first word must be "{opening}".',
            'Start with the word "{opening}" and write one sentence about the {topic}.',
            'Begin your sentence with "{opening}" and use the word "{topic}" in it.',
        ),
    ),
    "ends_with": Family(
        ends_with,
        "ends_with",
        (
            'Write a sentence about the {topic}. The last word must be "{ending}".',
            'Write one sentence with the word "{topic}" which ends with the word "{ending}".',
            'End your sentence with the word "{ending}" and mention the {topic} in it.',
        ),
    ),
    "brief": Family(
        brief,
        "brief",
        (
            'Write a sentence with the word "{topic}" and at most {most} words.',
            "In no more than {most} words, write something about the {topic}.",
            "Write a very short sentence about the {topic}: {most} words at most.",
        ),
    ),
    "first_letter": Family(
        first_letter,
        "letter_of",
        (
            'What is the first letter of the word "{word}"?',
            'Which letter does "{word}" start with?',
            'Give me the first letter of "{word}".',
        ),
    ),
    "last_letter": Family(
        last_letter,
        "letter_of",
        (
            'What is the last letter of the word "{word}"?',
            'Which letter does "{word}" end with?',
            'Give me the last letter of "{word}".',
        ),
    ),
    "sorted_words": Family(
        sorted_words,
        "sorted_words",
        (
            "Put these words in alphabetical order: {words}",
            "Sort these words from A to Z: {words}",
            "Write these words in alphabetical order, with commas: {words}",
        ),
    ),
    "larger_number": Family(
        larger_number,
        "larger_number",
        (
            "Which number is larger: {numbers}?",
            "Tell me the larger one of these two numbers: {numbers}.",
            "Here are two numbers: {numbers}. Which one is bigger?",
        ),
    ),
    "count_of": Family(
        count_of,
        "count_of",
        (
            "How many words are in this list: {items}?",
            "Count the words: {items}.",
            "Here is a list: {items}. How many words does it have?",
        ),
    ),
    "list_of": Family(
        list_of,
        "list_of",
        (
            "Name exactly {count} {kind}s, separated by commas.",
            "List {count} {kind}s on one line, with commas and nothing else.",
            "Give me {count} different {kind}s. Put commas between them.",
        ),
    ),
    "capitals": Family(
        capitals,
        "capitals",
        (
            'Write "{text}" in capital letters.',
            "Write this in capital letters only: {text}",
            'Turn "{text}" into upper case.',
        ),
    ),
    "repeated": Family(
        repeated,
        "repeated",
        (
            'Write the word "{word}" exactly {times} times.',
            'Repeat "{word}" {times} times.',
            'Say "{word}" {times} times and nothing else.',
        ),
    ),
    "bracketed": Family(
        bracketed,
        "bracketed",
        (
            'Put the word "{word}" in {brackets} brackets.',
            'Write "{word}" inside {brackets} brackets and add nothing.',
            "Place {brackets} brackets around this word: {word}",
        ),
    ),
    "json_pair": Family(
        json_pair,
        "json_pair",
        (
            'Write a JSON object with the key "{key}" and the value "{value}".',
            'Give me JSON in which "{key}" is "{value}".',
            'Return only JSON: the key is "{key}", its value is "{value}".',
        ),
    ),
    "yes_or_no": Family(
        yes_or_no,
        "yes_or_no",
        (
            'Is the word "{item}" in this list: {items}? Answer yes or no.',
            'Yes or no: does the list "{items}" have the word "{item}"?',
            'Look at this list: {items}. Is "{item}" one of the words?',
        ),
    ),
    "swapped": Family(
        swapped,
        "swapped",
        (
            "Swap these two words: {words}",
            "Write these two words in reverse order: {words}",
            "Say the second word first and the first word second: {words}",
        ),
    ),
    "one_of_kind": Family(
        one_of_kind,
        "one_of_kind",
        (
            "Which of these is a kind of {kind}: {options}?",
            "Pick the {kind} from this list: {options}.",
            "Only one of these words is a {kind}: {options}. Which one?",
        ),
    ),
    "opposite": Family(
        opposite,
        "one_word",
        (
            'Answer with one word: what is the opposite of "{asked}"?',
            'Give the opposite of "{asked}" in a single word.',
            'What is the opposite of "{asked}"? Reply with that word only.',
        ),
    ),
    "bullets": Family(
        bullets,
        "bullets",
        (
            "Write these words as a list, one on each line, with a hyphen in front: {items}",
            'Make a bullet list with "- " before each word: {items}',
            "Turn this into a list with hyphens, one word per line: {items}",
        ),
    ),
}
"""Name -> family, in the order in which rows come."""


def generate(split: Split) -> list[Instruction]:
    """Return the instructions of a split, always the same ones, the families in turns (so any part is balanced).

    Ids are `split/family/number`, `task` is the family, and the reference is an answer that the checker accepts.
    """
    columns = [_rows(split, name, family) for name, family in FAMILIES.items()]
    return [row for rows in zip(*columns, strict=True) for row in rows]


def _rows(split: Split, name: str, family: Family) -> list[Instruction]:
    """Rows of one family, no instruction twice."""
    rng, wanted = Random(f"{VERSION}/{split}/{name}"), ROWS_PER_FAMILY[split]
    rows: dict[str, Instruction] = {}
    for _ in range(wanted * _DRAWS_PER_ROW):
        if len(rows) == wanted:
            break
        task = family.draw(rng, _MATERIAL[split])
        text = rng.choice(family.phrasings).format_map({key: _shown(value) for key, value in task.parameters.items()})
        row = Instruction(
            id=f"{split}/{name}/{len(rows):03d}",
            instruction=text,
            reference=task.reference,
            task=name,
            checker={"name": family.checker, **task.parameters},
        )
        rows.setdefault(text, row)
    return list(rows.values())


def _shown(value: Any) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)
