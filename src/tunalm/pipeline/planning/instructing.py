"""The plan of a stage that writes instructions: how many replies it takes is an assumption, and so is their length.

New instructions are taken to be like the seeds, which stand for them in later stages too.
"""

from __future__ import annotations

from itertools import groupby
from statistics import fmean

from tunalm.calls.prices import Prices
from tunalm.instructing import requests
from tunalm.instructing.rounds import most_rounds
from tunalm.pipeline.planning.counting import Known, count
from tunalm.pipeline.planning.figures import Amount, Asking
from tunalm.pipeline.planning.rows import characters, sampled
from tunalm.recipe import Instruct
from tunalm.records import Instruction

KEPT = 2
"""New instructions that are kept of a reply."""
ROWS = 1.57
"""Inputs and outputs that an instruction gets: 82,439 for 52,445 as published."""
ASSUMED = f"{KEPT} new instructions of a reply are kept, with {ROWS} inputs and outputs each (assumptions)"
LABEL_TOKENS = 2


def asked(settings: Instruct, seeds: list[Instruction], known: Known, prices: Prices) -> list[Asking]:
    """What remains to be asked in each step, from nothing: answers that are there already are not looked at."""
    few = sampled(seeds, characters).rows
    text = known.counter.text
    instruction, row = (
        fmean(text(take(each)) for each in few) for take in (lambda each: each.instruction, _instance_of)
    )
    most = most_rounds(settings) * settings.requests_per_round
    wanted = settings.num_instructions
    replies = min(most, max(wanted / KEPT, settings.requests_per_round))
    shown = settings.people_examples + settings.machine_examples
    guesses = {
        "write": (replies, (instruction + 3) * shown),
        "classify": (wanted, LABEL_TOKENS),
        "examples": (wanted, (row + 6) * ROWS),
    }
    found = []
    for step, group in groupby(requests(settings, few), lambda request: request.key.partition("/")[0]):
        some = list(group)
        expected, tokens = guesses[step]
        lengths = [known.length(request, tokens) for request in some]
        again = Amount(0, most - expected if step == "write" else 0)
        found.append(count(known, some, lengths, prices, weight=expected / len(some), rows=len(some), again=again))
    return found


def stand_ins(settings: Instruct, seeds: list[Instruction]) -> list[Instruction]:
    """Rows like those that the stage will write."""
    number = round(settings.num_instructions * (ROWS if settings.max_instances else 1))
    new = [seeds[at % len(seeds)].model_copy(update={"id": f"new/{at}"}) for at in range(number)]
    return new + (seeds if settings.include_seeds else [])


def _instance_of(row: Instruction) -> str:
    return f"{row.input} {row.reference or ''}"
