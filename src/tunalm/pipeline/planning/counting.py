"""What remains to be asked of a model: calls, tokens and dollars, less what the ledger has answered already."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from random import Random
from statistics import fmean
from zlib import crc32

from tunalm.calls.prices import Prices
from tunalm.engines.base import Completion, Request
from tunalm.pipeline.planning.figures import NOTHING, Amount, Asking, total_of
from tunalm.pipeline.planning.tokens import TokenCounter, prompt_counter
from tunalm.recipe import EngineSettings, Served
from tunalm.records import Instruction

WORDS = "the of and to in is it that was for on are as with they at be this have from or by one had not but"
STARTS = 5000
FILLER = Random(0).choices(WORDS.split(), k=STARTS + 20_000)
"""Of which stand-ins for answers are cut, a token each: a text of one word, or one that many instructions get, would
not be shown to a judge."""


@dataclass(frozen=True)
class Known:
    """An engine and what it has answered so far."""

    engine: EngineSettings
    identity: str
    counter: TokenCounter
    answers: Mapping[str, Completion]
    """By the key of the request."""

    @cached_property
    def mean_tokens(self) -> float | None:
        """Tokens that an answer has on average, hidden ones included where they are paid; None if there is none."""
        paid = sum(answer.completion_tokens or 0 for answer in self.answers.values())
        read = sum(answer.num_tokens or 0 for answer in self.answers.values())
        return max(paid, read) / len(self.answers) if paid or read else None

    def shares(self) -> tuple[float, float]:
        """Shares (0-1) of cached tokens in prompts and of thoughts in completions, as in the answers that are there."""
        told = self.answers.values()
        prompts, written = (
            sum(getattr(each, name) or 0 for each in told) for name in ("prompt_tokens", "completion_tokens")
        )
        cached, thought = (
            sum(getattr(each, name) or 0 for each in told) for name in ("cached_tokens", "reasoning_tokens")
        )
        return cached / prompts if prompts else 0.0, thought / written if written else 0.0

    def lengths(self, rows: Sequence[Instruction], requests: Sequence[Request]) -> list[float]:
        """Tokens that the answer to each request about a row is expected to have: as many as the row's reference.

        Rows without one are taken to be like the others; nothing known means that an answer fills its room.
        """
        references = [None if row.reference is None else self.counter.text(row.reference) + 1 for row in rows]
        some = [length for length in references if length is not None]
        usual = fmean(some) if some else math.inf
        return [
            self.length(request, usual if length is None else length)
            for request, length in zip(requests, references, strict=True)
        ]

    def length(self, request: Request, guess: float) -> float:
        """Tokens that an answer is expected to have: what is there tells more than a guess."""
        return min(self.mean_tokens or guess, request.max_new_tokens)

    def text(self, request: Request, number: int, length: float) -> str:
        """The answer to a request, or a text that can stand for it; different numbers make different texts."""
        answer = self.answers.get(request.key)
        if answer is not None:
            return answer.text
        start = crc32(request.key.encode()) % STARTS
        return " ".join([str(number), *FILLER[start : start + round(length)]])


def count(
    known: Known,
    requests: Sequence[Request],
    lengths: Sequence[float],
    prices: Prices,
    *,
    weight: float = 1.0,
    rows: int | None = None,
    again: Amount = NOTHING,
) -> Asking:
    """Count what the answers to some requests take.

    Args:
        known: the engine.
        requests: to it, about a sample of the rows of a stage.
        lengths: tokens that each answer is expected to have.
        prices: of all models.
        weight: rows of the stage for each that was sampled.
        rows: how many were sampled; None takes every request for a row of its own.
        again: draws that come on top of the requests, of the whole stage, each a call of its own.
    """
    if not requests:
        return Asking(known.identity)
    expected = {request.key: length for request, length in zip(requests, lengths, strict=True)}
    tokens_of = prompt_counter(known.engine, known.counter)
    groups = _same_prompts(requests)
    sizes = [tokens_of(group[0]) for group in groups]
    scale = _scale(known, groups, sizes)
    at_once = known.engine.max_n if isinstance(known.engine, Served) else 1
    left = [[request for request in group if request.key not in known.answers] for group in groups]
    calls = [-(-len(group) // at_once) for group in left]
    prompts = [number * size * scale for number, size in zip(calls, sizes, strict=True)]
    answers = [sum(expected[request.key] for request in group) for group in left]
    room = weight * sum(request.max_new_tokens for group in left for request in group)
    total = [total_of(values, weight, rows or len(groups)) for values in (calls, prompts, answers)]
    prompt_tokens = total[1] + again.times(fmean(sizes) * scale)
    written = total[2].expected + again.expected * fmean(lengths)
    completion_tokens = Amount(written, room + again.most * requests[0].max_new_tokens, total[2].error)
    price, cost = prices.find(known.engine.place()), None
    cached, thoughts = known.shares()
    if price is not None:
        kinds = ((prompt_tokens.expected, completion_tokens.expected), (prompt_tokens.error, completion_tokens.error))
        mean, error = (price.cost(read, wrote, cached * read, thoughts * wrote) for read, wrote in kinds)
        cost = Amount(mean, price.at_most(prompt_tokens.most, completion_tokens.most), error)
    requested, answered = (round(weight * len(each)) for each in (requests, known.answers))
    return Asking(
        known.identity,
        requested,
        answered,
        total[0] + again,
        prompt_tokens,
        completion_tokens,
        cached * prompt_tokens.expected,
        thoughts * completion_tokens.expected,
        cost,
    )


def _scale(known: Known, groups: Sequence[Sequence[Request]], sizes: Sequence[int]) -> float:
    """Tokens of prompts as the server has counted them, to one that we count; 1 if it has counted none."""
    theirs = ours = 0
    for group, size in zip(groups, sizes, strict=True):
        for answer in (known.answers[request.key] for request in group if request.key in known.answers):
            if answer.prompt_tokens is not None:
                theirs, ours = theirs + answer.prompt_tokens, ours + size
    return theirs / ours if theirs and ours else 1.0


def _same_prompts(requests: Sequence[Request]) -> list[list[Request]]:
    """Requests that are equal but for key and seed: they share a prompt, and calls where the engine can do that."""
    groups: dict[object, list[Request]] = defaultdict(list)
    for request in requests:
        turns = tuple((turn.role, turn.content, turn.input) for turn in request.messages)
        groups[turns, request.raw, request.temperature, request.max_new_tokens].append(request)
    return list(groups.values())
