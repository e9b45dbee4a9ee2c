"""An OpenAI-compatible server as an engine (OpenAI, vLLM, SGLang, llama.cpp).

Three things are kept in our own hands. Retries: the SDK's are off. Keys: a key goes to the one address that it was
named for, and nothing that the SDK finds in the environment goes to another. Replies: they are read by the small
models below, because a server may send anything.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Iterator, Sequence
from queue import SimpleQueue
from typing import Any

import anyio
import httpx2
import openai
import stamina
from anyio.from_thread import start_blocking_portal
from pydantic import BaseModel, ValidationError

from tunalm.engines.addresses import OPENAI_HOST, OPENAI_KEY, checked_host, find_key, is_loopback
from tunalm.engines.base import Capabilities, Completion, Request
from tunalm.engines.retries import pause_before_retry
from tunalm.errors import EngineError
from tunalm.recipe import EndpointSettings

NO_KEY = "no-key"
"""Sent where no key belongs; the SDK insists on one."""
SENT_HEADERS = frozenset(
    {"accept", "accept-encoding", "connection", "content-length", "content-type", "host", "user-agent"}
)
LONGEST_CONNECT = 10.0
"""Seconds in which a server must accept a connection."""
ROUNDING = 1e-3
"""A log-probability may exceed 0 by so much and is then taken for 0."""

_silent = logging.NullHandler()


class EndpointEngine:
    """Asks a server, several requests at a time.

    Raises:
        EngineError: the address is not usable, or the variable that should hold its key is not set.
    """

    def __init__(self, settings: EndpointSettings, *, trust_remote_code: bool = False) -> None:
        self._settings = settings
        self._url = settings.base_url.rstrip("/")
        self._host = checked_host(self._url)
        self._key = find_key(settings.api_key_env, self._host)
        self.identity = f"endpoint {self._url} {settings.model}"
        self.capabilities = Capabilities(
            logprobs=True,
            json_schema=True,
            notes=(
                "log-probabilities are those that the server reports; some servers report them after temperature "
                "(the same at temperature 1), and some leave out the end token",
            ),
        )

    def batches(self, requests: Sequence[Request]) -> list[list[Request]]:
        """Every request is a unit of its own."""
        return [[request] for request in requests]

    def generate(self, batches: Sequence[Sequence[Request]]) -> Iterator[list[Completion]]:
        """Answer units, `concurrency` at a time, yielding each when it is done; leaving the loop ends the requests."""
        done: SimpleQueue[list[Completion] | EngineError | None] = SimpleQueue()
        with start_blocking_portal() as portal:
            work = portal.start_task_soon(self._answer_all, batches, done)
            while (unit := done.get()) is not None:
                if isinstance(unit, EngineError):
                    raise unit
                yield unit
            work.result()

    async def _answer_all(
        self,
        batches: Sequence[Sequence[Request]],
        done: SimpleQueue[list[Completion] | EngineError | None],
    ) -> None:
        waiting = iter(batches)

        async def work_through() -> None:
            for unit in waiting:
                try:
                    done.put([await self._answer(client, request) for request in unit])
                except EngineError as error:
                    done.put(error)
                    group.cancel_scope.cancel()

        try:
            async with self._client() as client, anyio.create_task_group() as group:
                for _ in range(min(self._settings.concurrency, len(batches))):
                    group.start_soon(work_through)
        finally:
            done.put(None)

    def _client(self) -> openai.AsyncOpenAI:
        logging.getLogger("stamina").addHandler(_silent)  # else every retry is printed through the progress bar
        timeout = httpx2.Timeout(self._settings.timeout, connect=min(self._settings.timeout, LONGEST_CONNECT))
        http = openai.DefaultAsyncHttpxClient(
            timeout=timeout,
            follow_redirects=False,
            trust_env=not is_loopback(self._host),  # no proxy between this machine and itself
            event_hooks={"request": [self._send_only_ours]},
        )
        key = self._key or NO_KEY
        return openai.AsyncOpenAI(base_url=self._url, api_key=key, max_retries=0, timeout=timeout, http_client=http)

    async def _send_only_ours(self, request: httpx2.Request) -> None:
        """Drop what the SDK adds from the environment (organisation, project, custom headers) for another host."""
        if self._host == OPENAI_HOST:
            return
        for name in {*request.headers} - SENT_HEADERS:
            del request.headers[name]
        request.headers["authorization"] = f"Bearer {self._key or NO_KEY}"

    async def _answer(self, client: openai.AsyncOpenAI, request: Request) -> Completion:
        try:
            response = await self._post(client, self._body(request))
        except openai.APIStatusError as error:
            if fatal := self._fatal(error):
                raise fatal from None
            return _failed(request, f"HTTP {error.status_code}: {self._says(error)}")
        except (openai.APITimeoutError, TimeoutError) as error:
            if isinstance(error.__cause__, httpx2.ConnectTimeout):
                raise self._unreachable("no connection in time") from None
            return _failed(request, f"no reply within {self._settings.timeout:g} seconds")
        except openai.APIConnectionError as error:
            if isinstance(error.__cause__, httpx2.ConnectError):
                raise self._unreachable(self._clean(str(error.__cause__)) or "no connection") from None
            return _failed(request, f"the connection broke ({type(error.__cause__ or error).__name__})")
        return self._read(request, response.content)

    async def _post(self, client: openai.AsyncOpenAI, body: dict[str, Any]) -> httpx2.Response:
        attempts = self._settings.max_retries + 1
        async for attempt in stamina.retry_context(
            pause_before_retry, attempts=attempts, timeout=None, wait_initial=0.5, wait_max=30.0
        ):
            with attempt, anyio.fail_after(self._settings.timeout):
                return await client.post("/chat/completions", cast_to=httpx2.Response, body=body)
        raise AssertionError("stamina raises the last error itself")

    def _body(self, request: Request) -> dict[str, Any]:
        limit = "max_completion_tokens" if self._host == OPENAI_HOST else "max_tokens"
        body: dict[str, Any] = {
            "model": self._settings.model,
            "messages": [{"role": message.role, "content": message.text} for message in request.messages],
            "temperature": request.temperature,
            "seed": request.seed & 0x7FFFFFFF,  # the widest range that every server takes
            limit: request.max_new_tokens,
        }
        if request.top_p != 1:
            body["top_p"] = request.top_p
        if request.logprobs:
            body |= {"logprobs": True, "top_logprobs": 1}  # llama.cpp would send twenty alternatives a token
        if request.json_schema is not None:
            schema = {"name": "reply", "schema": request.json_schema, "strict": True}
            body["response_format"] = {"type": "json_schema", "json_schema": schema}
        return body

    def _read(self, request: Request, content: bytes) -> Completion:
        try:
            reply = _Reply.model_validate_json(content)
        except ValidationError:
            return _failed(request, "the reply is not a chat completion")
        if not reply.choices:
            return _failed(request, "the reply has no choices")
        choice = reply.choices[0]
        text = choice.message.content or ""
        if choice.finish_reason == "content_filter":
            return _failed(request, "the server's content filter stopped the reply")
        if not text.strip():
            refusal = choice.message.refusal
            why = f"refusal: {self._clean(refusal)}" if refusal else f"no text (finish reason {choice.finish_reason})"
            return _failed(request, why)
        usage = reply.usage or _Usage()
        tokens, logprobs = usage.completion_tokens, None
        if request.logprobs:
            logprobs = self._logprobs(choice)
            if not all(math.isfinite(value) and value <= ROUNDING for value in logprobs):
                return _failed(request, "the reply has log-probabilities that are not finite, or above 0")
            logprobs = [min(value, 0.0) for value in logprobs]
            tokens = len(logprobs)
        return Completion(
            key=request.key,
            text=text,
            model=reply.model or self._settings.model,
            finish_reason=choice.finish_reason,
            num_tokens=tokens,
            token_logprobs=logprobs,
            prompt_tokens=usage.prompt_tokens,
        )

    def _logprobs(self, choice: _Choice) -> list[float]:
        content = choice.logprobs.content if choice.logprobs else None
        if not content:
            raise EngineError(
                self.identity,
                found="replies without log-probabilities",
                expected="them, because the stage asked with logprobs: true",
                fix="Choose a model that gives them (one in this process does), or rank with by: judge.",
            )
        return [token.logprob for token in content]

    def _fatal(self, error: openai.APIStatusError) -> EngineError | None:
        """The error that ends the run, if no other request can fare better."""
        status, settings = error.status_code, self._settings
        if status in (401, 403):
            variable = settings.api_key_env or (OPENAI_KEY if self._host == OPENAI_HOST else None)
            expected = "a key that this address accepts"
            fix = f"Check the value of {variable}." if variable else "Name the variable that holds it: api_key_env."
        elif status == 402 or error.code == "insufficient_quota":
            expected, fix = (
                "an account with credit",
                "Top it up, then run the same command again: it goes on from here.",
            )
        elif status in (404, 405):
            expected, fix = f"the model '{settings.model}'", "Check model, and base_url (it usually ends in /v1)."
        elif 300 <= status < 400:
            expected, fix = "an answer from this very address", "Give the address that it redirects to as base_url."
        else:
            return None
        return EngineError(self.identity, found=f"HTTP {status} ({self._says(error)})", expected=expected, fix=fix)

    def _unreachable(self, reason: str) -> EngineError:
        return EngineError(
            self.identity,
            found=f"no server that answers ({reason})",
            expected="one at base_url",
            fix="Start it or correct base_url, then run the same command again: it goes on from here.",
        )

    def _says(self, error: openai.APIStatusError) -> str:
        body = error.body
        said = (body.get("message") or body.get("detail")) if isinstance(body, dict) else body
        return self._clean(str(said)) if said else "no explanation"

    def _clean(self, text: str) -> str:
        """A server's words on one line, at most 200 characters, without control characters and without the key."""
        if self._key:
            text = text.replace(self._key, "[key]")
        return " ".join("".join(char if char.isprintable() else " " for char in text).split())[:200]


class _Message(BaseModel):
    content: str | None = None
    refusal: str | None = None


class _TokenLogprob(BaseModel):
    logprob: float


class _Logprobs(BaseModel):
    content: list[_TokenLogprob] | None = None


class _Choice(BaseModel):
    message: _Message
    finish_reason: str | None = None
    logprobs: _Logprobs | None = None


class _Usage(BaseModel):
    prompt_tokens: int | None = None
    completion_tokens: int | None = None


class _Reply(BaseModel):
    choices: list[_Choice]
    model: str | None = None
    usage: _Usage | None = None


def _failed(request: Request, reason: str) -> Completion:
    return Completion(key=request.key, failure=reason)
