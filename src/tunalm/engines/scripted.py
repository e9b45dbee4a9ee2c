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
from tunalm.errors import EngineError
from tunalm.recipe import ScriptedSettings
from tunalm.store import digest

UNIT = 16
"""Requests that are answered, and kept, together."""

_WORD = re.compile(r"\S+\s*")


class ScriptedEngine:
    """Answers with one of the given replies, or with the words of the instruction in random order.

    At temperature 0 the answer is the first reply (the words as they are); every other temperature draws uniformly.
    """

    def __init__(self, settings: ScriptedSettings, *, trust_remote_code: bool = False) -> None:
        self.identity = f"scripted {digest(settings.replies)[:16]}"
        self.capabilities = Capabilities(logprobs=True, seeded=True, raw=True, scores=True)
        self._replies: list[str] | None = settings.replies
        self._unit = UNIT
        self._function: Callable[[Request], Completion | str] = partial(_choose, replies=settings.replies)

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
        engine._replies = None
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

    def score(self, texts: Sequence[tuple[Request, str]]) -> list[Completion]:
        """Log-probability of each text under the rule.

        Raises:
            EngineError: the engine answers by a function, which has no probabilities.
        """
        if self._replies is None:
            raise EngineError(
                self.identity, found="a function", expected="an engine that scores texts", fix="Use a model or replies."
            )
        return [_score(request, text, self._replies) for request, text in texts]

    def _answer(self, request: Request) -> Completion:
        answer = self._function(request)
        return answer if isinstance(answer, Completion) else _completion(request, answer, [])


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


def _score(request: Request, text: str, replies: Sequence[str]) -> Completion:
    if replies:
        logprobs = [math.log(replies.count(text) / len(replies))] if text in replies else None
    else:
        words, logprobs = request.messages[-1].text.split(), []
        for word in text.split():
            if word not in words:
                logprobs = None
                break
            logprobs.append(math.log(words.count(word) / len(words)))
            words.remove(word)
    if logprobs is None:
        return Completion(key=request.key, failure="a text that is never drawn")
    room = request.max_new_tokens
    cut = len(_WORD.findall(text))
    changes = {"logprobs": True, "max_new_tokens": cut if room <= cut else room}
    return _completion(request.model_copy(update=changes), text, logprobs)


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
