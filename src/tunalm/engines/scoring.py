"""Log-probabilities of responses that are given, asked for and kept like answers.

Such a request ends with the response (`Request.given`), so it goes through `asking.complete` like any other: what the
ledger has is not asked again, and what a kill interrupts is gone on with.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from tunalm.engines.base import Completion, Engine, Journal, Request, ScoresByCalls
from tunalm.errors import EngineError
from tunalm.records import Message
from tunalm.store import canonical, digest

UNIT = 64
"""Responses that are scored, and kept, together."""
ANY_LENGTH = 1 << 30
"""Tokens that no response has."""


def score_request(messages: Sequence[Message], text: str, *, ended: bool) -> Request:
    """Ask for the log-probability of a response.

    Args:
        messages: the conversation up to the response.
        text: the response.
        ended: whether the token that ends it counts; it does not where the response was cut.

    Returns:
        A request whose key depends on nothing but these.
    """
    conversation = [*messages, Message(role="assistant", content=text)]
    given = "ended" if ended else "cut"
    key = "score/" + digest([given, [message.model_dump() for message in conversation]])[:32]
    return Request(key=key, messages=conversation, max_new_tokens=1, logprobs=True, given=given)


def split(request: Request) -> tuple[Request, str]:
    """The request that a given response answers, and the response, as `Engine.score` takes them."""
    room = ANY_LENGTH if request.given == "ended" else 1
    changes = {"messages": request.messages[:-1], "max_new_tokens": room, "given": None}
    return request.model_copy(update=changes), request.messages[-1].content


def open_scorer(engine: Engine) -> Engine:
    """An engine that answers `score_request`s with the log-probabilities that `engine` gives.

    Raises:
        EngineError: it gives none.
    """
    if isinstance(engine, ScoresByCalls):
        return engine.scorer()
    if not engine.capabilities.scores:
        raise EngineError(
            engine.identity,
            found="an engine that scores no text",
            expected="the log-probability of a response that it is given",
            fix="Score with a model in this process, or with kind: endpoint and protocol: completions.",
        )
    return _Scorer(engine)


class _Scorer:
    """A model in this process, asked for log-probabilities."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self.identity = engine.identity
        self.capabilities = replace(engine.capabilities, logprobs=True)

    def batches(self, requests: Sequence[Request]) -> list[list[Request]]:
        """Units of a fixed size; responses to one prompt stand together."""
        ordered = sorted(requests, key=_by_prompt)
        return [ordered[start : start + UNIT] for start in range(0, len(ordered), UNIT)]

    def generate(self, batches: Sequence[Sequence[Request]], journal: Journal) -> Iterator[list[Completion]]:
        """Score unit after unit; the tokens that were read are those of the prompt and of the response."""
        for unit in batches:
            yield [
                done.model_copy(update={"prompt_tokens": (done.prompt_tokens or 0) + (done.num_tokens or 0)})
                for done in self.score([split(request) for request in unit])
            ]

    def score(self, texts: Sequence[tuple[Request, str]]) -> list[Completion]:
        """As the engine does."""
        return self._engine.score(texts)


def _by_prompt(request: Request) -> tuple[str, str]:
    return canonical([message.model_dump() for message in request.messages[:-1]]), request.key
