"""What ends a run against a server: answers that no other request can fare better than, as errors for the user."""

from __future__ import annotations

from tunalm.engines.endpoint.addresses import OPENAI_HOST, OPENAI_KEY
from tunalm.engines.endpoint.replies import ReplyReader
from tunalm.engines.endpoint.retries import NO_ROOM, asked_pause
from tunalm.engines.endpoint.wire import Answer
from tunalm.errors import EngineError
from tunalm.recipe import Served

AGAIN = "run the same command again: it goes on from here."


class Stops:
    """Knows what is final for one address."""

    def __init__(self, identity: str, settings: Served, host: str, reader: ReplyReader) -> None:
        self._identity = identity
        self._settings = settings
        self._host = host
        self._reader = reader

    def reason(self, answer: Answer, refusing_for: float) -> EngineError | None:
        """The error that ends the run after an answer, or None if others may fare better.

        Args:
            answer: with a status that is no success.
            refusing_for: seconds for which the server has refused everything.
        """
        status, settings = answer.status, self._settings
        said = self._reader.explanation(answer.body)
        if status in (401, 403):
            variable = settings.api_key_env or (OPENAI_KEY if self._host == OPENAI_HOST else None)
            expected = "a key that this address accepts"
            fix = f"Check the value of {variable}." if variable else "Name the variable that holds it: api_key_env."
        elif status == 402 or (status == 429 and b"insufficient_quota" in answer.body):
            expected, fix = "an account with credit", f"Top it up, then {AGAIN}"
        elif status in (404, 405):
            expected, fix = f"the model '{settings.model}'", "Check model, and base_url (it usually ends in /v1)."
        elif 300 <= status < 400:
            expected, fix = "an answer from this very address", "Give the address that it redirects to as base_url."
        elif status in NO_ROOM and (pause := max(asked_pause(answer.headers) or 0.0, refusing_for)) > settings.patience:
            expected = f"room for a request within {settings.patience:g} seconds (patience), not {pause:.0f}"
            fix = f"Wait, then {AGAIN}"
        else:
            return None
        return EngineError(self._identity, found=f"HTTP {status} ({said})", expected=expected, fix=fix)

    def failure(self, answer: Answer) -> str:
        """What an answer with an error status comes to for its requests."""
        return f"http-{answer.status}: {self._reader.explanation(answer.body)}"

    def unreachable(self, reason: str) -> EngineError:
        """Nobody answers."""
        return EngineError(
            self._identity,
            found=f"no server that answers ({self._reader.clean(reason)})",
            expected="one at base_url",
            fix=f"Start it or correct base_url, then {AGAIN}",
        )

    def without_logprobs(self) -> EngineError:
        """The server does not give what a whole stage needs."""
        return EngineError(
            self._identity,
            found="replies without log-probabilities",
            expected="them, because the stage asked with logprobs: true",
            fix="Choose a model that gives them (one in this process does), or rank with by: judge.",
        )

    def without_echo(self) -> EngineError:
        """The server does not say how likely a text is that it is sent."""
        return EngineError(
            self._identity,
            found="replies without the log-probabilities of the prompt",
            expected="them, to score a text that is given (echo)",
            fix="Score with a model in this process, or with a server that echoes (vLLM does).",
        )
