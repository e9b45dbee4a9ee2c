"""An OpenAI-compatible server as an engine (OpenAI, vLLM, SGLang, llama.cpp).

A call is put into words by `bodies`, made over `wire` when `limits` lets it go, again if `retries` says so, and its
reply is read by `replies`; `calls` puts these together. A key goes to the address that it was named for (`addresses`).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from tunalm.engines.base import Capabilities, Completion, Journal, Request
from tunalm.engines.endpoint.addresses import OPENAI_HOST, checked_host, find_key
from tunalm.engines.endpoint.bodies import Dialect, Prompts, siblings
from tunalm.engines.endpoint.calls import ServerCalls, Unit
from tunalm.engines.endpoint.faults import Fault
from tunalm.engines.endpoint.limits import Concurrency
from tunalm.engines.endpoint.replies import ReplyReader
from tunalm.engines.endpoint.seeds import SeedWatch
from tunalm.engines.endpoint.stops import Stops
from tunalm.engines.endpoint.wire import Fleet, Wire
from tunalm.errors import EngineError
from tunalm.recipe import EndpointSettings


class EndpointEngine:
    """Asks a server, several requests at a time.

    Args:
        settings: who is asked, and how.
        trust_remote_code: of no meaning here.
        prompts: makes the prompts of `protocol: completions`; Alpaca prompts where not given.

    Raises:
        EngineError: an address is not usable, or the variable that should hold its key is not set.
    """

    def __init__(
        self, settings: EndpointSettings, *, trust_remote_code: bool = False, prompts: Prompts | None = None
    ) -> None:
        self._settings = settings
        self._urls = [url.rstrip("/") for url in settings.addresses]
        host, *others = [checked_host(url) for url in self._urls]
        if settings.api_key_env is not None and any(other != host for other in others):
            raise EngineError(
                "engine.api_key_env",
                found=f"one key for {host} and {others[0]}",
                fix="Give addresses of one host, or ask each host in a stage of its own.",
            )
        self._key = find_key(settings.api_key_env, host)
        self._reader = ReplyReader(settings, self._key)
        self.identity = settings.identity()
        self._stops = Stops(self.identity, settings, host, self._reader)
        self._dialect = Dialect(settings, openai=host == OPENAI_HOST, prompts=prompts)
        self._gives_logprobs = self._ignores_seed = False
        self.capabilities = Capabilities(
            logprobs=True,
            json_schema=True,
            scores=settings.protocol == "completions",
            n=settings.max_n > 1,
            max_duplicates=settings.max_duplicates,
            raw=settings.protocol == "completions",
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

        A request whose response is given goes to `/completions`, which must echo prompt and response with their
        log-probabilities. Leaving the loop ends the requests.

        Raises:
            EngineError: no other request can fare better; what was in flight has been yielded by then.
        """
        settings = self._settings
        limit = Concurrency(settings.concurrency, settings.requests_per_minute, settings.tokens_per_minute)
        fleet = Fleet([Wire(url, self._key, settings.timeout) for url in self._urls])
        calls = ServerCalls(
            fleet, limit, self._stops, self._dialect, self._read, self._check, journal, settings.max_retries
        )
        watch = SeedWatch(batches, silent=self._ignores_seed)
        for unit in calls.results(batches):
            watch.see(unit)
            yield unit
        self._ignores_seed = self._ignores_seed or watch.suspects()

    def _read(self, unit: Unit, status: int, body: bytes) -> list[Completion]:
        if not unit[0].given or not 200 <= status < 300:
            return self._reader.completions(unit, status, body)
        return [self._reader.scored(unit[0], *self._dialect.given(unit[0]), body)]

    def probe(self, request: Request) -> Completion:
        """Answer one small request outside of any run (see `Probed`)."""
        ((completion,),) = self.generate([[request]], Journal())
        return completion

    def _check(self, unit: Unit, completions: list[Completion]) -> None:
        """End the run if the server gives no log-probabilities at all."""
        self._gives_logprobs |= any(completion.token_logprobs for completion in completions)
        if not self._gives_logprobs and any(
            (completion.failure or "").startswith(Fault.MISSING_LOGPROBS) for completion in completions
        ):
            raise self._stops.without_echo() if unit[0].given else self._stops.without_logprobs()
