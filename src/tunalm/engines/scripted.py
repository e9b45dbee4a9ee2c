"""A stand-in for a language model that answers by rule: for tests, for examples, for trying a recipe out.

It has no weights but is a proper random source: draws depend on the request alone, and the log-probabilities that it
reports are those of its draws. Its tokens are words with the space behind them, and an end token.
"""

from __future__ import annotations

import math
import random
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from typing import Self

from tunalm.engines.base import Capabilities, Completion, Journal, Request
from tunalm.recipe import ScriptedSettings

UNIT = 16
"""Requests that are answered, and kept, together."""

_WORD = re.compile(r"\S+\s*")


class ScriptedEngine:
    """Answers with one of the given replies, or with the words of the instruction in random order.

    At temperature 0 the answer is the first reply (the words as they are); every other temperature draws uniformly.
    """

    def __init__(self, settings: ScriptedSettings, *, trust_remote_code: bool = False) -> None:
        self.identity = settings.identity()
        self.capabilities = Capabilities(logprobs=True, seeded=True, raw=True, scores=True)
        self._unit = UNIT
        self._function: Callable[[Request], Completion | str] = partial(_reply, replies=settings.replies)

    @classmethod
    def from_function(
        cls,
        function: Callable[[Request], Completion | str],
        identity: str = "function",
        *,
        batch_size: int = 1,
        capabilities: Capabilities | None = None,
    ) -> Self:
        """Make an engine that answers what `function` returns; a plain string is an answer that was certain.

        Args:
            function: called with one request after the other.
            identity: answers are kept under it; functions that answer differently need different ones.
            batch_size: requests that are answered, and kept, together.
            capabilities: what the engine says it can do; log-probabilities and seeds when not given.
        """
        engine = cls(ScriptedSettings())
        engine.identity = identity
        engine.capabilities = capabilities or replace(engine.capabilities, scores=False)
        engine._unit = batch_size
        engine._function = function
        return engine

    def batches(self, requests: Sequence[Request]) -> list[list[Request]]:
        """Units of a fixed size, by key."""
        ordered = sorted(requests, key=lambda request: request.key)
        return [ordered[start : start + self._unit] for start in range(0, len(ordered), self._unit)]

    def generate(self, batches: Sequence[Sequence[Request]], journal: Journal) -> Iterator[list[Completion]]:
        """Answer unit after unit."""
        for unit in batches:
            yield [self._answer(request) for request in unit]

    def _answer(self, request: Request) -> Completion:
        answer = self._function(request)
        return answer if isinstance(answer, Completion) else _completion(request, answer, [])


def _reply(request: Request, replies: Sequence[str]) -> Completion:
    return _choose(request, replies) if request.given is None else _score(request, replies)


def _choose(request: Request, replies: Sequence[str]) -> Completion:
    dice = random.Random(f"{request.seed}/{request.key}")
    words = request.messages[-1].text.split()
    if request.temperature == 0:
        return _completion(request, replies[0] if replies else " ".join(words), [])
    if replies:
        reply = dice.choice(replies)
        return _completion(request, reply, [math.log(replies.count(reply) / len(replies))])
    drawn, logprobs = [], []
    while words:
        word = dice.choice(words)
        logprobs.append(math.log(words.count(word) / len(words)))
        words.remove(word)
        drawn.append(word)
    return _completion(request, " ".join(drawn), logprobs)


def _score(request: Request, replies: Sequence[str]) -> Completion:
    """How likely the rule finds the given response."""
    text = request.messages[-1].text
    if replies:
        logprobs = [math.log(replies.count(text) / len(replies))] if text in replies else None
    else:
        words, logprobs = request.prompt[-1].text.split(), []
        for word in text.split():
            if word not in words:
                logprobs = None
                break
            logprobs.append(math.log(words.count(word) / len(words)))
            words.remove(word)
    if logprobs is None:
        return Completion(key=request.key, failure="a text that is never drawn")
    count = len(_WORD.findall(text))
    room = count + 1 if request.given == "ended" else count
    return _completion(request.model_copy(update={"max_new_tokens": room}), text, logprobs)


def _completion(request: Request, text: str, logprobs: Sequence[float]) -> Completion:
    """Cut a text at the token limit; tokens without a log-probability were certain."""
    words = _WORD.findall(text)
    stopped = len(words) < request.max_new_tokens
    count = len(words) + 1 if stopped else request.max_new_tokens
    return Completion(
        key=request.key,
        text=text if stopped else "".join(words[:count]),
        model="scripted",
        finish_reason="stop" if stopped else "length",
        num_tokens=count,
        token_logprobs=[*logprobs, *[0.0] * count][:count] if request.logprobs else None,
        prompt_tokens=sum(len(message.text.split()) for message in request.messages),
    )
