"""Log-probabilities of given responses: kept like answers, asked for once, whole units after a kill."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from pytest_httpserver import HTTPServer
from werkzeug import Request as Received
from werkzeug import Response

from tunalm.calls.asking import complete
from tunalm.calls.budget import Budget
from tunalm.calls.prices import Price, Prices
from tunalm.calls.spending import accounts
from tunalm.engines.base import Completion, Journal, Request
from tunalm.engines.batch.engine import BatchEngine
from tunalm.engines.endpoint.engine import EndpointEngine
from tunalm.engines.scripted import UNIT, ScriptedEngine
from tunalm.errors import BudgetError, EngineError
from tunalm.recipe import BatchSettings, EndpointSettings, ScriptedSettings
from tunalm.records import Message

QUESTION = [Message(role="user", content="a b")]


class KillError(Exception):
    """Stands for a kill."""


class Witness(ScriptedEngine):
    """Counts the texts that it scores, and dies in the middle if told so."""

    scored = 0
    lives = math.inf

    def generate(self, batches: Sequence[Sequence[Request]], journal: Journal) -> Iterator[list[Completion]]:
        """Score texts while there are lives."""
        for unit in super().generate(batches, journal):
            if self.scored >= self.lives:
                raise KillError
            self.scored += len(unit)
            yield unit


def witness() -> Witness:
    return Witness(ScriptedSettings())


def questions(count: int) -> list[Request]:
    return [
        Request.to_score([Message(role="user", content=f"w{number} b")], f"b w{number}", ended=True)
        for number in range(count)
    ]


def test_a_request_tells_what_is_scored_and_whether_its_end_counts() -> None:
    ended, cut = (Request.to_score(QUESTION, "b a", ended=ended) for ended in (True, False))
    assert ended.key != cut.key
    assert Request.to_score(QUESTION, "b a", ended=True) == ended
    for request, has_end in ((ended, True), (cut, False)):
        assert request.prompt == QUESTION
        ((scored,),) = witness().generate([[request]], Journal())
        assert (scored.key, scored.num_tokens) == (request.key, 2 + has_end)
        assert scored.text == "b a"
        assert scored.logprob == pytest.approx(-math.log(2))


def test_scores_are_kept_and_not_asked_for_again(tmp_path: Path) -> None:
    engine = witness()
    first = complete(engine, questions(5), tmp_path / "ledger", "scoring")
    assert engine.scored == 5
    assert complete(engine, questions(5), tmp_path / "ledger", "scoring") == first
    assert engine.scored == 5


def test_a_kill_loses_the_unit_that_was_under_way_and_changes_nothing(tmp_path: Path) -> None:
    asked = questions(UNIT * 2 + 3)
    whole = complete(witness(), asked, tmp_path / "whole", "scoring")
    engine = witness()
    engine.lives = 1  # dies after the first unit
    with pytest.raises(KillError):
        complete(engine, asked, tmp_path / "killed", "scoring")
    again = witness()
    assert complete(again, asked, tmp_path / "killed", "scoring") == whole
    assert again.scored == len(asked) - UNIT


def test_an_engine_that_scores_no_given_text_is_refused_before_the_first_request(tmp_path: Path) -> None:
    asked: list[Request] = []

    def answer(request: Request) -> str:
        asked.append(request)
        return "x"

    engines = (
        ScriptedEngine.from_function(answer),
        EndpointEngine(EndpointSettings(base_url="http://127.0.0.1:1/v1", model="m")),
        BatchEngine(BatchSettings(base_url="http://127.0.0.1:1/v1", model="m", protocol="completions")),
    )
    for engine in engines:
        with pytest.raises(EngineError, match="kind: endpoint and protocol: completions"):
            complete(engine, questions(1), tmp_path / "ledger", "scoring")
    assert not asked


def echo(received: Received) -> Response:
    """An answer that echoes the response as one token."""
    prompt = json.loads(received.get_data())["prompt"]
    at = prompt.index("### Response:") + len("### Response:")
    values = {"token_logprobs": [None, -0.5, -9.0], "text_offset": [0, at, len(prompt)]}
    choice = {"index": 0, "text": prompt + "!", "finish_reason": "length", "logprobs": values}
    usage = {"prompt_tokens": 20, "completion_tokens": 1}
    return Response(json.dumps({"choices": [choice], "usage": usage}), mimetype="application/json")


def served(httpserver: HTTPServer) -> EndpointEngine:
    settings = EndpointSettings(base_url=httpserver.url_for("/v1"), model="tiny", protocol="completions", max_retries=0)
    return EndpointEngine(settings)


def test_calls_to_a_server_are_in_the_ledger_and_paid_once(httpserver: HTTPServer, tmp_path: Path) -> None:
    httpserver.expect_request("/v1/completions").respond_with_handler(echo)
    engine, ledger = served(httpserver), tmp_path / "ledger"
    prices = Prices((Price(host="*", model="*", prompt=1, completion=2),))
    budget = Budget(1.0, prices)
    for _ in range(2):
        answers = complete(engine, questions(3), ledger, "scoring", budget=budget)
        assert [(answer.logprob, answer.failure) for answer in answers.values()] == [(-0.5, None)] * 3
        (account,) = accounts(ledger).values()
        assert (account.calls, account.answered, account.prompt_tokens) == (3, 3, 60)
        assert account.cost == pytest.approx(3 * (20 * 1 + 1 * 2) / 1e6)
    assert len(httpserver.log) == 3
    poor = Budget(1e-9, prices)
    with pytest.raises(BudgetError):
        complete(engine, questions(4), tmp_path / "other", "scoring", budget=poor)
    assert len(httpserver.log) == 3


def test_a_refusal_is_a_failure(httpserver: HTTPServer, tmp_path: Path) -> None:
    httpserver.expect_request("/v1/completions").respond_with_json({"error": {"message": "no echo here"}}, status=400)
    (answer,) = complete(served(httpserver), questions(1), tmp_path / "ledger", "scoring").values()
    assert "no echo here" in (answer.failure or "")


def test_a_server_that_does_not_echo_ends_the_run_at_its_first_replies(httpserver: HTTPServer, tmp_path: Path) -> None:
    choice = {"index": 0, "text": "!", "finish_reason": "length", "logprobs": None}
    httpserver.expect_request("/v1/completions").respond_with_json({"choices": [choice]})
    with pytest.raises(EngineError, match="a server that echoes"):
        complete(served(httpserver), questions(200), tmp_path / "ledger", "scoring")
    assert len(httpserver.log) < 50
