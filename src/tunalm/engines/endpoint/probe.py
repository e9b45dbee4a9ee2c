"""What a server can really do, found out by asking it: eight requests of a few tokens at most."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import anyio

from tunalm.engines.base import Completion, Journal, Request
from tunalm.engines.endpoint.addresses import checked_host, find_key
from tunalm.engines.endpoint.engine import EndpointEngine
from tunalm.engines.endpoint.faults import Fault, ReplyError
from tunalm.engines.endpoint.retries import CallError
from tunalm.engines.endpoint.wire import Answer, Wire, read_body
from tunalm.errors import EngineError
from tunalm.recipe import EndpointSettings
from tunalm.records import Message

OPEN_QUESTION = "Say a random number between 1 and 1000, nothing else."
GIVEN = ("The capital of France is", " Paris")
NUMBER = {
    "type": "object",
    "properties": {"legs": {"type": "integer"}},
    "required": ["legs"],
    "additionalProperties": False,
}
CERTAIN = -0.01
"""Log-probability of a whole reply; above it the reply was certain."""
SAME = 1e-3
"""Difference of two log-probabilities that are the same but for rounding."""
LARGEST_LIST = 1 << 24
"""Bytes of a list of models."""


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at."""

    what: str
    found: str
    good: bool | None
    """None: it could not be found out, or is neither good nor bad."""


LISTED = "model is listed"
ANSWERS = "answers"
LOGPROBS = "log-probabilities"
TEMPERATURE = "their temperature"
THOUGHTS = "thinks before it answers"
SEED = "seed"
SEVERAL = "several responses (n)"
SCHEMA = "JSON schema"
GIVEN_TEXT = "a given text's log-probability"


class Examination(Journal):
    """Asks a server one question after the other, and keeps what it found; `examine` asks them all."""

    def __init__(self, settings: EndpointSettings) -> None:
        self._settings = settings.model_copy(update={"max_retries": 1, "max_n": 2})
        self._engine = EndpointEngine(self._settings)
        self._logprobs = True
        self.findings: list[Finding] = []
        self.requests = 0
        """Sent."""

    def sending(self, unit: Sequence[Request]) -> None:
        """Count a request."""
        self.requests += 1

    def can(self, what: str) -> bool:
        """Whether it was found good."""
        return any(finding.what == what and finding.good is True for finding in self.findings)

    def suits(self) -> list[tuple[str, str]]:
        """What can be done with the server in a recipe, and what to do where it cannot."""
        if not self.can(ANSWERS):
            return [("every stage", "no: it does not answer")]
        without = "no: sample from a model in this process, or rank with by: judge"
        return [
            ("sample, evaluate", "yes"),
            ("sample with logprobs, for rank by: likelihood", "yes" if self.can(LOGPROBS) else without),
            ("rank by: judge", "yes" if self.can(SCHEMA) else "with failures: replies may not be the JSON asked for"),
            ("several responses per call", "yes: set max_n" if self.can(SEVERAL) else "no: leave max_n at 1"),
            ("log-probability of a given text", "yes" if self.can(GIVEN_TEXT) else "no: score with a local model"),
        ]

    def listed(self) -> None:
        """Ask for the list of models."""
        settings = self._settings
        url = settings.addresses[0]
        key = find_key(settings.api_key_env, checked_host(url))
        self.requests += 1
        try:
            answer = anyio.run(_get_models, Wire(url.rstrip("/"), key, settings.timeout))
        except (CallError, ReplyError) as error:
            raise EngineError(
                self._engine.identity,
                found=f"no server answers ({error})",
                fix="Start it, or correct the address (it usually ends in /v1).",
            ) from None
        try:
            names = [str(model["id"]) for model in json.loads(answer.body)["data"]]
        except (ValueError, LookupError, TypeError):
            self._add(LISTED, f"no list of models (HTTP {answer.status})", None)
            return
        found = "yes" if settings.model in names else f"no, but: {', '.join(names[:5]) or 'none'}"
        self._add(LISTED, found, settings.model in names)

    def answers(self) -> Completion:
        """Ask for a reply with log-probabilities, and for one without if there are none."""
        request = self._request("open")
        reply = self._ask(request)
        if reply.failure is not None:
            self._logprobs = False
            without = self._ask(self._request("open"))
            self._add(ANSWERS, without.failure or "yes", without.failure is None)
            self._add(LOGPROBS, reply.failure, False)
            reply = without
        else:
            self._add(ANSWERS, "yes", True)
            self._add(LOGPROBS, f"yes, {_end(reply)}", True)
        if reply.reasoning is not None:
            self._add(THOUGHTS, "yes: its thoughts are kept beside the answer and cost tokens", None)
        return reply

    def seed(self, reply: Completion) -> None:
        """Ask the same again."""
        again = self._ask(self._request("open"))
        if again.failure is not None:
            self._add(SEED, again.failure, None)
        elif again.text != reply.text:
            self._add(SEED, "no: another reply to the same request", None)
        else:
            same = _sum(again) is None or math.isclose(_sum(again) or 0.0, _sum(reply) or 0.0, abs_tol=SAME)
            self._add(SEED, "yes" if same else "nearly: the same text, other log-probabilities", same or None)

    def temperature(self, reply: Completion) -> None:
        """Find out whether log-probabilities are those of the model or those of the draw.

        At a temperature close to 0 every draw is certain. If the model itself is not, and the log-probabilities are
        all 0, they are those of the draw.
        """
        if not self._logprobs:
            return
        cold = self._ask(self._request("open", temperature=0.02))
        total = _sum(cold)
        if total is None:
            self._add(TEMPERATURE, cold.failure or "not found out", None)
        elif total < CERTAIN:
            self._add(TEMPERATURE, "1, whatever the draw's", True)
        elif (_sum(reply) or 0.0) < CERTAIN:
            self._add(TEMPERATURE, "the draw's: sample at temperature 1 for rank by: likelihood", None)
        else:
            self._add(TEMPERATURE, "not found out: every reply was certain", None)

    def several(self) -> None:
        """Ask for two responses in one call."""
        unit = [self._request("several/0"), self._request("several/1", seed=8)]
        replies = self._unit(unit)
        failure = next((reply.failure for reply in replies if reply.failure), None)
        self._add(SEVERAL, failure or "yes", failure is None)

    def schema(self) -> None:
        """Ask for an object with a number, without saying so in words."""
        messages = [Message(role="user", content="How many legs does a cat have?")]
        request = Request(key="schema", messages=messages, temperature=0.0, max_new_tokens=48, json_schema=NUMBER)
        reply = self._ask(request)
        if reply.failure is not None:
            self._add(SCHEMA, reply.failure, False)
            return
        keeps = _is_number(reply.text)
        self._add(SCHEMA, "yes" if keeps else "no: it was accepted and not kept to", keeps)

    def given_text(self) -> None:
        """Ask for the log-probability of a text."""
        prompt, text = GIVEN
        engine = EndpointEngine(self._settings.model_copy(update={"protocol": "completions"}))
        request = Request.to_score([Message(role="user", content=prompt)], text, ended=True)
        try:
            ((scored,),) = engine.generate([[request.model_copy(update={"raw": True})]], self)
        except EngineError as error:
            self._add(GIVEN_TEXT, error.found, False)
            return
        self._add(GIVEN_TEXT, scored.failure or "yes, with protocol: completions", scored.failure is None)

    def _request(self, key: str, *, seed: int = 7, temperature: float = 1.0) -> Request:
        messages = [Message(role="user", content=OPEN_QUESTION)]
        return Request(
            key=key, messages=messages, temperature=temperature, max_new_tokens=24, seed=seed, logprobs=self._logprobs
        )

    def _ask(self, request: Request) -> Completion:
        return self._unit([request])[0]

    def _unit(self, unit: list[Request]) -> list[Completion]:
        try:
            return next(self._engine.generate([unit], self))
        except EngineError as error:
            if not unit[0].logprobs or "log-probabilities" not in error.found:
                raise
            return [Completion(key=request.key, failure=str(Fault.MISSING_LOGPROBS)) for request in unit]

    def _add(self, what: str, found: str, good: bool | None) -> None:
        self.findings.append(Finding(what, found, good))


def examine(settings: EndpointSettings) -> Examination:
    """Ask a server what `tunalm doctor` reports.

    Raises:
        EngineError: there is no server, or it does not accept the key.
    """
    found = Examination(settings)
    found.listed()
    reply = found.answers()
    if reply.failure is None:
        found.seed(reply)
        found.temperature(reply)
        found.several()
        found.schema()
    found.given_text()
    return found


async def _get_models(wire: Wire) -> Answer:
    async with wire.connected():
        return await wire.exchange("GET", "/models", partial(read_body, limit=LARGEST_LIST))


def _sum(reply: Completion) -> float | None:
    return None if reply.failure is not None else reply.logprob


def _end(reply: Completion) -> str:
    """Whether the log-probabilities of a reply include that of the end token."""
    if reply.finish_reason != "stop" or reply.completion_tokens is None:
        return "the end token's was not seen"
    count = len(reply.token_logprobs or [])
    return "with that of the end token" if count >= reply.completion_tokens else "without that of the end token"


def _is_number(text: str) -> bool:
    try:
        value: Any = json.loads(text)
    except ValueError:
        return False
    return isinstance(value, dict) and value.keys() == {"legs"} and isinstance(value["legs"], int)
