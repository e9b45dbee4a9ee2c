"""The rows that cross a border between stages, and nothing else.

A file of rows is JSONL, one record a line. `Ranking` is the contract row of the whole project: sampling writes it with
empty ranks, ranking fills them in, training reads it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

UNKNOWN = "unknown: "
"""How a `failure` begins when a request was sent and nobody knows what became of it."""


class Record(BaseModel):
    """Base of all rows. Unknown fields of a user's file are kept, so that a row survives a round trip."""

    model_config = ConfigDict(extra="allow")


class Message(Record):
    """One turn of a conversation. `input` is the optional second part of an Alpaca instruction."""

    role: Literal["system", "user", "assistant"]
    content: str
    input: str = ""

    @property
    def text(self) -> str:
        """The turn as plain text: the content, then the input if there is one."""
        return f"{self.content}\n\n{self.input}" if self.input else self.content


class Instruction(Record):
    """Something to do (i in the paper), with the response that came with the data (r in the paper)."""

    id: str
    instruction: str
    input: str = ""
    reference: str | None = None
    history: list[Message] = Field(default_factory=list)
    """Earlier turns, the system message included; empty for a single-turn instruction."""
    task: str | None = None
    """Family or category; demonstrations are drawn from the same one, scores are broken down by it."""
    checker: dict[str, Any] | None = None
    """Name and parameters of the programmatic checker that decides whether a response is right."""

    def messages(self) -> list[Message]:
        """The conversation up to, and without, the response."""
        return [*self.history, Message(role="user", content=self.instruction, input=self.input)]

    def with_responses(self, responses: Sequence[Response]) -> Ranking:
        """This instruction with candidate responses, as a list that is not ranked; fields of the user's are kept."""
        return Ranking.model_validate({**self.model_dump(exclude=_OF_ONE_RANKING), "responses": list(responses)})


class Response(Record):
    """One candidate response (r_k in the paper) with everything known about how it came to be."""

    text: str
    rank: int | None = Field(None, ge=0, le=1_000_000)
    """0 is best, equal numbers are ties, None is not ranked (an absent candidate: it has no pairs)."""
    score: float | None = None
    model: str = ""
    logprob: float | None = None
    """log p(response | instruction) under the model that sampled it, at temperature 1, in nats."""
    num_tokens: int | None = None
    """Tokens of that model, the end-of-response token included when it was sampled."""
    token_logprobs: list[float] | None = None
    reasoning: str | None = None
    """What a reasoning model thought before it answered; no part of `text`, never ranked or compared."""
    finish_reason: str | None = None
    """`stop` (the model ended the response) or `length` (cut at the token limit)."""
    temperature: float | None = None
    seed: int | None = None
    attempts: int | None = None
    """How many draws this slot took under the diversity rule (1 to 3)."""
    max_rouge_l: float | None = None
    """Largest ROUGE-L F1 (0-1) with another response of the same list."""
    failure: str | None = None
    """Why there is no usable text; a failed response is kept, counted and never ranked."""

    @property
    def is_usable(self) -> bool:
        """Whether the response can be ranked and learned: a failed or empty one cannot."""
        return self.failure is None and bool(self.text.strip())


class Ranking(Instruction):
    """An instruction with its candidate responses: the row that `sample` writes and `train` reads.

    It is not ranked (see `ranked`) until a ranker, or the user, has given its responses ranks.
    """

    responses: list[Response]
    ranked_by: str | None = None
    weight: float | None = Field(None, ge=0, allow_inf_nan=False)
    """Of the ranking loss of this list; null is 1. The reference is learned all the same."""
    judgement: dict[str, Any] | None = None
    """What the ranker said beside the ranks (a judge's own reference and criterion scores); never trained on."""
    failure: str | None = None
    """Why the list could not be ranked; its responses then have no rank."""

    @property
    def ranked(self) -> bool:
        """Whether the responses have been put in order: False for what `sample` gives and for a list that failed."""
        return any(response.rank is not None for response in self.responses)

    def with_dense_ranks(self) -> Ranking:
        """The same list without rank for a failed or empty response, and without gaps between ranks (0, 1, 2, ...).

        The margin of Eq. 5 grows with the difference of ranks, so ranks 10 and 70 must not stay as they are.
        """
        ranks = sorted({each.rank for each in self.responses if each.rank is not None and each.is_usable})
        dense = {rank: place for place, rank in enumerate(ranks)}
        if all(each.rank is None or (each.is_usable and dense[each.rank] == each.rank) for each in self.responses):
            return self
        responses = [
            each.model_copy(update={"rank": dense.get(each.rank) if each.is_usable and each.rank is not None else None})
            for each in self.responses
        ]
        return self.model_copy(update={"responses": responses})


_OF_ONE_RANKING = {"responses", "ranked_by", "judgement", "failure"}
"""Fields of a list that speak of its own responses, also where they stand in a row that is read as an instruction."""


class Prediction(Record):
    """A model's answer to one instruction of a benchmark, saved before anything is scored."""

    id: str
    benchmark: str
    model: str
    instruction: str = ""
    """What was asked: the last turn, for people who read the file or the report."""
    prediction: str
    references: list[str] = Field(default_factory=list)
    task: str | None = None
    checker: dict[str, Any] | None = None
    prompt_sha256: str = ""
    finish_reason: str | None = None
    """`length`: the answer was cut."""
    num_tokens: int | None = None
    prompt_tokens: int | None = None
    num_examples: int | None = None
    """Worked examples that the prompt had room for, where the benchmark shows any."""
    template: str | None = None
    """What was put around the question, where the benchmark leaves a choice."""
    prompt_cut: bool = False
    """The prompt was too long for the benchmark and lost its end."""
    weight: float | None = None
    """Of the row in the mean of its benchmark, if not all are equal; 1 on average."""
    failure: str | None = None


class Verdict(Record):
    """The score of one prediction on one metric (0-1 unless the benchmark says otherwise)."""

    id: str
    benchmark: str
    model: str
    metric: str
    score: float | None = None
    weight: float | None = None
    """Of the row in the mean of its benchmark, if not all are equal; 1 on average."""
    task: str | None = None
    failure: str | None = None
