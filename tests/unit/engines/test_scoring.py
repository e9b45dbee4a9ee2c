"""Log-probabilities of given responses: what is asked, who can be asked, and that a call is paid once."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
from pytest_httpserver import HTTPServer
from werkzeug import Request as Received
from werkzeug import Response

from tunalm.calls.asking import complete
from tunalm.calls.budget import Budget
from tunalm.calls.prices import Price, Prices
from tunalm.calls.spending import accounts
from tunalm.engines.base import Journal, Request
from tunalm.engines.batch.engine import BatchEngine
from tunalm.engines.endpoint.engine import EndpointEngine
from tunalm.engines.scripted import ScriptedEngine
from tunalm.errors import BudgetError, EngineError
from tunalm.recipe import BatchSettings, EndpointSettings, ScriptedSettings
from tunalm.records import Message

QUESTION = [Message(role="user", content="a b")]


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
        ((scored,),) = ScriptedEngine(ScriptedSettings()).generate([[request]], Journal())
        assert (scored.key, scored.num_tokens) == (request.key, 2 + has_end)
        assert scored.text == "b a"
        assert scored.logprob == pytest.approx(-math.log(2))


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
