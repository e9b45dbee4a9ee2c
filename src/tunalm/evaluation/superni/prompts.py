"""What a model is shown for one row of Super-NI.

`tk-instruct` is the encoding of Tk-Instruct as plain text. `alpaca` and `chat` give definition and examples as the
instruction and the row as its input, in the Alpaca prompt or in the model's own chat template; without examples the
instruction is the definition alone.
"""

from __future__ import annotations

import string
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from tunalm.evaluation.superni.data import Example, TestTask

CountTokens = Callable[[str], int]


@dataclass(frozen=True)
class Shown:
    """The texts of a prompt."""

    instruction: str
    """For `tk-instruct` the whole prompt."""
    input: str
    num_examples: int
    """Examples for which there was room."""
    cut: bool = False
    """There was no room for the rest, which lost its end."""


def tk_instruct(task: TestTask, text: str, shots: int, room: int, count_tokens: CountTokens | None) -> Shown:
    """The prompt of Tk-Instruct: definition, positive examples, query.

    Args:
        task: with definition and examples.
        text: input of the row.
        shots: examples wanted.
        room: most tokens of the prompt; examples are added while it has room for them.
        count_tokens: measures a text; None leaves the room unlimited.
    """
    definition = _stopped(f"Definition: {task.definition.strip()}") + "\n\n"
    query = "Now complete the following example -\n" + _stopped(f"Input: {text.strip()}") + "\nOutput: "
    shown: list[str] = []
    for example in _numbered(task.examples[:shots]):
        # The published fit test puts a blank between examples, which the prompt itself does not have.
        if count_tokens is not None and count_tokens(definition + " ".join(shown) + example + query) > room:
            break
        shown.append(example)
    return Shown(definition + "".join(shown) + query, "", len(shown))


def instruction(task: TestTask, text: str, shots: int, room: int, count_tokens: CountTokens | None) -> Shown:
    """Instruction and input for a template that has a place for each; arguments as for `tk_instruct`."""
    definition, given = task.definition.strip(), text.strip()
    shown: list[str] = []
    for example in _numbered(task.examples[:shots]):
        if count_tokens is not None and count_tokens(f"{definition}\n\n{''.join(shown)}{example}{given}") > room:
            break
        shown.append(example)
    return Shown("\n\n".join([definition, *("".join(shown).strip() for _ in shown[:1])]), given, len(shown))


def _numbered(examples: Sequence[Example]) -> list[str]:
    return [
        f" Positive Example {number} -\n{_stopped(f'Input: {example.input.strip()}')}\n"
        f"{_stopped(f' Output: {example.output.strip()}')}\n\n"
        for number, example in enumerate(examples, start=1)
    ]


def _stopped(text: str) -> str:
    """The text, with a full stop unless it ends with punctuation."""
    return text if text[-1] in string.punctuation else f"{text}."
