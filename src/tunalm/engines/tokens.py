"""Requests and texts as token ids of a model in this process, and token ids as completions."""

from __future__ import annotations

from collections.abc import Sequence

from tunalm.data.prompts import PromptEncoder
from tunalm.engines.base import Completion, Request


def prompt_ids(request: Request, encoder: PromptEncoder) -> list[int]:
    """What the model reads before it answers.

    Raises:
        ModelError: the chat template refuses the conversation.
    """
    return encoder.text_ids(request.prompt[0].text) if request.raw else encoder.prompt_ids(request.prompt)


def given_ids(request: Request, encoder: PromptEncoder) -> list[int]:
    """The response that a request gives: with the token that ends it, unless it was cut."""
    ids = encoder.response_ids(request.messages[-1].text)
    return ids if request.given == "ended" or len(ids) == 1 else ids[:-1]


def completion(
    request: Request,
    prompt_tokens: int,
    tokens: Sequence[int],
    logprobs: Sequence[float] | None,
    encoder: PromptEncoder,
    model: str,
    text: str | None = None,
) -> Completion:
    """The answer that was written as `tokens`, the stop token included; `text` where it is known already."""
    stopped = bool(tokens) and tokens[-1] in encoder.stop_ids
    if text is None:
        text = encoder.tokenizer.decode(list(tokens[:-1] if stopped else tokens), skip_special_tokens=True)
        text = text.removeprefix(encoder.lead)
    return Completion(
        key=request.key,
        text=text,
        model=model,
        finish_reason="stop" if stopped else "length",
        num_tokens=len(tokens),
        token_logprobs=None if logprobs is None else list(logprobs),
        prompt_tokens=prompt_tokens if request.given is None else prompt_tokens + len(tokens),
    )
