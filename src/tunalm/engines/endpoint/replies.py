"""Reading what a server says, which may be anything: each reply becomes completions, or a failure of a named kind.

A reply of several choices is read choice by choice, so that one that is unusable fails alone. Nothing is guessed: a
text without a known end, or whose log-probabilities cannot be those of its tokens, is a failure.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from pydantic import ValidationError

from tunalm.engines.base import Completion, Request
from tunalm.engines.endpoint.bodies import prompt_text
from tunalm.engines.endpoint.faults import Fault, ReplyError, failed
from tunalm.engines.endpoint.formats import Choice, Error, Logprobs, Message, Reply

ROUNDING = 1e-3
"""A log-probability may exceed 0 by so much and is then taken for 0."""
ENDS = {
    **dict.fromkeys(("stop", "eos", "eos_token", "end_turn", "stop_sequence"), "stop"),
    **dict.fromkeys(("length", "max_tokens"), "length"),
}
"""What servers call the two ways in which a text ends."""


class ReplyReader:
    """Turns the bodies of a server's replies into completions.

    Args:
        model: name to put down where the server gives none.
        secret: must not be repeated in a failure.
    """

    def __init__(self, model: str, secret: str | None) -> None:
        self._model = model
        self._secret = secret

    def completions(self, unit: Sequence[Request], status: int, body: bytes) -> list[Completion]:
        """One completion per request of the unit that was answered, in its order.

        The tokens that the reply says it used are those of the whole unit; its first completion carries them.
        """
        try:
            if not 200 <= status < 300:
                return failed(unit, f"http-{status}: {self.explanation(body)}")
            reply = self._parsed(body)
            if unit[0].given:
                return [self._scored(unit[0], reply)]
            prompt_tokens, completion_tokens, hidden_tokens = _usage(reply.usage)
        except ReplyError as error:
            return failed(unit, str(error))
        alone = len(unit) == 1
        result = []
        for position, (request, choice) in enumerate(zip(unit, self._by_index(reply.choices, len(unit)), strict=True)):
            try:
                completion = self._completion(request, choice)
                if alone and completion_tokens is not None:
                    _check_count(completion, completion_tokens, hidden_tokens)
                elif not hidden_tokens and completion.finish_reason == "length":
                    _check_count(completion, request.max_new_tokens, 0)
            except ReplyError as error:
                completion = Completion(key=request.key, failure=str(error))
            spent = {"completion_tokens": completion_tokens, "prompt_tokens": prompt_tokens} if not position else {}
            tokens = completion.num_tokens or (completion_tokens if alone and not completion.failure else None)
            model = reply.model or self._model
            result.append(completion.model_copy(update={"model": model, "num_tokens": tokens, **spent}))
        return result

    def _scored(self, request: Request, reply: Reply) -> Completion:
        """Log-probabilities of the tokens of a given response from a reply that echoes it behind its prompt."""
        prompt, text = prompt_text(request), request.messages[-1].text
        choice = self._by_index(reply.choices, 1)[0]
        if isinstance(choice, ReplyError):
            raise choice
        found = choice.logprobs or Logprobs()
        if not found.token_logprobs or not found.text_offset or min(found.text_offset) >= len(prompt):
            raise ReplyError(Fault.MISSING_LOGPROBS, "the server does not give those of a text that it is sent")
        ends = [*found.text_offset[1:], len(prompt) + len(text) + 1]
        if len(found.token_logprobs) != len(ends):
            raise ReplyError(Fault.WRONG_LOGPROBS, "as many as tokens are expected")
        tokens = list(zip(found.text_offset, ends, found.token_logprobs, strict=True))
        if any(start < len(prompt) < end for start, end, _ in tokens):
            raise ReplyError(Fault.SPLIT_TOKEN, "a token holds the end of the prompt and the start of the response")
        values = _checked([value for start, _, value in tokens if len(prompt) <= start < len(prompt) + len(text)])
        prompt_tokens, completion_tokens, _ = _usage(reply.usage)
        return Completion(
            key=request.key,
            text=text,
            model=reply.model or self._model,
            num_tokens=len(values),
            token_logprobs=values,
            prompt_tokens=prompt_tokens,
            completion_tokens=completion_tokens,
        )

    def explanation(self, body: bytes) -> str:
        """What the body of an error says, on one line."""
        try:
            value = Error.model_validate_json(body[:100_000])
        except ValidationError:
            return (
                "no explanation"
                if body.lstrip()[:1] in (b"", b"<")
                else self.clean(body[:1000].decode(errors="replace"))
            )
        inner = value.error if isinstance(value.error, dict) else {"message": value.error}
        said = inner.get("message") or value.message or value.detail
        return self.clean(str(said)) if said else "no explanation"

    def clean(self, text: str) -> str:
        """A server's words on one line, at most 200 characters, without control characters and without the secret."""
        if self._secret:
            text = text.replace(self._secret, "[key]")
        return " ".join("".join(char if char.isprintable() else " " for char in text).split())[:200]

    def _parsed(self, body: bytes) -> Reply:
        try:
            text = body.decode("utf-8-sig").strip()
        except UnicodeDecodeError as error:
            raise ReplyError(Fault.NOT_UTF8, f"byte {error.start} of the reply") from None
        if not text:
            raise ReplyError(Fault.EMPTY_BODY, "the reply has no body")
        if text.startswith("<"):
            raise ReplyError(Fault.HTML, "the reply is a web page")
        try:
            return Reply.model_validate_json(text)
        except ValidationError as error:
            first = error.errors(include_url=False, include_input=False)[0]
        if first["type"] == "json_invalid":
            fault = Fault.TRUNCATED if "EOF while parsing" in first["msg"] else Fault.BAD_JSON
            raise ReplyError(fault, self.clean(first["msg"]))
        if text.startswith("{") and (said := self.explanation(body)) != "no explanation":
            raise ReplyError(Fault.ERROR_REPLY, said)
        raise ReplyError(Fault.WRONG_SCHEMA, "the reply holds no completion")

    def _by_index(self, choices: list[Any], count: int) -> list[Choice | ReplyError]:
        """The choice of each index, read; those beyond `count` were not asked for."""
        result: list[Choice | ReplyError] = [
            ReplyError(Fault.MISSING_CHOICES, f"{len(choices)} of {count} came back") for _ in range(count)
        ]
        seen = set()
        for position, choice in enumerate(choices):
            index = choice.get("index", position) if isinstance(choice, dict) else position
            if not isinstance(index, int) or not 0 <= index < count:
                continue
            if index in seen:
                result[index] = ReplyError(Fault.DUPLICATE_INDEX, f"two choices say that they are number {index}")
                continue
            seen.add(index)
            try:
                result[index] = Choice.model_validate(choice)
            except ValidationError as error:
                place = ".".join(map(str, error.errors(include_url=False, include_input=False)[0]["loc"]))
                result[index] = ReplyError(Fault.WRONG_SCHEMA, self.clean(place) or "the choice is no completion")
        return result

    def _completion(self, request: Request, choice: Choice | ReplyError) -> Completion:
        if isinstance(choice, ReplyError):
            raise choice
        text = self._text(choice)
        end = ENDS.get(choice.finish_reason or "")
        if end is None:
            raise ReplyError(Fault.UNKNOWN_END, self.clean(f"finish reason {choice.finish_reason}"))
        completion = Completion(key=request.key, text=text, finish_reason=end)
        if not request.logprobs:
            return completion
        values = choice.logprobs.values() if choice.logprobs else None
        if not values:
            raise ReplyError(Fault.MISSING_LOGPROBS, "they were asked for")
        logprobs = _checked(values)
        return completion.model_copy(update={"token_logprobs": logprobs, "num_tokens": len(logprobs)})

    def _text(self, choice: Choice) -> str:
        message = choice.message or Message(content=choice.text)
        text = message.content
        if isinstance(text, list):
            if any(part.type != "text" for part in text):
                raise ReplyError(Fault.WRONG_SCHEMA, "a part of the content is no text")
            text = "".join(part.text for part in text)
        if choice.finish_reason == "content_filter":
            raise ReplyError(Fault.CONTENT_FILTER, "the server's filter stopped the reply")
        if not (text or "").strip() and message.refusal:
            raise ReplyError(Fault.REFUSAL, self.clean(message.refusal))
        if not (text or "").strip() and message.tool_calls:
            raise ReplyError(Fault.TOOL_CALL, "the model called a tool instead of answering")
        if text is None:
            raise ReplyError(Fault.NULL_CONTENT, self.clean(f"no text (finish reason {choice.finish_reason})"))
        if not text.strip():
            raise ReplyError(Fault.EMPTY_TEXT, self.clean(f"no text (finish reason {choice.finish_reason})"))
        return text


def _usage(usage: Any) -> tuple[int | None, int | None, int]:
    """Tokens of the prompt and of the completion, each None if not told, and those of the latter that are hidden."""
    usage = usage if isinstance(usage, dict) else {}
    details = usage.get("completion_tokens_details")
    hidden = details.get("reasoning_tokens") if isinstance(details, dict) else None
    return _count(usage.get("prompt_tokens")), _count(usage.get("completion_tokens")), _count(hidden) or 0


def _count(value: Any) -> int | None:
    return value if type(value) is int and 0 <= value < 1 << 40 else None


def _checked(values: Sequence[float | None]) -> list[float]:
    """Log-probabilities, once each is known to be one."""
    good = [value for value in values if value is not None and math.isfinite(value) and value <= ROUNDING]
    if len(good) < len(values):
        raise ReplyError(Fault.NAN_LOGPROB, "log-probabilities that are missing, not finite, or above 0")
    return [min(value, 0.0) for value in good]


def _check_count(completion: Completion, tokens: int, hidden: int) -> None:
    """Refuse log-probabilities that cannot be those of all tokens; the end token alone may lack one."""
    count = len(completion.token_logprobs or [])
    if completion.token_logprobs is not None and not tokens - hidden - 1 <= count <= tokens:
        raise ReplyError(Fault.WRONG_LOGPROBS, f"{count} log-probabilities for {tokens} tokens")
