"""What every language model looks like to a stage: requests in, completions out.

An engine is a model that can be asked: a Hugging Face model in this process, an OpenAI-compatible server, or a
scripted stand-in. To add one, write a class with the three members of `Engine` and give it a row in
`engines/__init__.py` (or an entry point in the group `tunalm.engines`).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from pydantic import BaseModel

from tunalm.records import Message


class Request(BaseModel, frozen=True):
    """One response wanted from a model. Equal requests to the same engine are the same request (see ledger)."""

    key: str
    """Where the answer belongs, for instance `row-17/2/1` (instruction, slot, attempt)."""
    messages: list[Message]
    temperature: float = 1.0
    top_p: float = 1.0
    max_new_tokens: int = 256
    seed: int = 0
    """Of this response alone: the draw does not depend on which requests are answered together."""
    logprobs: bool = False
    """Ask for the log-probability of every sampled token, at temperature 1."""
    json_schema: dict[str, Any] | None = None


class Completion(BaseModel):
    """The answer to one request, or the reason why there is none."""

    key: str
    text: str = ""
    model: str = ""
    finish_reason: str | None = None
    num_tokens: int | None = None
    token_logprobs: list[float] | None = None
    failure: str | None = None
    prompt_tokens: int | None = None

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
    notes: tuple[str, ...] = field(default=())


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
        that was interrupted between two units goes on with exactly the units that it would have had.
        """

    def generate(self, batches: Sequence[Sequence[Request]]) -> Iterator[list[Completion]]:
        """Answer the units, yielding each as soon as it is whole, in any order.

        A request that fails yields a completion with `failure`; only what makes every further request pointless
        (no such server, wrong key, no such model) raises `EngineError`.
        """
