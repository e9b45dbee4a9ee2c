"""What a model is shown for one row of Super-NI.

`tk_instruct` is the published prompt, the encoding of Tk-Instruct: plain text that is the whole prompt. A model with a
template gets definition and examples as the instruction, and the row as its input.
"""

from __future__ import annotations

import string
from collections.abc import Callable, Sequence

from tunalm.evaluation.superni.data import TestTask

CountTokens = Callable[[str], int]


def examples(task: TestTask, text: str, shots: int, room: int, count_tokens: CountTokens | None) -> list[str]:
    """The worked examples that fit into the published prompt, as they are written.

    Args:
        task: with definition and examples.
        text: input of the row.
        shots: examples wanted.
        room: most tokens of the prompt; examples are added while it has room for them.
        count_tokens: measures a text; None leaves the room unlimited.
    """
    shown: list[str] = []
    for number, example in enumerate(task.examples[:shots], start=1):
        given, answer = _stopped(f"Input: {example.input.strip()}"), _stopped(f" Output: {example.output.strip()}")
        written = f" Positive Example {number} -\n{given}\n{answer}\n\n"
        # The published test puts a blank between examples, which the prompt itself does not have.
        prompt = _definition(task) + " ".join(shown) + written + _query(text)
        if count_tokens is not None and count_tokens(prompt) > room:
            break
        shown.append(written)
    return shown


def tk_instruct(task: TestTask, text: str, shown: Sequence[str]) -> str:
    """The published prompt for the input `text`: definition, examples, query."""
    return _definition(task) + "".join(shown) + _query(text)


def instruction(task: TestTask, shown: Sequence[str]) -> str:
    """Definition and examples; the definition alone without any."""
    return "\n\n".join(filter(None, [task.definition.strip(), "".join(shown).strip()]))


def _definition(task: TestTask) -> str:
    return _stopped(f"Definition: {task.definition.strip()}") + "\n\n"


def _query(text: str) -> str:
    return "Now complete the following example -\n" + _stopped(f"Input: {text.strip()}") + "\nOutput: "


def _stopped(text: str) -> str:
    """The text, with a full stop unless it ends with punctuation."""
    return text if text[-1] in string.punctuation else f"{text}."
