"""What remains to be asked of a model: calls, tokens and dollars, less what the ledger has answered already."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from statistics import fmean

from tunalm.calls.prices import Prices
from tunalm.engines.base import Completion, Request
from tunalm.pipeline.estimate.figures import NOTHING, Amount, Asking
from tunalm.pipeline.estimate.lists import likely_text
from tunalm.pipeline.estimate.tokens import TokenCounter, prompt_counter
from tunalm.recipe import EngineSettings, Served
from tunalm.recipe.places import Place
from tunalm.records import Instruction


@dataclass(frozen=True)
class Asked:
    """An engine and what it has answered so far."""

    engine: EngineSettings
    identity: str
    counter: TokenCounter
    answers: Mapping[str, Completion]
    """By the key of the request."""

    def text(self, request: Request) -> str | None:
        """The answer to a request, if it is there."""
        answer = self.answers.get(request.key)
        return None if answer is None else answer.text

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
        known = [None if row.reference is None else self.counter.text(row.reference) + 1 for row in rows]
        some = [length for length in known if length is not None]
        usual = fmean(some) if some else math.inf
        return {
            request.key: min(self.mean_tokens or (usual if length is None else length), request.max_new_tokens)
            for request, length in zip(requests, known, strict=True)
        }

    def growth(self, requests: Sequence[Request], lengths: Mapping[str, float]) -> float:
        """Tokens by which the answers that are not there yet may outgrow their expected lengths, together."""
        left = (request for request in requests if request.key not in self.answers)
        return sum(request.max_new_tokens - lengths[request.key] for request in left)

    def likely(self, row: Instruction, request: Request, number: int, tokens: float) -> str:
        """The answer to a request, or a text that can stand for it; different numbers make different texts."""
        answer = self.answers.get(request.key)
        return likely_text(row, tokens, number, self.counter) if answer is None else answer.text


@dataclass
class Calibration:
    """Tokens of prompts as a server has counted them, beside the estimate for the same prompts."""

    counted: float = 0.0
    estimated: float = 0.0

    @property
    def scale(self) -> float:
        """Real tokens to one that is estimated; 1 as long as nothing has been counted."""
        return self.counted / self.estimated if self.counted and self.estimated else 1.0


@dataclass(frozen=True)
class Group:
    """Requests that are equal but for key and seed: they share a prompt, and calls where the engine can do that."""

    requests: list[Request]
    prompt_tokens: int


@dataclass
class Desk:
    """Estimates what models are asked, and learns from what they have answered."""

    prices: Prices
    calibrations: dict[str, Calibration] = field(default_factory=lambda: defaultdict(Calibration))
    """By identity of the engine."""

    def ask(
        self,
        requests: Sequence[Request],
        lengths: Mapping[str, float],
        asked: Asked,
        *,
        redraws: Amount = NOTHING,
        growth: float = 0.0,
    ) -> Asking:
        """Estimate what the answers to some requests take.

        Args:
            requests: all of a stage to one engine.
            lengths: tokens that an answer is thought to have, by the key of its request, where that is known.
            asked: the engine.
            redraws: draws that come on top of the requests, each a call of its own.
            growth: tokens that all prompts together may have beyond those in `requests`.
        """
        if not requests:
            return Asking(asked.identity)
        groups = _groups(requests, prompt_counter(asked.engine, asked.counter))
        scale = self._learn(asked, groups)
        at_once = asked.engine.max_n if isinstance(asked.engine, Served) else 1
        length = {request.key: _length(request, asked, lengths) for request in requests}
        calls, prompt, completion, most = 0, 0.0, 0.0, 0
        for group in groups:
            left = [request for request in group.requests if request.key not in asked.answers]
            needed = -(-len(left) // at_once)
            calls += needed
            prompt += needed * group.prompt_tokens * scale
            completion += sum(length[request.key] for request in left)
            most += sum(request.max_new_tokens for request in left)
        each_prompt = fmean(group.prompt_tokens for group in groups) * scale
        each_completion = fmean(length.values())
        prompt_tokens = Amount(prompt + each_prompt * redraws.expected, prompt + each_prompt * redraws.most + growth)
        completion_tokens = Amount(
            completion + each_completion * redraws.expected, most + requests[0].max_new_tokens * redraws.most
        )
        return Asking(
            who=asked.identity,
            requested=len(requests),
            answered=len(asked.answers),
            calls=Amount(calls, calls) + redraws,
            prompt_tokens=prompt_tokens,
            completion_tokens=completion_tokens,
            cost=self._cost(asked.engine.place(), prompt_tokens, completion_tokens),
        )

    def _learn(self, asked: Asked, groups: Sequence[Group]) -> float:
        calibration = self.calibrations[asked.identity]
        for group in groups:
            for request in group.requests:
                answer = asked.answers.get(request.key)
                if answer is not None and answer.prompt_tokens is not None:
                    calibration.counted += answer.prompt_tokens
                    calibration.estimated += group.prompt_tokens
        return calibration.scale

    def _cost(self, place: Place, prompt: Amount, completion: Amount) -> Amount | None:
        price = self.prices.find(place)
        if price is None:
            return None
        return Amount(price.cost(prompt.expected, completion.expected), price.cost(prompt.most, completion.most))


def _length(request: Request, asked: Asked, lengths: Mapping[str, float]) -> float:
    """Tokens that an answer is expected to have: what is there tells more than what was thought."""
    return min(asked.mean_tokens or lengths.get(request.key, math.inf), request.max_new_tokens)


def _groups(requests: Sequence[Request], count: Callable[[Request], int]) -> list[Group]:
    groups: dict[object, Group] = {}
    for request in requests:
        turns = tuple((turn.role, turn.content, turn.input) for turn in request.messages)
        same = (turns, request.raw, request.temperature, request.max_new_tokens)
        if same not in groups:
            groups[same] = Group([], count(request))
        groups[same].requests.append(request)
    return list(groups.values())
