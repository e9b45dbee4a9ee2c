"""The stage `instruct`: its steps one after the other, what they need, what they ask."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from tunalm.calls.context import Calls, StageContext
from tunalm.data import load
from tunalm.data.sources import is_hub_dataset
from tunalm.engines.base import Request
from tunalm.errors import DataError
from tunalm.instructing.examples import add_examples, example_requests, label, questions, shown
from tunalm.instructing.outcome import Instructed
from tunalm.instructing.rounds import asked, write
from tunalm.progress import console
from tunalm.recipe import Instruct
from tunalm.records import Instruction
from tunalm.store import Summary, write_rows

MADE = "instructions.jsonl"


def run(settings: Instruct, context: StageContext) -> Summary:
    """The stage: read the seeds, `instruct`, write instructions.jsonl and rejected.jsonl; raises as they do."""
    replies = context.folder / "replies.jsonl"
    made = instruct(load(settings.seeds), settings, context.calls, replies=replies)
    write_rows(context.folder / "rejected.jsonl", made.rejected)
    write_rows(context.folder / MADE, made.rows)
    return made.summary(settings)


def check(settings: Instruct) -> None:
    """Refuse seeds that lack what the prompts show. Those that must be fetched or written first are looked at later."""
    source = settings.seeds.source
    written_later = Path(source).name == MADE and not Path(source).exists()
    if not written_later and not is_hub_dataset(source):
        require_seeds(load(settings.seeds, tell=False), settings)


def require_seeds(seeds: Sequence[Instruction], settings: Instruct) -> None:
    """Make sure that seeds have what the prompts show.

    Raises:
        DataError: there are none with an output, or none of a class that the model is asked about.
    """
    classes = {True: " and is_classification: true", False: " and is_classification: false"}
    for yes, named in (classes if settings.classification else {False: ""}).items():
        if settings.max_instances and not shown(seeds, settings, labels=yes):
            raise DataError(
                settings.seeds.source,
                found=f"no seed with an output{named}",
                expected="some that the model can be shown",
                fix="Complete the seeds, or set classification: false (inputs come first in all examples), or "
                "max_instances: 0 (instructions alone).",
            )


def instruct(
    seeds: Sequence[Instruction], settings: Instruct, calls: Calls, *, replies: Path | None = None
) -> Instructed:
    """Write new instructions with inputs and outputs.

    Args:
        seeds: people's instructions; `settings.seeds` is not read. Their field `is_classification` says what they are.
        settings: of the stage.
        calls: reach the model.
        replies: file in which rounds are written down. Without it a call that is repeated asks again for replies that
            failed; if one of them then comes, all later rounds are others.

    Raises:
        DataError: the seeds lack what the prompts show.
        EngineError: the engine cannot do what is asked, or hardly any of its replies can be used.
        StoreError: the ledger or the file cannot be written.
    """
    require_seeds(seeds, settings)
    engine = calls.open(settings.engine)
    made = Instructed()
    while any(row.id.startswith(f"{made.prefix}/") for row in seeds):  # they were written by such a stage
        made.prefix += "+"
    kept = write(seeds, settings, calls, engine, made, replies)
    made.instructions = len(kept)
    if len(kept) < settings.num_instructions:
        told = f"      {len(kept)} of {settings.num_instructions} instructions after the last round (max_requests)"
        console().print(told, markup=False)
    if settings.max_instances:
        add_examples(kept, seeds, settings, calls, engine, made)
    else:
        made.rows = [Instruction(id=f"{made.prefix}/{number}", instruction=text) for number, text in enumerate(kept)]
    made.rows += seeds if settings.include_seeds else []
    return made


def requests(settings: Instruct, seeds: Sequence[Instruction]) -> list[Request]:
    """What is asked in the first round, then what would be asked about the seeds if they were new."""
    found = asked(0, [], seeds, settings)
    if settings.max_instances:
        texts = [row.instruction for row in seeds]
        found += questions(texts, seeds, settings) if settings.classification else []
        labels = {number: settings.classification and label(row) is True for number, row in enumerate(seeds)}
        found += example_requests(texts, labels, seeds, settings)
    return found
