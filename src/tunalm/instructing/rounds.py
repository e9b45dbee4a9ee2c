"""New instructions, in rounds of a few prompts that show some of people's and some of the model's own.

What a prompt shows depends on what was kept in the rounds before. So a round is written down (replies.jsonl) when all
its replies are there, failures included. A stage that runs again takes its rounds from there, and the rest of one that
was interrupted from the ledger: it asks what it would have asked without the interruption, and nothing twice.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from random import Random

from tunalm.calls.context import Calls
from tunalm.calls.stopping import Failures
from tunalm.engines.base import Engine, Request
from tunalm.errors import StoreError
from tunalm.instructing import prompts, replies
from tunalm.instructing.filters import Filter
from tunalm.instructing.outcome import Instructed, unusable, written
from tunalm.instructing.records import WrittenReply
from tunalm.progress import progress
from tunalm.recipe import Instruct
from tunalm.records import Instruction, Message
from tunalm.redaction import without_secrets
from tunalm.store import iterate_rows, write_text

STEP = "write"


def write(
    seeds: Sequence[Instruction], settings: Instruct, calls: Calls, engine: Engine, made: Instructed, path: Path | None
) -> list[str]:
    """Ask in rounds until there are enough instructions.

    Args:
        seeds: people's instructions.
        settings: of the stage.
        calls: reach the model.
        engine: the model.
        made: where replies and what was left out are counted.
        path: where rounds are written down, if anywhere.

    Returns:
        What was kept, in order.
    """
    history = [] if path is None else read_rounds(path, settings.requests_per_round)
    kept: list[str] = []
    filtered = Filter(settings, [prompts.one_line(row.instruction) for row in seeds])
    reader = partial(_tasks, settings=settings)
    stopping = Failures(engine.identity, unusable(reader))
    with progress("new instructions", settings.num_instructions) as advance:
        for number in range(most_rounds(settings)):
            if len(kept) == settings.num_instructions:
                break
            if number == len(history):
                answers = calls.complete(engine, asked(number, kept, seeds, settings), f"round {number + 1}")
                history.append([written(answer) for answer in answers.values()])
                if path is not None:
                    _append(path, history[-1])
                stopping.check(answers.values())
            texts = [text for reply in history[number] for text in made.read(STEP, reply, reader) or []]
            for text, rejected in zip(texts, filtered.take(texts), strict=True):
                if rejected is not None:
                    made.rejected.append(rejected.model_copy(update={"step": STEP}))
                elif len(kept) == settings.num_instructions:
                    made.reject(STEP, text, "surplus")
                else:
                    kept.append(text)
                    advance(1)
    return kept


def asked(number: int, kept: Sequence[str], seeds: Sequence[Instruction], settings: Instruct) -> list[Request]:
    """The requests of a round, after what was kept before; they depend on nothing else but the seed."""
    found = []
    for place in range(settings.requests_per_round):
        dice = Random(f"{settings.seed}/{number}/{place}")
        shown = dice.sample(kept, min(settings.machine_examples, len(kept)))
        missing = settings.people_examples + settings.machine_examples - len(shown)
        shown += [row.instruction for row in dice.sample(seeds, min(missing, len(seeds)))]
        dice.shuffle(shown)
        prompt = prompts.new_tasks(shown, continued=prompts.continues(settings.engine))
        found.append(
            Request(
                key=f"{STEP}/{number}/{place}",
                messages=[Message(role="user", content=prompt)],
                temperature=settings.temperature,
                top_p=settings.top_p,
                presence_penalty=settings.presence_penalty,
                max_new_tokens=settings.max_new_tokens,
                seed=dice.getrandbits(63),
                raw=prompts.continues(settings.engine),
            )
        )
    return found


def most_rounds(settings: Instruct) -> int:
    """Rounds after which the stage ends, however little was kept."""
    return -(-(settings.max_requests or settings.num_instructions) // settings.requests_per_round)


def _tasks(reply: WrittenReply, settings: Instruct) -> list[str]:
    count = prompts.wanted(settings.people_examples + settings.machine_examples)
    return replies.tasks(reply.text, count=count, cut=reply.cut, continued=prompts.continues(settings.engine))


def read_rounds(path: Path, size: int) -> list[list[WrittenReply]]:
    """Whole rounds of so many replies; what a kill has torn at the end is taken out of the file.

    Raises:
        DataError: a line is none of ours.
    """
    if not path.exists():
        return []
    *lines, torn = path.read_bytes().split(b"\n")
    whole = len(lines) // size * size
    if torn or whole < len(lines):
        write_text(path, b"".join(line + b"\n" for line in lines[:whole]).decode())
    rows = list(iterate_rows(path, WrittenReply))
    return [rows[start : start + size] for start in range(0, whole, size)]


def _append(path: Path, replies: Sequence[WrittenReply]) -> None:
    lines = "".join(reply.model_dump_json(exclude_defaults=True) + "\n" for reply in replies)
    try:
        with open(path, "a", encoding="utf-8") as file:
            file.write(without_secrets(lines))
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        fix = "Free some space, then run the same command again: it goes on from here."
        raise StoreError(path, found=f"'{error.strerror or error}' while writing", fix=fix) from error
