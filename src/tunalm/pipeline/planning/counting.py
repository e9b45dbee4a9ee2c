"""What remains to be asked of a model: calls, tokens and dollars, less what the ledger has answered already."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, partial
from random import Random
from statistics import fmean
from zlib import crc32

from tunalm.calls.prices import Prices
from tunalm.engines.base import Completion, Request
from tunalm.measures.rouge import rouge_l
from tunalm.pipeline.planning.figures import NOTHING, Amount, Asking, total_of
from tunalm.pipeline.planning.tokens import TokenCounter, prompt_counter
from tunalm.recipe import EngineSettings, Sample, Served
from tunalm.records import Instruction
from tunalm.sampling.diverse import Rule, next_step

DISCARDED = 0.05
"""Share of the draws that the diversity rule is taken to discard as long as nothing is known."""
DISCARDED_AGAIN = 0.5
"""Share of the draws made in their place that it is taken to discard, too."""
LISTS_COMPARED = 200
"""PlannedLists from which the first share is found out."""
WORDS = "the of and to in is it that was for on are as with they at be this from have or by one had not but"
STARTS = 5000
FILLER = Random(0).choices(WORDS.split(), k=STARTS + 20_000)
"""Tokens of which stand-ins for answers are cut: a text of one word would not be shown to a judge."""


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

    def lengths(self, rows: Sequence[Instruction], requests: Sequence[Request]) -> dict[str, float]:
        """Tokens that the answer to each request about a row is expected to have, by its key.

        They are those of the answers that are there, on average, else those of the row's reference; nothing known
        means that an answer fills its room.
        """
        references = [None if row.reference is None else self.counter.text(row.reference) + 1 for row in rows]
        some = [length for length in references if length is not None]
        usual = fmean(some) if some else math.inf
        return {
            request.key: min(self.mean_tokens or (usual if length is None else length), request.max_new_tokens)
            for request, length in zip(requests, references, strict=True)
        }

    def growth(self, requests: Sequence[Request], lengths: Mapping[str, float]) -> float:
        """Tokens by which the answers that are not there yet may outgrow their expected lengths, together."""
        left = (request for request in requests if request.key not in self.answers)
        return sum(request.max_new_tokens - lengths[request.key] for request in left)

    def likely(self, row: Instruction, request: Request, number: int, tokens: float) -> str:
        """The answer to a request, or a text that can stand for it; different numbers make different texts."""
        answer = self.answers.get(request.key)
        if answer is not None:
            return answer.text
        text = row.reference or ""
        known = self.counter.text(text)
        if known > tokens:
            text = text[: round(len(text) * tokens / known)]
        left = round(tokens - known)
        start = crc32(f"{row.id}/{number}".encode()) % STARTS
        more = FILLER[start : start + left] if left > 0 else []
        return " ".join([str(number), text, *more])


@dataclass
class Counter:
    """Counts what models are asked, and learns from their answers how they count."""

    prices: Prices
    counted: dict[str, list[float]] = field(default_factory=lambda: defaultdict(lambda: [0.0, 0.0]))
    """By identity of the engine: tokens of prompts as its server has counted them, and as we count the same ones."""

    def ask(
        self,
        requests: Sequence[Request],
        lengths: Mapping[str, float],
        known: Known,
        *,
        weight: float = 1.0,
        rows: int | None = None,
        redraws: Amount = NOTHING,
        growth: float = 0.0,
    ) -> Asking:
        """Count what the answers to some requests take.

        Args:
            requests: to one engine, about a sample of the rows of a stage.
            lengths: tokens that an answer is thought to have, by the key of its request, where that is known.
            known: the engine.
            weight: rows of the stage for each that was sampled.
            rows: how many were sampled; None takes every request for a row of its own.
            redraws: draws that come on top of the requests, of the whole stage, each a call of its own.
            growth: tokens that all prompts of the stage may have beyond those in `requests`.
        """
        if not requests:
            return Asking(known.identity)
        groups = _same_prompts(requests)
        count = prompt_counter(known.engine, known.counter)
        sizes = [count(group[0]) for group in groups]
        scale = self._learn(known, groups, sizes)
        at_once = known.engine.max_n if isinstance(known.engine, Served) else 1
        length = {request.key: self._length(request, known, lengths) for request in requests}
        calls, prompt, completion, most = [], [], [], 0.0
        for group, size in zip(groups, sizes, strict=True):
            left = [request for request in group if request.key not in known.answers]
            calls.append(-(-len(left) // at_once))
            prompt.append(calls[-1] * size * scale)
            completion.append(sum(length[request.key] for request in left))
            most += weight * sum(request.max_new_tokens for request in left)
        total = [total_of(values, weight, rows or len(groups)) for values in (calls, prompt, completion)]
        read, answer = fmean(sizes) * scale, fmean(length.values())
        prompt_tokens = total[1] + Amount(read * redraws.expected, read * redraws.most + growth)
        written = total[2].expected + answer * redraws.expected
        completion_tokens = Amount(written, most + requests[0].max_new_tokens * redraws.most, total[2].error)
        price = self.prices.find(known.engine.place())
        cost = None
        if price is not None:
            expected = price.cost(prompt_tokens.expected, completion_tokens.expected)
            highest = price.cost(prompt_tokens.most, completion_tokens.most)
            cost = Amount(expected, highest, price.cost(prompt_tokens.error, completion_tokens.error))
        requested, answered = (round(weight * len(each)) for each in (requests, known.answers))
        return Asking(known.identity, requested, answered, total[0] + redraws, prompt_tokens, completion_tokens, cost)

    def _learn(self, known: Known, groups: Sequence[Sequence[Request]], sizes: Sequence[int]) -> float:
        """Real tokens to one that we count; 1 as long as the server has counted nothing."""
        sums = self.counted[known.identity]
        for group, size in zip(groups, sizes, strict=True):
            for answer in (known.answers[request.key] for request in group if request.key in known.answers):
                if answer.prompt_tokens is not None:
                    sums[0] += answer.prompt_tokens
                    sums[1] += size
        return sums[0] / sums[1] if sums[0] and sums[1] else 1.0

    @staticmethod
    def _length(request: Request, known: Known, lengths: Mapping[str, float]) -> float:
        """Tokens that an answer is expected to have: what is there tells more than what was thought."""
        return min(known.mean_tokens or lengths.get(request.key, math.inf), request.max_new_tokens)


def _same_prompts(requests: Sequence[Request]) -> list[list[Request]]:
    """Requests that are equal but for key and seed: they share a prompt, and calls where the engine can do that."""
    groups: dict[object, list[Request]] = defaultdict(list)
    for request in requests:
        turns = tuple((turn.role, turn.content, turn.input) for turn in request.messages)
        groups[turns, request.raw, request.temperature, request.max_new_tokens].append(request)
    return list(groups.values())


def discarded_share(drawn: Sequence[Sequence[str | None]], settings: Sample) -> float | None:
    """Share of the draws that the diversity rule discards, of all that it compares; None if no list is whole.

    Args:
        drawn: per list the first draw of every slot; None is not drawn yet.
        settings: of the stage.
    """
    rule = Rule(settings.max_rouge_l, settings.max_attempts, partial(rouge_l, tokenizer=settings.rouge_tokenizer))
    whole = [[[text] for text in own] for own in drawn if None not in own][:LISTS_COMPARED]
    compared = len(whole) * (settings.num_responses - 1)
    return sum(len(next_step(own, rule).redraw) for own in whole) / compared if compared else None


def redraws(lists: int, settings: Sample, share: float) -> Amount:
    """Draws beyond the first. The first slot of a list is compared with nothing, so it is never drawn again."""
    slots, again = lists * (settings.num_responses - 1), settings.max_attempts - 1
    return Amount(slots * share * sum(DISCARDED_AGAIN**attempt for attempt in range(again)), slots * again)
