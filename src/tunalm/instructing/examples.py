"""Which instructions are classifications, and inputs and outputs for each.

Labels come first for classifications, so that not all inputs have the same one. The examples in the prompts are seeds,
drawn once, so that all prompts of a kind begin alike.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from random import Random

from tunalm.calls.context import Calls
from tunalm.engines.base import Engine, Request
from tunalm.instructing import prompts, replies
from tunalm.instructing.outcome import Instructed, unusable, written
from tunalm.instructing.records import WrittenReply
from tunalm.recipe import Instruct
from tunalm.records import Instruction, Message

CLASSIFY, EXAMPLES = "classify", "examples"


def add_examples(
    kept: Sequence[str],
    seeds: Sequence[Instruction],
    settings: Instruct,
    calls: Calls,
    engine: Engine,
    made: Instructed,
) -> None:
    """Ask for the class of every instruction, then for inputs and outputs; what is usable becomes rows."""
    labels = dict.fromkeys(range(len(kept)), False)
    if settings.classification:
        asked = questions(kept, seeds, settings)
        answers = calls.complete(engine, asked, "which are classifications", unusable=unusable(_answer))
        said = [
            made.read(CLASSIFY, written(answers[each.key]), _answer, text)
            for each, text in zip(asked, kept, strict=True)
        ]
        labels = {number: yes for number, yes in enumerate(said) if yes is not None}
    made.classifications = sum(labels.values())
    answers = calls.complete(engine, example_requests(kept, labels, seeds, settings), "inputs and outputs")
    for (number, yes), answer in zip(labels.items(), answers.values(), strict=True):
        text = kept[number]
        found = made.read(EXAMPLES, written(answer), partial(_pairs, text=text, labels=yes, settings=settings), text)
        if found is None:
            continue
        pairs, left_out = found
        for left, reason in left_out:
            made.reject(EXAMPLES, left, reason, text)
        for place, (given, output) in enumerate(pairs):
            row = {"id": f"{made.prefix}/{number}/{place}", "instruction": text, "input": given, "reference": output}
            made.rows.append(Instruction.model_validate({**row, "is_classification": yes}))


def questions(texts: Sequence[str], seeds: Sequence[Instruction], settings: Instruct) -> list[Request]:
    """Ask of every instruction whether it is a classification."""
    some = [
        row
        for yes, most in ((True, settings.yes_examples), (False, settings.no_examples))
        for row in _some([row for row in seeds if label(row) is yes], most, settings)
    ]
    Random(settings.seed).shuffle(some)
    known = [(row.instruction, label(row) is True) for row in some]
    return [
        _request(f"{CLASSIFY}/{number}", prompts.is_classification(text, known), settings.label_tokens, settings)
        for number, text in enumerate(texts)
    ]


def example_requests(
    texts: Sequence[str], labels: Mapping[int, bool], seeds: Sequence[Instruction], settings: Instruct
) -> list[Request]:
    """Ask for inputs and outputs of the instructions with these numbers; `labels` says which are classifications."""
    forms = {True: prompts.label_first, False: prompts.input_first}
    known = {yes: shown(seeds, settings, labels=yes) for yes in set(labels.values())}
    return [
        _request(
            f"{EXAMPLES}/{number}", forms[yes](texts[number], known[yes]), settings.max_instance_tokens, settings
        ).model_copy(update={"presence_penalty": settings.instance_presence_penalty})
        for number, yes in labels.items()
    ]


def label(row: Instruction) -> bool | None:
    """Whether a seed is a classification, as far as it says."""
    known = (row.model_extra or {}).get("is_classification")
    return known if isinstance(known, bool) else None


def shown(seeds: Sequence[Instruction], settings: Instruct, *, labels: bool) -> list[Instruction]:
    """Seeds in the prompts for labels first, or for inputs first (all kinds, if nobody asks for the class)."""
    usable = [row for row in seeds if row.reference]
    if settings.classification:
        usable = [row for row in usable if label(row) is labels]
    return _some(usable, settings.label_first_examples if labels else settings.input_first_examples, settings)


def _some(rows: Sequence[Instruction], most: int, settings: Instruct) -> list[Instruction]:
    return Random(settings.seed).sample(rows, min(most, len(rows)))


def _request(key: str, prompt: str, room: int, settings: Instruct) -> Request:
    return Request(
        key=key,
        messages=[Message(role="user", content=prompt)],
        temperature=0,
        max_new_tokens=room,
        raw=prompts.continues(settings.engine),
    )


def _answer(reply: WrittenReply) -> bool:
    return replies.yes_or_no(reply.text)


def _pairs(
    reply: WrittenReply, *, text: str, labels: bool, settings: Instruct
) -> tuple[list[replies.Pair], list[tuple[str, str]]]:
    own = reply.text.strip().removeprefix(f"Task: {prompts.one_line(text)}")
    return replies.instances(own, most=settings.max_instances, cut=reply.cut, labels=labels)
