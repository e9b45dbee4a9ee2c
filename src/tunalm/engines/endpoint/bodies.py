"""What a request looks like on its way to a server, for the two protocols that servers speak."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from tunalm.data.prompts import alpaca_text
from tunalm.engines.base import Request
from tunalm.recipe import Served
from tunalm.store import canonical

PATHS = {"chat": "/chat/completions", "completions": "/completions"}
CHARACTERS_PER_TOKEN = 4
"""For an estimate, before the server has counted."""
BYTES_PER_TOKEN = 8192
"""Most that a token takes in a reply: some servers describe twenty alternatives to each."""
BYTES_BESIDES = 1 << 20
_LARGEST_SEED = 0x7FFFFFFF
"""The widest range that every server takes."""


def prompt_text(request: Request) -> str:
    """The prompt as plain text, for `completions`."""
    return request.prompt[0].text if request.raw else alpaca_text(request.prompt)


def siblings(requests: Sequence[Request], most: int) -> list[list[Request]]:
    """Put requests that differ in key and seed alone into units of up to `most`, in the order of their keys.

    One whose response is given is a unit of its own.
    """
    if most == 1:
        return [[request] for request in requests]
    groups: dict[str, list[Request]] = {}
    for request in sorted(requests, key=lambda request: request.key):
        shared = canonical(request.model_dump(exclude=set() if request.given else {"key", "seed"}))
        groups.setdefault(shared, []).append(request)
    return [group[at : at + most] for group in groups.values() for at in range(0, len(group), most)]


def request_body(settings: Served, unit: Sequence[Request], *, openai: bool) -> bytes:
    """The body that asks for all responses of a unit (requests that are equal but for key and seed).

    Of a response that is given it asks for the log-probabilities, in the protocol `completions`.
    """
    request = unit[0]
    if request.given:
        return _echo_body(settings, prompt_text(request) + request.messages[-1].text)
    chat = settings.protocol == "chat"
    body: dict[str, Any] = {"model": settings.model}
    if chat:
        body["messages"] = [{"role": message.role, "content": message.text} for message in request.messages]
    else:
        body["prompt"] = prompt_text(request)
    body["temperature"] = request.temperature
    body["seed"] = request.seed & _LARGEST_SEED
    body["max_completion_tokens" if chat and openai else "max_tokens"] = request.max_new_tokens
    if len(unit) > 1:
        body["n"] = len(unit)
    if request.top_p != 1:
        body["top_p"] = request.top_p
    if request.logprobs:
        body |= {"logprobs": True, "top_logprobs": 1} if chat else {"logprobs": 1}  # llama.cpp would send twenty
    if request.json_schema is not None:
        schema = {"name": "reply", "schema": request.json_schema, "strict": True}
        body["response_format"] = {"type": "json_schema", "json_schema": schema}
    return json.dumps(body).encode()


def _echo_body(settings: Served, text: str) -> bytes:
    body = {
        "model": settings.model,
        "prompt": text,
        "echo": True,
        "logprobs": 1,
        "max_tokens": 1,  # some servers refuse 0; the token is dropped
        "temperature": 0,
    }
    return json.dumps(body).encode()


def estimated_tokens(unit: Sequence[Request]) -> int:
    """Tokens that a call may use: the prompt, by its length, and every response at its longest."""
    return _characters(unit[0]) // CHARACTERS_PER_TOKEN + sum(request.max_new_tokens for request in unit)


def largest_reply(unit: Sequence[Request]) -> int:
    """Bytes beyond which a reply cannot be an honest one."""
    tokens = _characters(unit[0]) + sum(request.max_new_tokens for request in unit)
    return BYTES_BESIDES + BYTES_PER_TOKEN * tokens


def _characters(request: Request) -> int:
    return sum(len(message.text) for message in request.messages)
