"""What a request looks like on its way to a server, for the two protocols that servers speak."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Any, Protocol

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
_NOT_TAKEN = re.compile(
    r"unsupported|not support|not permitted|not allowed|unavailable|unrecogni|unknown|unexpected|extra_forbidden"
    r"|only the default",
    re.IGNORECASE,
)
"""How servers say that they do not take a field at all."""

Prompt = str | list[int]
"""As text, or as the token ids that a model of this machine reads."""


class Prompts(Protocol):
    """Makes the prompts of the `completions` protocol."""

    def prompt(self, request: Request) -> Prompt:
        """What the model reads before it answers."""

    def given(self, request: Request) -> tuple[Prompt, Prompt]:
        """The same and the response, of a request whose response is given; both as text or both as ids."""


class AlpacaPrompts:
    """Plain text, by the template of Stanford Alpaca."""

    def prompt(self, request: Request) -> Prompt:
        """The one message of a raw request as it is; else the Alpaca prompt."""
        return request.prompt[0].text if request.raw else alpaca_text(request.prompt)

    def given(self, request: Request) -> tuple[Prompt, Prompt]:
        """See `Prompts`."""
        return self.prompt(request), request.messages[-1].text


class Dialect:
    """The bodies that one server takes: what the settings say, and what its refusals teach.

    Args:
        settings: what is asked of whom.
        openai: whether the server is OpenAI's own, which has another name for `max_tokens`.
        prompts: makes the prompts of `completions`.
    """

    def __init__(self, settings: Served, *, openai: bool, prompts: Prompts | None = None) -> None:
        self._settings = settings
        self._prompts = prompts or AlpacaPrompts()
        self._omitted: set[str] = set(settings.omit)
        chat = settings.protocol == "chat"
        usual = "max_completion_tokens" if chat and openai else "max_tokens"
        self._limit = usual if settings.max_tokens_field == "auto" else settings.max_tokens_field

    def path(self, request: Request) -> str:
        """Where a request goes, below the base address."""
        return PATHS["completions" if request.given else self._settings.protocol]

    def body(self, unit: Sequence[Request]) -> bytes:
        """The body that asks for all responses of a unit (requests that are equal but for key and seed)."""
        request = unit[0]
        if request.given:
            return self._echo(request)
        chat = self._settings.protocol == "chat"
        body: dict[str, Any] = {"model": self._settings.model}
        if chat:
            body["messages"] = [{"role": message.role, "content": message.text} for message in request.messages]
        else:
            body["prompt"] = self._prompts.prompt(request)
        body["temperature"] = request.temperature
        body["seed"] = request.seed & _LARGEST_SEED
        body[self._limit] = request.max_new_tokens
        if len(unit) > 1:
            body["n"] = len(unit)
        if request.top_p != 1:
            body["top_p"] = request.top_p
        if request.presence_penalty:
            body["presence_penalty"] = request.presence_penalty
        if request.logprobs:
            body |= {"logprobs": True, "top_logprobs": 1} if chat else {"logprobs": 1}  # llama.cpp would send twenty
        if request.json_schema is not None:
            schema = {"name": "reply", "schema": request.json_schema, "strict": True}
            body["response_format"] = {"type": "json_schema", "json_schema": schema}
        if self._settings.reasoning_effort is not None:
            body["reasoning_effort"] = self._settings.reasoning_effort
        body = {name: value for name, value in body.items() if name not in self._omitted}
        return json.dumps(body | self._settings.extra_body).encode()

    def learn(self, sent: bytes, refusal: str) -> str | None:
        """Give up a field of a body that was refused for it, in all bodies to come.

        A temperature that was chosen (neither 0 nor the usual 1) is never given up without the knob `omit`, because the
        draws would be others than those asked for.

        Returns:
            What to tell the user, or None if the refusal names no such field.
        """
        body = json.loads(sent)
        if not _NOT_TAKEN.search(refusal):
            return None
        if self._limit in body and _names(refusal, self._limit):
            other = "max_completion_tokens" if self._limit == "max_tokens" else "max_tokens"
            if not _names(refusal, other):
                return None
            self._limit = other
            return f"the server takes {other}, and gets it"
        for name in ("seed", "response_format", "temperature"):
            chosen = name == "temperature" and body.get(name) not in (0, 1)
            if name in body and name not in self._omitted and _names(refusal, name) and not chosen:
                self._omitted.add(name)
                return f"the server takes no {name}, and is asked without it"
        return None

    def given(self, request: Request) -> tuple[Prompt, Prompt]:
        """Prompt and response of a request whose response is given."""
        return self._prompts.given(request)

    def _echo(self, request: Request) -> bytes:
        """The body that asks for the log-probabilities of a text which the model is given."""
        prompt, response = self._prompts.given(request)
        body = {
            "model": self._settings.model,
            "prompt": prompt + response,  # type: ignore[operator]  # both are of one kind
            "echo": True,
            "logprobs": 1,
            "max_tokens": 1,  # some servers refuse 0; the token is dropped
            "temperature": 0,
        }
        return json.dumps(body | self._settings.extra_body).encode()


def siblings(requests: Sequence[Request], most: int) -> list[list[Request]]:
    """Put requests that differ in key and seed alone into units of up to `most`, in the order of their keys.

    A request whose response is given is a unit of its own.
    """
    if most == 1:
        return [[request] for request in requests]
    groups: dict[str, list[Request]] = {}
    for request in sorted(requests, key=lambda request: request.key):
        shared = canonical(request.model_dump(exclude=set() if request.given else {"key", "seed"}))
        groups.setdefault(shared, []).append(request)
    return [group[at : at + most] for group in groups.values() for at in range(0, len(group), most)]


def estimated_tokens(unit: Sequence[Request]) -> int:
    """Tokens that a call may use: the prompt, by its length, and every response at its longest."""
    return _characters(unit[0]) // CHARACTERS_PER_TOKEN + sum(request.max_new_tokens for request in unit)


def largest_reply(unit: Sequence[Request]) -> int:
    """Bytes beyond which a reply cannot be an honest one."""
    tokens = _characters(unit[0]) + sum(request.max_new_tokens for request in unit)
    return BYTES_BESIDES + BYTES_PER_TOKEN * tokens


def _names(refusal: str, field: str) -> bool:
    return re.search(rf"\b{field}\b", refusal) is not None


def _characters(request: Request) -> int:
    return sum(len(message.text) for message in request.messages)
