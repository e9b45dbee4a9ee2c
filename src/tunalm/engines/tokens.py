"""Requests and texts as token ids of a model in this process, and token ids as completions."""

from __future__ import annotations

import math
from collections.abc import Sequence

from tunalm.data.prompts import PromptEncoder
from tunalm.engines.base import Completion, Request
from tunalm.engines.reasoning import split_thoughts

NOT_FINITE = "not-finite: the model's numbers are not finite; its weights are broken, or need another precision"
CUT_THOUGHTS = "cut-thoughts: the reply ended inside its thoughts; raise max_new_tokens"


def prompt_ids(request: Request, encoder: PromptEncoder) -> list[int]:
    """What the model reads before it answers.

    Raises:
        ModelError: the chat template refuses the conversation.
    """
    if request.raw:  # an empty text is read from its beginning, which some tokenizers mark and others do not
        return encoder.text_ids(request.prompt[0].text) or [encoder.end_id]
    return encoder.prompt_ids(request.prompt)


def given_ids(request: Request, encoder: PromptEncoder) -> list[int]:
    """The response that a request gives: with the token that ends it, unless it was cut."""
    text = request.messages[-1].text
    ids = [*encoder.plain_ids(text), encoder.end_id] if request.raw else encoder.response_ids(text)
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
    """The answer that was written as `tokens`, the stop token included; `text` where it is given.

    Thoughts are told apart from it: its tokens and their log-probabilities are those of what stands after them.
    """
    stopped = bool(tokens) and tokens[-1] in encoder.stop_ids
    done = Completion(key=request.key, model=model, prompt_tokens=prompt_tokens, completion_tokens=len(tokens))
    if logprobs is not None and not all(map(math.isfinite, logprobs)):
        return done.model_copy(update={"failure": NOT_FINITE})
    reasoning, start = None, 0 if request.raw else len(encoder.lead_ids)
    if text is None:
        body = list(tokens[:-1] if stopped else tokens)
        split = split_thoughts(encoder.text(body), opened=encoder.opens_thoughts)
        if split.answer is None:
            return done.model_copy(update={"reasoning": split.reasoning, "failure": CUT_THOUGHTS})
        reasoning, start = split.reasoning or None, _tokens_of(split.start, body, encoder) if split.start else 0
        text = split.answer.removeprefix(encoder.lead)
    return Completion(
        key=request.key,
        text=text,
        reasoning=reasoning,
        model=model,
        finish_reason="stop" if stopped else "length",
        num_tokens=len(tokens) - start,
        token_logprobs=None if logprobs is None else list(logprobs[start:]),
        prompt_tokens=prompt_tokens if request.given is None else prompt_tokens + len(tokens),
        completion_tokens=len(tokens) if start else None,
    )


def _tokens_of(characters: int, tokens: list[int], encoder: PromptEncoder) -> int:
    """How many tokens, from the first on, spell so many characters."""
    low, high = 0, len(tokens)
    while low < high:
        middle = (low + high) // 2
        low, high = (middle + 1, high) if len(encoder.text(tokens[:middle])) < characters else (low, middle)
    return low
