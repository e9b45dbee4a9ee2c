"""The families of checkable tasks, and the rows that they make.

To add one, write a function that draws a `Task` (parameters of the checker and a right, natural answer) from the
material of a split, under the name of its checker, and give it a row in `FAMILIES` with a few phrasings. A phrasing is
a format string over the parameters, where a list reads as `one, two, three`. If no checker fits, add one to
`checkers.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from random import Random
from typing import Any, Literal, TypeVar

from tunalm.data.checkable.words import HELDOUT, KINDS, TRAIN, Material
from tunalm.records import Instruction

VERSION = "1"
"""Edition of the tasks; scores can be compared within one edition only."""
Split = Literal["train", "heldout", "test"]
Option = TypeVar("Option")
MATERIAL: dict[Split, Material] = {"train": TRAIN, "heldout": HELDOUT, "test": HELDOUT}
NUMBERS: dict[Split, range] = {"train": range(72), "heldout": range(16), "test": range(16, 72)}
"""Of the rows of every family; `test` goes on where `heldout` ends, and a family that runs out of rows ends early."""
_DRAWS_PER_ROW = 50
"""Draws per row after which a family is taken to have no further instruction that differs."""


@dataclass(frozen=True)
class Task:
    """What one instruction asks for."""

    parameters: dict[str, Any]
    reference: str


@dataclass(frozen=True)
class Draw:
    """What a task is drawn with."""

    rng: Random
    material: Material
    number: int
    """Of the row within its family."""

    def next_of(self, options: Sequence[Option]) -> Option:
        """The options in turns, row by row: for what must be balanced exactly."""
        return options[self.number % len(options)]


def contains_words(draw: Draw) -> Task:
    """Two things in one sentence."""
    first, second = draw.rng.sample(draw.material.objects, 2)
    sentence = draw.rng.choice(
        (
            "The {0} was next to the {1}.",
            "We found the {0} behind the {1}.",
            "She looked at the {0} and then at the {1}.",
            "My brother bought the {0} and the {1} yesterday.",
            "Nobody saw the {0} under the {1}.",
            "Please bring me the {0} and the {1}.",
        )
    )
    return Task({"words": [first, second]}, sentence.format(first, second))


def avoids_word(draw: Draw) -> Task:
    """A topic without the word that comes to mind first."""
    topic, taboo, sentence = draw.rng.choice(draw.material.taboos)
    return Task({"topic": topic, "taboo": taboo}, sentence)


def starts_with(draw: Draw) -> Task:
    """A sentence with a given beginning."""
    opening = f"The {draw.rng.choice(draw.material.adjectives)} {draw.rng.choice(draw.material.objects)}"
    rest = draw.rng.choice(
        ("was gone.", "belongs to my uncle.", "is not for sale.", "looks better than before.", "was in the picture.")
    )
    return Task({"opening": opening}, f"{opening} {rest}")


def ends_with(draw: Draw) -> Task:
    """A sentence with a given end."""
    ending = draw.rng.choice(draw.material.objects)
    sentence = draw.rng.choice(
        (
            "The keys are right behind the {0}.",
            "Nobody is allowed to touch the {0}.",
            "They took a photo of the {0}.",
            "I do not remember who found the {0}.",
            "My uncle likes to talk about the {0}.",
        )
    )
    return Task({"ending": ending}, sentence.format(ending))


def brief(draw: Draw) -> Task:
    """A sentence with few words."""
    topic, most = draw.rng.choice(draw.material.objects), draw.rng.randrange(8, 13)
    sentence = draw.rng.choice(
        (
            "The {0} is {1}.",
            "I like the {1} {0}.",
            "This {0} looks {1}.",
            "We saw a very {1} {0}.",
            "My {0} is not {1}.",
        )
    )
    return Task({"topic": topic, "most": most}, sentence.format(topic, draw.rng.choice(draw.material.adjectives)))


def letter(draw: Draw) -> Task:
    """The letter at the beginning or the end of a word."""
    place, word = draw.next_of(("first", "last")), draw.rng.choice(draw.material.objects)
    reference = draw.rng.choice(('The {0} letter of "{1}" is "{2}".', 'The {0} letter is "{2}".'))
    return Task({"word": word, "place": place}, reference.format(place, word, word[0 if place == "first" else -1]))


def larger_number(draw: Draw) -> Task:
    """Two numbers to be compared."""
    numbers = draw.rng.sample(draw.material.numbers, 2)
    reference = draw.rng.choice(("The larger number is {0}.", "{0} is larger than {1}."))
    return Task({"numbers": numbers}, reference.format(max(numbers), min(numbers)))


def one_of_kind(draw: Draw) -> Task:
    """The one thing of a kind among others."""
    kind = draw.rng.choice(draw.material.kinds)
    right = draw.rng.choice(KINDS[kind])
    options = [right, *draw.rng.sample(draw.material.objects, 2)]
    draw.rng.shuffle(options)
    return Task({"kind": kind, "options": options}, draw.rng.choice((right, f"The answer is {right}.")))


def opposite(draw: Draw) -> Task:
    """The opposite of a word."""
    asked, accepted = draw.rng.choice(draw.material.opposites)
    reference = draw.rng.choice(('The opposite of "{0}" is "{1}".', 'The opposite is "{1}".'))
    return Task({"asked": asked, "accepted": list(accepted)}, reference.format(asked, accepted[0]))


def yes_or_no(draw: Draw) -> Task:
    """Whether a word is in a list, which is true every second time."""
    item, *items = draw.rng.sample(draw.material.objects, 4)
    there = draw.next_of((True, False))
    if there:
        items[draw.rng.randrange(3)] = item
    reference = draw.rng.choice(("Yes", "Yes.", "Yes, it is.") if there else ("No", "No.", "No, it is not."))
    return Task({"item": item, "items": items}, reference)


def list_of(draw: Draw) -> Task:
    """So many things of a kind."""
    kind, count = draw.rng.choice(draw.material.kinds), draw.next_of((2, 3, 4))
    return Task({"kind": kind, "count": count}, ", ".join(draw.rng.sample(KINDS[kind], count)))


def titled(draw: Draw) -> Task:
    """Two words to be capitalised."""
    text = f"{draw.rng.choice(draw.material.adjectives)} {draw.rng.choice(draw.material.objects)}"
    return Task({"text": text}, text.title())


def repeated(draw: Draw) -> Task:
    """A word to be written more than once."""
    word, times = draw.rng.choice(draw.material.objects), draw.next_of((2, 3))
    return Task({"word": word, "times": times}, draw.rng.choice((" ", ", ")).join([word] * times))


def bracketed(draw: Draw) -> Task:
    """A word to be put in brackets."""
    word, brackets = draw.rng.choice(draw.material.objects), draw.next_of(("[ ]", "( )", "{ }"))
    return Task({"word": word, "brackets": brackets}, brackets.replace(" ", word))


def json_pair(draw: Draw) -> Task:
    """A small JSON object."""
    key, value = draw.rng.choice(draw.material.objects), draw.rng.choice(draw.material.adjectives)
    return Task({"key": key, "value": value}, f'{{"{key}": "{value}"}}')


def swapped(draw: Draw) -> Task:
    """Two words to be swapped."""
    words = [draw.rng.choice(draw.material.adjectives), draw.rng.choice(draw.material.objects)]
    return Task({"words": words}, " ".join(reversed(words)))


FAMILIES: dict[Callable[[Draw], Task], tuple[str, ...]] = {
    contains_words: (
        "Write one sentence with these words: {words}.",
        "Use these words in a single sentence: {words}.",
        "Make a sentence that has both words: {words}.",
    ),
    letter: (
        'What is the {place} letter of the word "{word}"?',
        'Which letter is the {place} one in "{word}"?',
        'Give me the {place} letter of "{word}".',
    ),
    ends_with: (
        'Write a sentence that ends with the word "{ending}".',
        'Make a sentence whose last word is "{ending}".',
        'Write one sentence. The last word must be "{ending}".',
    ),
    yes_or_no: (
        'Is the word "{item}" in this list: {items}? Answer yes or no.',
        'Yes or no: does the list "{items}" have the word "{item}"?',
        'Look at this list: {items}. Is "{item}" one of the words?',
    ),
    bracketed: (
        'Write the word "{word}" inside these brackets: {brackets}',
        'Put {brackets} around the word "{word}".',
        "Fill the brackets {brackets} with the word {word} and add nothing.",
    ),
    larger_number: (
        "Which number is larger: {numbers}?",
        "Tell me the larger one of these two numbers: {numbers}.",
        "Here are two numbers: {numbers}. Which one is bigger?",
    ),
    starts_with: (
        'Write a sentence that starts with "{opening}".',
        'Begin a sentence with "{opening}" and finish it.',
        'Finish this sentence: "{opening} ..."',
    ),
    swapped: (
        "Swap these two words: {words}",
        "Write these two words in reverse order: {words}",
        "Say the second word first and the first word second: {words}",
    ),
    avoids_word: (
        'Write one sentence about the topic "{topic}" without the word "{taboo}".',
        'Do not use the word "{taboo}". Write a sentence with the word "{topic}".',
        'Write a sentence that has the word "{topic}" but not the word "{taboo}".',
        'Say something about "{topic}" in one sentence. The word "{taboo}" is forbidden.',
    ),
    list_of: (
        "Name exactly {count} {kind}s, separated by commas.",
        "List {count} {kind}s on one line, with commas and nothing else.",
        "Give me {count} different {kind}s. Put commas between them.",
        "Write the names of {count} {kind}s with commas between them.",
    ),
    one_of_kind: (
        "Which of these is a kind of {kind}: {options}?",
        "Pick the {kind} from this list: {options}.",
        "One of these words is a kind of {kind}: {options}. Which one is it?",
    ),
    titled: (
        'Write "{text}" and begin both words with a capital letter.',
        "Capitalize the first letter of each word: {text}",
        'Write "{text}" as a title, with two capital letters.',
    ),
    brief: (
        'Write a sentence with the word "{topic}" and at most {most} words.',
        "In no more than {most} words, write something about the {topic}.",
        "Write a very short sentence about the {topic}: {most} words at most.",
    ),
    opposite: (
        'What is the opposite of "{asked}"?',
        'Which word is the opposite of "{asked}"?',
        'Tell me the opposite of "{asked}".',
    ),
    repeated: (
        'Write the word "{word}" exactly {times} times.',
        'Repeat "{word}" {times} times.',
        'Say "{word}" {times} times and nothing else.',
    ),
    json_pair: (
        'Write a JSON object with the key "{key}" and the value "{value}".',
        'Give me JSON in which "{key}" is "{value}".',
        'Return only JSON: the key is "{key}", its value is "{value}".',
    ),
}
"""What draws a task of the family -> its phrasings, in the order in which rows come. The checker has the same name."""


def generate(split: Split) -> list[Instruction]:
    """Return the instructions of a split, always the same ones, the families in turns (so any part is balanced, as long
    as no family has run out).

    Ids are `split/family/number`, `task` is the family, and the reference is an answer that the checker accepts.
    """
    columns = [_rows(split, *family) for family in FAMILIES.items()]
    return [row for rows in zip_longest(*columns) for row in rows if row is not None]


def _rows(split: Split, draw: Callable[[Draw], Task], phrasings: Sequence[str]) -> list[Instruction]:
    """Rows of one family, no instruction twice."""
    name = draw.__name__
    stream = "heldout" if split == "test" else split
    rng, wanted = Random(f"{VERSION}/{stream}/{name}"), NUMBERS[split].stop
    rows: dict[str, Instruction] = {}
    for _ in range(wanted * _DRAWS_PER_ROW):
        if len(rows) == wanted:
            break
        task = draw(Draw(rng, MATERIAL[split], len(rows)))
        text = rng.choice(phrasings).format_map({key: _shown(value) for key, value in task.parameters.items()})
        row = Instruction(
            id=f"{split}/{name}/{len(rows):03d}",
            instruction=text,
            reference=task.reference,
            task=name,
            checker={"name": name, **task.parameters},
        )
        rows.setdefault(text, row)
    return list(rows.values())[NUMBERS[split].start :]


def _shown(value: Any) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)
