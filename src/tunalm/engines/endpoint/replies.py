"""Reading what a server says, which may be anything: each reply becomes completions, or a failure of a named kind.

    body --> choices --> thoughts apart from the answer --> log-probabilities of the answer's tokens --> completions

A reply of several choices is read choice by choice, so that one that is unusable fails alone. Nothing is guessed: a
text without a known end, or whose log-probabilities are not those of its tokens, is a failure. Whatever else is in a
reply is left alone.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from pydantic import BaseModel, ValidationError

from tunalm.engines.base import Completion, Request
from tunalm.engines.endpoint.bodies import Prompt
from tunalm.engines.endpoint.faults import Fault, ReplyError, failed
from tunalm.engines.endpoint.logprobs import Logprobs, checked, of_answer
from tunalm.engines.reasoning import split_thoughts
from tunalm.recipe import Served

ENDS = {
    **dict.fromkeys(("stop", "eos", "eos_token", "end_turn", "stop_sequence", "complete"), "stop"),
    **dict.fromkeys(("length", "max_tokens"), "length"),
}
"""What servers call the two ways in which a text ends, in small letters."""
_THOUGHTS = ("thinking", "reasoning")
"""Types of the parts of a content, and names of the fields in them, that hold thoughts."""


class _Said(BaseModel):
    """What the model says in a chat."""

    content: str | list[dict[str, Any]] | None = None
    refusal: str | None = None
    tool_calls: list[Any] | None = None
    function_call: Any = None
    reasoning_content: Any = None
    reasoning: Any = None


class _Choice(BaseModel):
    """One response."""

    message: _Said | None = None
    """Of a chat."""
    text: str | None = None
    """Of a completion."""
    error: Any = None
    """Of a gateway whose provider broke off."""
    finish_reason: str | None = None
    logprobs: Logprobs | None = None


class _Body(BaseModel):
    """A reply. Its choices are read one by one, so that a bad one spoils no other."""

    choices: list[Any]
    model: str | None = None
    usage: Any = None


class _Error(BaseModel):
    """A refusal, in the ways of several servers."""

    error: Any = None
    message: Any = None
    detail: Any = None


class ReplyReader:
    """Turns the bodies of a server's replies into completions.

    Args:
        settings: what is asked of whom.
        secret: must not be repeated in a failure.
    """

    def __init__(self, settings: Served, secret: str | None) -> None:
        self._settings = settings
        self._secret = secret

    def completions(self, unit: Sequence[Request], status: int, body: bytes) -> list[Completion]:
        """One completion per request of the unit that was answered, in its order.

        The tokens that the reply says it used are those of the whole unit; its first completion carries them.
        """
        try:
            if not 200 <= status < 300:
                return failed(unit, self.refusal(status, body), free=True)
            reply = self._parsed(body)
        except ReplyError as error:
            return failed(unit, str(error))
        used = _tokens_used(reply.usage)
        written = used["completion_tokens"]
        complete = written is not None and written < unit[0].max_new_tokens
        result = []
        for position, (request, choice) in enumerate(zip(unit, self._by_index(reply.choices, len(unit)), strict=True)):
            try:
                completion = self._completion(request, choice, complete)
            except ReplyError as error:
                completion = Completion(key=request.key, failure=str(error))
            changes: dict[str, Any] = {"model": reply.model or self._settings.model}
            if not position:
                changes |= used
            if completion.failure is None and completion.num_tokens is None and written is not None and len(unit) == 1:
                hidden = used["reasoning_tokens"] or (None if completion.reasoning else 0)
                changes["num_tokens"] = None if hidden is None else max(written - hidden, 0)
            result.append(completion.model_copy(update=changes))
        return result

    def scored(self, request: Request, prompt: Prompt, response: Prompt, body: bytes) -> Completion:
        """Log-probabilities of the tokens of a response from a reply that echoes `prompt + response`."""
        try:
            reply = self._parsed(body)
            choice = self._by_index(reply.choices, 1)[0]
            if isinstance(choice, ReplyError):
                raise choice
            found = choice.logprobs or Logprobs()
            if isinstance(response, str):
                values = _echoed_text(found, len(prompt), len(response))
            else:
                values = _echoed_ids(found, len(prompt), len(response))
        except ReplyError as error:
            return Completion(key=request.key, failure=str(error))
        return Completion(
            key=request.key,
            text=request.messages[-1].text,
            model=reply.model or self._settings.model,
            num_tokens=len(values),
            token_logprobs=values,
            **_tokens_used(reply.usage),
        )

    def refusal(self, status: int, body: bytes) -> str:
        """The failure of the requests that an error status answers."""
        return f"http-{status}: {self.explanation(body)}"

    def explanation(self, body: bytes) -> str:
        """What the body of an error says, on one line."""
        try:
            value = _Error.model_validate_json(body[:100_000])
        except ValidationError:
            nothing = body.lstrip()[:1] in (b"", b"<")
            return "no explanation" if nothing else self.clean(body[:1000].decode(errors="replace"))
        inner = value.error if isinstance(value.error, dict) else {"message": value.error}
        own = value.message if isinstance(value.message, str) else None  # elsewhere it is a reply
        said = inner.get("message") or own or value.detail
        cause = inner.get("metadata")
        if isinstance(cause, dict) and cause.get("raw"):  # a gateway's own message is of no use
            said = f"{said}: {cause['raw']}"
        return self.clean(str(said)) if said else "no explanation"

    def clean(self, text: str) -> str:
        """A server's words on one line, at most 200 characters, without control characters and without the secret."""
        if self._secret:
            text = text.replace(self._secret, "[key]")
        return " ".join("".join(char if char.isprintable() else " " for char in text).split())[:200]

    def _parsed(self, body: bytes) -> _Body:
        try:
            text = body.decode("utf-8-sig").strip()
        except UnicodeDecodeError as error:
            raise ReplyError(Fault.NOT_UTF8, f"byte {error.start} of the reply") from None
        if not text:
            raise ReplyError(Fault.EMPTY_BODY, "the reply has no body")
        if text.startswith("<"):
            raise ReplyError(Fault.HTML, "the reply is a web page")
        try:
            return _Body.model_validate_json(text)
        except ValidationError as error:
            first = error.errors(include_url=False, include_input=False)[0]
        if text.startswith(("data:", "event:", ": ")):
            raise ReplyError(Fault.BAD_JSON, "the reply is a stream of events, which was not asked for")
        if first["type"] == "json_invalid":
            fault = Fault.TRUNCATED if "EOF while parsing" in first["msg"] else Fault.BAD_JSON
            raise ReplyError(fault, self.clean(first["msg"]))
        if text.startswith("{") and (said := self.explanation(body)) != "no explanation":
            raise ReplyError(Fault.ERROR_REPLY, said)
        raise ReplyError(Fault.WRONG_SCHEMA, "the reply holds no completion")

    def _by_index(self, choices: list[Any], count: int) -> list[_Choice | ReplyError]:
        """The choice of each index, read; those beyond `count` were not asked for."""
        result: list[_Choice | ReplyError] = [
            ReplyError(Fault.MISSING_CHOICES, f"{len(choices)} came back, and none is number {number} of {count}")
            for number in range(1, count + 1)
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
                result[index] = _Choice.model_validate(choice)
            except ValidationError as error:
                place = ".".join(map(str, error.errors(include_url=False, include_input=False)[0]["loc"]))
                result[index] = ReplyError(Fault.WRONG_SCHEMA, self.clean(place) or "the choice is no completion")
        return result

    def _completion(self, request: Request, choice: _Choice | ReplyError, complete: bool) -> Completion:
        if isinstance(choice, ReplyError):
            raise choice
        apart, text = self._said(choice)
        end = ENDS.get((choice.finish_reason or "").lower())
        if not choice.finish_reason and complete:
            end = "stop"
        split = split_thoughts(text, opened=self._settings.always_thinks and apart is None)
        if split.answer is None or (not split.answer.strip() and end == "length"):
            raise ReplyError(Fault.CUT_THOUGHTS, "the reply ended inside its thoughts; raise max_new_tokens")
        if not split.answer.strip():
            raise ReplyError(Fault.EMPTY_TEXT, "nothing stands after the thoughts")
        if end is None:
            raise ReplyError(Fault.UNKNOWN_END, self.clean(f"finish reason {choice.finish_reason}"))
        reasoning = "\n".join(part for part in (apart, split.reasoning) if part) or None
        completion = Completion(key=request.key, text=split.answer, reasoning=reasoning, finish_reason=end)
        if not request.logprobs:
            return completion
        logprobs = of_answer(choice.logprobs, text, split.start)
        return completion.model_copy(update={"token_logprobs": logprobs, "num_tokens": len(logprobs)})

    def _said(self, choice: _Choice) -> tuple[str | None, str]:
        """Thoughts that the server keeps apart, and the text."""
        if choice.error is not None:
            raise ReplyError(Fault.ERROR_REPLY, self.explanation(json.dumps({"error": choice.error}).encode()))
        if not choice.model_fields_set & {"message", "text"}:
            raise ReplyError(Fault.WRONG_SCHEMA, "the choice has neither a message nor a text")
        message = choice.message or _Said(content=choice.text)
        end = (choice.finish_reason or "").lower()
        thoughts = [told for told in (message.reasoning_content, message.reasoning) if isinstance(told, str)]
        text = message.content
        if isinstance(text, list):
            thoughts += [_thoughts_in(part) for part in text if part.get("type") in _THOUGHTS]
            rest = [part for part in text if part.get("type") not in _THOUGHTS]
            if any(part.get("type") != "text" or not isinstance(part.get("text"), str) for part in rest):
                raise ReplyError(Fault.WRONG_SCHEMA, "a part of the content is no text")
            text = "".join(part["text"] for part in rest)
        apart = next((told.strip() for told in thoughts if told.strip()), None)
        if end in ("content_filter", "sensitive"):
            raise ReplyError(Fault.CONTENT_FILTER, "the server's filter stopped the reply")
        if not (text or "").strip() and message.refusal:
            raise ReplyError(Fault.REFUSAL, self.clean(message.refusal))
        if not (text or "").strip() and (message.tool_calls or message.function_call):
            raise ReplyError(Fault.TOOL_CALL, "the model called a tool instead of answering")
        if not (text or "").strip() and apart and ENDS.get(end) == "length":
            raise ReplyError(Fault.CUT_THOUGHTS, "the reply ended inside its thoughts; raise max_new_tokens")
        if text is None:
            raise ReplyError(Fault.NULL_CONTENT, self.clean(f"no text (finish reason {choice.finish_reason})"))
        if not text.strip():
            raise ReplyError(Fault.EMPTY_TEXT, self.clean(f"no text (finish reason {choice.finish_reason})"))
        return apart, text


def _echoed_text(found: Logprobs, prompt: int, response: int) -> list[float]:
    """Values of the tokens of a response, which is so many characters long and stands behind so many of the prompt."""
    values, offsets = found.token_logprobs or [], found.text_offset or []
    if not values or not offsets or min(offsets) >= prompt:
        raise ReplyError(Fault.MISSING_LOGPROBS, "the server does not give those of a text that it is sent")
    ends = [*offsets[1:], prompt + response + 1]
    if len(values) != len(ends):
        raise ReplyError(Fault.WRONG_LOGPROBS, "as many as tokens are expected")
    tokens = list(zip(offsets, ends, values, strict=True))
    if any(start < prompt < end for start, end, _ in tokens):
        raise ReplyError(Fault.SPLIT_TOKEN, "a token holds the end of the prompt and the start of the response")
    return checked([value for start, _, value in tokens if prompt <= start < prompt + response])


def _echoed_ids(found: Logprobs, prompt: int, response: int) -> list[float]:
    """The same for a response of so many tokens, behind so many of the prompt."""
    values = found.token_logprobs or []
    if len(values) < 2:
        raise ReplyError(Fault.MISSING_LOGPROBS, "the server does not give those of a text that it is sent")
    if not prompt + response <= len(values) <= prompt + response + 1:
        raise ReplyError(Fault.WRONG_LOGPROBS, f"{len(values)} values for {prompt + response} tokens")
    return checked(values[prompt : prompt + response])


def _thoughts_in(part: dict[str, Any]) -> str:
    """The thoughts of one part of a content: a text, or parts again."""
    told = next((part[name] for name in (*_THOUGHTS, "text") if part.get(name)), "")
    inner = told if isinstance(told, list) else [{"text": told}]
    return "".join(str(piece.get("text") or "") for piece in inner if isinstance(piece, dict))


def _tokens_used(told: Any) -> dict[str, int | None]:
    """Tokens that a call used, as fields of a completion, each None if the server does not tell."""
    told = told if isinstance(told, dict) else {}
    cached = _inside(told, "prompt_tokens_details", "cached_tokens") or told.get("prompt_cache_hit_tokens")
    reasoning = _inside(told, "completion_tokens_details", "reasoning_tokens") or told.get("reasoning_tokens")
    return {
        "prompt_tokens": _count(told.get("prompt_tokens")),
        "completion_tokens": _count(told.get("completion_tokens")),
        "cached_tokens": _count(cached),
        "reasoning_tokens": _count(reasoning),
    }


def _inside(told: dict[str, Any], name: str, count: str) -> Any:
    details = told.get(name)
    return details.get(count) if isinstance(details, dict) else None


def _count(value: Any) -> int | None:
    return value if type(value) is int and 0 <= value < 1 << 40 else None
