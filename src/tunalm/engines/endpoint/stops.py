"""What ends a run against a server: answers that every other request would get too, as errors for the user."""

from __future__ import annotations

from tunalm.engines.endpoint.addresses import OPENAI_HOST, OPENAI_KEY
from tunalm.engines.endpoint.replies import ReplyReader
from tunalm.engines.endpoint.retries import NO_ROOM, asked_pause
from tunalm.engines.endpoint.wire import Answer
from tunalm.errors import EngineError
from tunalm.recipe import Served

AGAIN = "run the same command again; it resumes."


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
        if status in (401, 403):
            variable = settings.api_key_env or (OPENAI_KEY if self._host == OPENAI_HOST else None)
            fix = f"Check the key in {variable}." if variable else "Name the variable with the key: api_key_env."
        elif status == 402 or (status == 429 and b"insufficient_quota" in answer.body):
            fix = f"Give the account credit, then {AGAIN}"
        elif status in (404, 405):
            fix = f"Check whether it serves the model '{settings.model}', and base_url (it usually ends in /v1)."
        elif 300 <= status < 400:
            fix = "Give the address that it redirects to as base_url."
        elif status in NO_ROOM and (pause := max(asked_pause(answer.headers) or 0.0, refusing_for)) > settings.patience:
            fix = f"It has no room for {pause:.0f} seconds, and patience is {settings.patience:g}. Wait, then {AGAIN}"
        else:
            return None
        said = self._reader.explanation(answer.body)
        return EngineError(self._identity, found=f"it answers HTTP {status} ({said})", fix=fix)

    def failure(self, answer: Answer) -> str:
        """The failure of the requests that an error status answers."""
        return self._reader.refusal(answer.status, answer.body)

    def unreachable(self, reason: str) -> EngineError:
        """Nobody answers."""
        found = f"no server answers ({self._reader.clean(reason)})"
        return EngineError(self._identity, found=found, fix=f"Start it or correct base_url, then {AGAIN}")

    def without_logprobs(self) -> EngineError:
        """The server does not give what a whole stage needs."""
        return EngineError(
            self._identity,
            found="it answers without log-probabilities, and the stage has logprobs: true",
            fix="Choose a model that gives them (one in this process does), or rank with by: judge.",
        )

    def without_echo(self) -> EngineError:
        """The server does not say how likely a text is that it is sent."""
        return EngineError(
            self._identity,
            found="it gives no log-probabilities of a text that it is sent (echo)",
            fix="Score with a model in this process, or with a server that echoes (vLLM does).",
        )
