"""An OpenAI-compatible server that is asked how likely its model finds a response which is given.

The server is sent prompt and response through `/completions` and must echo them with their log-probabilities. It knows
of no end token there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

from tunalm.engines.base import Capabilities, Completion, Journal, Request
from tunalm.engines.endpoint.bodies import PATHS, echo_body, prompt_text
from tunalm.engines.endpoint.calls import Calls, Question, Unit
from tunalm.engines.endpoint.faults import Fault
from tunalm.engines.endpoint.replies import ReplyReader
from tunalm.engines.endpoint.wire import Answer
from tunalm.errors import EngineError
from tunalm.recipe import EndpointSettings

if TYPE_CHECKING:
    from tunalm.engines.endpoint.engine import EndpointEngine


class EndpointScorer:
    """Answers requests whose response is `given`, one a call.

    Args:
        engine: the server as it is asked for new responses.
        settings: of the engine.
        reader: of its replies.
        calls: makes calls that tell a journal.
        without_echo: what ends the run when the server echoes nothing; None makes it a failure of each request.
    """

    def __init__(
        self,
        engine: EndpointEngine,
        settings: EndpointSettings,
        reader: ReplyReader,
        calls: Callable[[Journal, Question], Calls],
        without_echo: Callable[[], EngineError] | None,
    ) -> None:
        self._engine, self._settings, self._reader, self._calls = engine, settings, reader, calls
        self._without_echo = without_echo
        self.identity = engine.identity
        self.max_duplicates = engine.max_duplicates
        self.capabilities = Capabilities(logprobs=True)

    def batches(self, requests: Sequence[Request]) -> list[list[Request]]:
        """Every request alone."""
        return [[request] for request in requests]

    def generate(self, batches: Sequence[Sequence[Request]], journal: Journal) -> Iterator[list[Completion]]:
        """Ask for all, at most `concurrency` at a time, yielding each when it is done."""
        return self._calls(journal, _Echo(self._settings, self._reader, self._without_echo)).results(batches)

    def read(self, unit: Sequence[Request], status: int, body: bytes) -> list[Completion]:
        """Completions of a unit from the body of a reply that was kept."""
        return _read(self._reader, unit, Answer(status, {}, body))

    def score(self, texts: Sequence[tuple[Request, str]]) -> list[Completion]:
        """As the engine does."""
        return self._engine.score(texts)


class _Echo:
    """Asks for a prompt and a response to be echoed."""

    path = PATHS["completions"]

    def __init__(
        self, settings: EndpointSettings, reader: ReplyReader, without_echo: Callable[[], EngineError] | None
    ) -> None:
        self._settings, self._reader, self._without_echo = settings, reader, without_echo
        self._echoes = False

    def body(self, unit: Unit) -> bytes:
        prompt, text = _parts(unit[0])
        return echo_body(self._settings, prompt, text)

    def read(self, unit: Unit, answer: Answer) -> list[Completion]:
        completions = _read(self._reader, unit, answer)
        self._echoes |= any(completion.token_logprobs for completion in completions)
        missing = any((completion.failure or "").startswith(Fault.MISSING_LOGPROBS) for completion in completions)
        if missing and not self._echoes and self._without_echo is not None:
            raise self._without_echo()
        return completions


def _read(reader: ReplyReader, unit: Unit, answer: Answer) -> list[Completion]:
    if not answer.succeeded:
        return reader.completions(unit, answer.status, answer.body)
    prompt, text = _parts(unit[0])
    return [reader.scored(unit[0], prompt, text, answer.body)]


def _parts(request: Request) -> tuple[str, str]:
    """Prompt and response as plain text."""
    return prompt_text(request.model_copy(update={"messages": request.messages[:-1]})), request.messages[-1].content
