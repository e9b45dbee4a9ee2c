"""What every language model looks like to a stage: requests in, completions out.

An engine is a model that can be asked: a Hugging Face model in this process, an OpenAI-compatible server, or a
scripted stand-in. To add one, write a class with the members of `Engine` and give it a row in `engines/__init__.py`;
one of your own is named in a recipe as `kind: FILE.py:NAME` or `kind: package.module:NAME`. An engine that calls a
server tells the `Journal` of each call.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol, runtime_checkable

from pydantic import BaseModel

from tunalm.records import Message
from tunalm.store import digest


class Request(BaseModel, frozen=True):
    """One response wanted from a model. Equal requests to the same engine are the same request (see ledger)."""

    key: str
    """Where the answer belongs, for instance `row-17/2/1` (instruction, slot, attempt)."""
    messages: list[Message]
    temperature: float = 1.0
    top_p: float = 1.0
    presence_penalty: float = 0.0
    """Taken off the logits of every token that stands in the response so far."""
    max_new_tokens: int = 256
    seed: int = 0
    """Of this response alone: the draw does not depend on which requests are answered together."""
    logprobs: bool = False
    """Ask for the log-probability of every sampled token, at temperature 1."""
    json_schema: dict[str, Any] | None = None
    raw: bool = False
    """The one message is the whole prompt: the model reads it as it is, without a template around it."""
    given: Literal["ended", "cut"] | None = None
    """The last message is a response to those before it, and its log-probability is wanted: with the token that ends
    it, or as one that was cut."""

    @classmethod
    def to_score(cls, messages: Sequence[Message], text: str, *, ended: bool) -> Request:
        """Ask how likely a response is.

        Args:
            messages: the conversation up to the response.
            text: the response.
            ended: whether the token that ends it counts; it does not where the response was cut.

        Returns:
            A request whose key depends on nothing but these.
        """
        conversation = [*messages, Message(role="assistant", content=text)]
        given: Literal["ended", "cut"] = "ended" if ended else "cut"
        key = "score/" + digest([given, [message.model_dump() for message in conversation]])[:32]
        return cls(key=key, messages=conversation, max_new_tokens=1, logprobs=True, given=given)

    @property
    def prompt(self) -> list[Message]:
        """The conversation up to the response."""
        return self.messages if self.given is None else self.messages[:-1]


class Completion(BaseModel):
    """The answer to one request, or the reason why there is none."""

    key: str
    text: str = ""
    reasoning: str | None = None
    """What the model thought before its answer; no part of `text`."""
    model: str = ""
    finish_reason: str | None = None
    num_tokens: int | None = None
    token_logprobs: list[float] | None = None
    failure: str | None = None
    unknown: bool = False
    """The request was sent and its outcome is not known: it may have been answered, and paid for."""
    prompt_tokens: int | None = None
    """That the server charges for; on the first completion of a call that answered several requests."""
    completion_tokens: int | None = None
    """Likewise: of the whole call, those of its thoughts included."""
    cached_tokens: int | None = None
    """Likewise: those of the prompt that the server had read before, often at a lower price."""
    reasoning_tokens: int | None = None
    """Likewise: those of the completion that were thoughts."""

    @property
    def logprob(self) -> float | None:
        """log p(text | prompt) in nats: the sum over the sampled tokens."""
        return None if self.token_logprobs is None else sum(self.token_logprobs)


@dataclass(frozen=True)
class Capabilities:
    """What an engine can do; a stage that needs more is refused before the first request."""

    logprobs: bool = False
    json_schema: bool = False
    seeded: bool = False
    """The same request gives the same completion."""
    scores: bool = False
    """Gives the log-probability of a response that it is given (`Request.given`)."""
    n: bool = False
    """Several responses to one prompt are asked for in one call, so that the prompt is paid for once."""
    raw: bool = False
    """A whole prompt can be given as text (`Request.raw`)."""
    resumes: bool = False
    """What was sent outlives this process (a batch job): units that were sent and not answered are handed to `generate`
    again, which collects their answers and does not pay for them twice."""
    max_duplicates: int = 0
    """Requests whose outcome is unknown that may be sent again in a run."""
    notes: tuple[str, ...] = field(default=())


class Journal:
    """What an engine tells of calls to a server, as they happen; a model in this process need not use it.

    A call answers one unit (see `Engine.batches`). For every call first `sending`, then one of `answered`, `lost` and
    `refused`. The methods may be called from any thread, and when one returns a kill loses nothing of what it was told.
    `sending` and `remember` wait for the disk, some milliseconds, so that a power cut loses nothing either; who tells
    many things tells them `together`, and waits once. This journal keeps nothing and allows everything, for calls that
    are not part of a run.
    """

    @contextmanager
    def together(self) -> Iterator[None]:
        """All that is told in the block is kept when it ends, on the disk, or nothing of it.

        Raises:
            StoreError: it cannot be kept.
        """
        yield

    def sending(self, unit: Sequence[Request]) -> None:
        """A call is about to be made: not a byte of it may leave before this returns.

        Raises:
            BudgetError: it could cost more than the user allows.
            StoreError: that it was sent cannot be kept.
        """

    def answered(self, unit: Sequence[Request], completions: Sequence[Completion]) -> None:
        """The reply is here, and this is what it says: nothing may be done with it before this is kept."""

    def lost(self, unit: Sequence[Request], reason: str) -> bool:
        """The call was made and no whole reply came back: nobody knows whether it was answered, and paid for.

        Returns:
            Whether it may be made again all the same.
        """
        return True

    def refused(self, unit: Sequence[Request], reason: str) -> None:
        """The call was surely not carried out (no connection, no room, the server's own error)."""

    def remember(self, name: str, value: str) -> None:
        """Keep a small fact, such as the number of a batch job, for this engine."""

    def recall(self, name: str) -> str | None:
        """What `remember` was last told under this name, in this process or an earlier one."""
        return None


class Engine(Protocol):
    """A language model that answers requests."""

    @property
    def identity(self) -> str:
        """Names the model and its version; part of the key under which answers are kept."""

    @property
    def capabilities(self) -> Capabilities:
        """What this engine can do."""

    def batches(self, requests: Sequence[Request]) -> list[list[Request]]:
        """Split requests into the units that are answered, and kept, together.

        The split depends on the requests alone, and taking whole units away leaves the others as they were: a run
        that was interrupted between two units resumes with exactly the units that it would have had.
        """

    def generate(self, batches: Sequence[Sequence[Request]], journal: Journal) -> Iterator[list[Completion]]:
        """Answer the units, yielding each as soon as it is whole, in any order.

        A request that fails yields a completion with `failure`; only what makes every further request pointless
        (no such server, wrong key, no such model) raises `EngineError`.

        A request whose response is `given` has a completion with that text and its log-probabilities (at temperature
        1, the end token included where the engine knows it).
        """


@runtime_checkable
class Probed(Protocol):
    """An engine of which nobody knows what it can do until it is asked."""

    def probe(self, request: Request) -> Completion:
        """Answer one small request outside of any run.

        Raises:
            EngineError: no request can be answered, or the reply lacks the log-probabilities that were asked for.
        """
