"""The three prompts of Self-Instruct, in our words.

Constants of the protocol are how many examples there are, that each stands in the form in which it is asked for, and
the marks by which replies are read: numbers, `Is it classification?`, `Class label:`, `Example 1`, `Output:`. The
published examples of the last two prompts are fixed texts; ours are drawn from the seeds, once for all questions, so
that the prompts of a step begin alike.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from tunalm.recipe import EngineSettings
from tunalm.records import Instruction

CONTINUED = "This is a list of many different tasks.\n\n"
"""For a base model, which writes on."""
ASKED = (
    "Below is a numbered list of tasks for a language model. Continue it with {count} new tasks, numbered {first} to "
    "{last}. Let them differ from one another and from those in the list, in topic and in kind. Write in the language "
    "of the list, each task on a line of its own, and nothing but the tasks.\n\n"
)
IS_CLASSIFICATION = (
    "A task is a classification if its answer is one of a few labels that are known beforehand. Say of the last task "
    "whether it is one. Answer with Yes or No alone.\n\n"
)
INPUT_FIRST = (
    "Write examples of the last task as has been done for the others: several if you can, each with an input and the "
    "right output. Where a task needs no input, write the output alone. Keep to the form.\n\n"
)
LABEL_FIRST = (
    "The last task is a classification. Name each of its class labels as has been done for the others, and behind each "
    "write an input that has this label. If a task needs no input, write the right label alone. Keep to the form.\n\n"
)


def continues(engine: EngineSettings) -> bool:
    """Whether a model writes on where a prompt ends: a base model, which is asked without a template."""
    return getattr(engine, "template", None) == "raw" or getattr(engine, "protocol", None) == "completions"


def one_line(text: str) -> str:
    """An instruction as it stands in a list."""
    return re.sub(r"\s+", " ", text).strip().rstrip(":")


def new_tasks(examples: Sequence[str], *, continued: bool) -> str:
    """Ask for `wanted` new instructions.

    Args:
        examples: instructions.
        continued: the model writes on where the prompt ends, in the middle of the list.
    """
    count = len(examples)
    listed = "".join(f"{number}. {one_line(text)}\n" for number, text in enumerate(examples, start=1))
    if continued:
        return f"{CONTINUED}{listed}{count + 1}."
    new = wanted(count)
    return ASKED.format(count=new, first=count + 1, last=count + new) + listed.rstrip()


def wanted(examples: int) -> int:
    """New instructions that are taken from a reply: 7 after 8 examples, because number 16 is the published end."""
    return max(1, examples - 1)


def is_classification(instruction: str, examples: Sequence[tuple[str, bool]]) -> str:
    """Ask whether an instruction is a classification, after some of which that is known."""
    shown = [
        f"Task: {one_line(text)}\nIs it classification? {'Yes' if known else 'No'}\n\n" for text, known in examples
    ]
    return f"{IS_CLASSIFICATION}{''.join(shown)}Task: {one_line(instruction)}\nIs it classification?"


def input_first(instruction: str, examples: Sequence[Instruction]) -> str:
    """Ask for inputs, each with its output."""

    def form(row: Instruction) -> str:
        given = f"Example 1\nInput: {row.input.strip()}\n" if row.input.strip() else ""
        return f"{given}Output: {(row.reference or '').strip()}"

    shown = [f"Task: {one_line(row.instruction)}\n{form(row)}\n\n" for row in examples]
    return f"{INPUT_FIRST}{''.join(shown)}Task: {one_line(instruction)}\n"


def label_first(instruction: str, examples: Sequence[Instruction]) -> str:
    """Ask for labels, each with an input."""

    def form(row: Instruction) -> str:
        given = f"\nInput: {row.input.strip()}" if row.input.strip() else ""
        return f"Class label: {(row.reference or '').strip()}{given}"

    shown = [f"Task: {one_line(row.instruction)}\n{form(row)}\n\n" for row in examples]
    return f"{LABEL_FIRST}{''.join(shown)}Task: {one_line(instruction)}\n"
