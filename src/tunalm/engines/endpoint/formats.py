"""The replies of a server as far as they are read, for both protocols; whatever else is in them is left alone."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel


class Part(BaseModel):
    """One piece of a content that comes in pieces."""

    type: str
    text: str


class Message(BaseModel):
    """What the model says in a chat."""

    content: str | list[Part] | None = None
    refusal: str | None = None
    tool_calls: list[Any] | None = None


class Token(BaseModel):
    """One token of a chat's reply."""

    logprob: float | None


class Logprobs(BaseModel):
    """Log-probabilities, in either protocol's way."""

    content: list[Token] | None = None
    """Of a chat."""
    token_logprobs: list[float | None] | None = None
    """Of a completion."""
    text_offset: list[int] | None = None

    def values(self) -> list[float | None] | None:
        """One value per token; None where the server has none."""
        return self.token_logprobs if self.content is None else [token.logprob for token in self.content]


class Choice(BaseModel):
    """One response."""

    message: Message | None = None
    """Of a chat."""
    text: str | None = None
    """Of a completion."""
    finish_reason: str | None = None
    logprobs: Logprobs | None = None


class Reply(BaseModel):
    """The body of a reply. Its choices are read one by one, so that a bad one spoils no other."""

    choices: list[Any]
    model: str | None = None
    usage: Any = None


class Error(BaseModel):
    """The body of a refusal, in the ways of several servers."""

    error: Any = None
    message: Any = None
    detail: Any = None
