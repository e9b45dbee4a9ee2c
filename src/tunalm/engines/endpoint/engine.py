"""An OpenAI-compatible server as an engine (OpenAI, vLLM, SGLang, llama.cpp).

A call is made over `wire`, when `limits` lets it go, again if `retries` says so, and its reply is read by `replies`;
`calls` puts these together. A key goes to the one address that it was named for (`addresses`).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from tunalm.engines.base import Capabilities, Completion, Journal, NoJournal, Request
from tunalm.engines.endpoint.addresses import OPENAI_HOST, checked_host, find_key
from tunalm.engines.endpoint.bodies import PATHS, request_body, siblings
from tunalm.engines.endpoint.calls import Calls, Unit
from tunalm.engines.endpoint.faults import Fault
from tunalm.engines.endpoint.limits import Concurrency, Quota
from tunalm.engines.endpoint.replies import ReplyReader
from tunalm.engines.endpoint.stops import Stops
from tunalm.engines.endpoint.wire import Answer, Wire
from tunalm.recipe import EndpointSettings


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
        self._reader = ReplyReader(settings.model, self._key)
        self.identity = f"endpoint {self._url} {settings.model}"
        if settings.protocol != "chat":
            self.identity += f" {settings.protocol}"
        self.max_duplicates = settings.max_duplicates
        self._stops = Stops(self.identity, settings, self._host, self._reader)
        self.capabilities = Capabilities(
            logprobs=True,
            json_schema=True,
            n=settings.max_n > 1,
            raw=settings.protocol == "completions",
            scores=settings.protocol == "completions",
            notes=(
                "log-probabilities are those that the server reports; some servers report them after temperature "
                "(the same at temperature 1), and some leave out the end token",
            ),
        )

    def batches(self, requests: Sequence[Request]) -> list[list[Request]]:
        """Requests that differ in key and seed alone make units of up to `max_n`, in the order of their keys."""
        return siblings(requests, self._settings.max_n)

    def generate(self, batches: Sequence[Sequence[Request]], journal: Journal) -> Iterator[list[Completion]]:
        """Answer units, at most `concurrency` at a time, yielding each when it is done.

        Leaving the loop ends the requests.
        """
        settings = self._settings
        limit = Concurrency(
            settings.concurrency,
            Quota(settings.requests_per_minute) if settings.requests_per_minute else None,
            Quota(settings.tokens_per_minute) if settings.tokens_per_minute else None,
        )
        wire = Wire(self._url, self._key, settings.timeout)
        question = _Asking(settings, self._host, self._reader, self._stops)
        return Calls(wire, limit, self._stops, journal, question, settings.max_retries).results(batches)

    def read(self, unit: Sequence[Request], status: int, body: bytes) -> list[Completion]:
        """Completions of a unit from the body of a reply that was kept."""
        return self._reader.completions(unit, status, body)

    def probe(self, request: Request) -> Completion:
        """Answer one small request outside of any run (see `Probed`)."""
        ((completion,),) = self.generate([[request]], NoJournal())
        return completion


class _Asking:
    """Asks for responses, or for the log-probabilities of those that are given."""

    def __init__(self, settings: EndpointSettings, host: str, reader: ReplyReader, stops: Stops) -> None:
        self.path = PATHS[settings.protocol]
        self._settings, self._openai, self._reader, self._stops = settings, host == OPENAI_HOST, reader, stops
        self._gives_logprobs = False

    def body(self, unit: Unit) -> bytes:
        return request_body(self._settings, unit, openai=self._openai)

    def read(self, unit: Unit, answer: Answer) -> list[Completion]:
        completions = self._reader.completions(unit, answer.status, answer.body)
        self._gives_logprobs |= any(completion.token_logprobs for completion in completions)
        if not self._gives_logprobs and any(
            (completion.failure or "").startswith(Fault.MISSING_LOGPROBS) for completion in completions
        ):
            raise self._stops.without_echo() if unit[0].given else self._stops.without_logprobs()
        return completions
