"""What `tunalm doctor` says about servers that can do more or less, each of which is really asked."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from pytest_httpserver import HTTPServer
from werkzeug import Request as Received
from werkzeug import Response
from werkzeug.exceptions import BadRequest

from tunalm.engines.endpoint import probe
from tunalm.engines.endpoint.probe import Examination, examine
from tunalm.errors import EngineError
from tunalm.recipe import EndpointSettings

Examine = Callable[..., Examination]


class Server:
    """A chat server whose abilities are switched on and off."""

    def __init__(self, **abilities: Any) -> None:
        self.logprobs = self.seed = self.n = self.schema = self.echo = self.end_token = True
        self.cold = False
        """Whether log-probabilities are those of the draw."""
        self.refuses = ""
        """A field that is answered with HTTP 400."""
        self.__dict__ |= abilities
        self.asked: list[dict[str, Any]] = []

    def models(self, received: Received) -> Response:
        return _json({"data": [{"id": "tiny"}, {"id": "large"}]})

    def chat(self, received: Received) -> Response:
        body = json.loads(received.get_data())
        self.asked.append(body)
        if self.refuses and self.refuses in body:
            raise BadRequest
        text = "417" if self.seed else str(100 + len(self.asked))
        if "response_format" in body and self.schema:
            text = '{"legs": 4}'
        count = body.get("n", 1) if self.n else 1
        choices = [self._choice(index, text, body) for index in range(count)]
        usage = {"prompt_tokens": 9, "completion_tokens": 3 * count}
        return _json({"model": "tiny", "choices": choices, "usage": usage})

    def _choice(self, index: int, text: str, body: dict[str, Any]) -> dict[str, Any]:
        value = 0.0 if self.cold and body["temperature"] < 0.1 else -0.7
        tokens = [{"token": token, "logprob": value} for token in (text[:1], text[1:], "<end>")]
        logprobs = {"content": tokens[: 3 if self.end_token else 2]} if self.logprobs and body.get("logprobs") else None
        message = {"role": "assistant", "content": text}
        return {"index": index, "finish_reason": "stop", "logprobs": logprobs, "message": message}

    def completions(self, received: Received) -> Response:
        body = json.loads(received.get_data())
        self.asked.append(body)
        if not self.echo:
            return _json({"choices": [{"index": 0, "text": "?", "finish_reason": "length"}]})
        offsets = [0, len(probe.GIVEN[0]), len(body["prompt"])]
        logprobs = {"token_logprobs": [None, -0.4, -2.0], "text_offset": offsets, "tokens": ["", "", ""]}
        choice = {"index": 0, "text": body["prompt"] + "?", "finish_reason": "length", "logprobs": logprobs}
        return _json({"choices": [choice]})


def _json(value: Any) -> Response:
    return Response(json.dumps(value), content_type="application/json")


@pytest.fixture
def examined(httpserver: HTTPServer, monkeypatch: pytest.MonkeyPatch) -> Callable[..., tuple[Examination, Server]]:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)

    def ask(model: str = "tiny", **abilities: Any) -> tuple[Examination, Server]:
        server = Server(**abilities)
        httpserver.expect_request("/v1/models").respond_with_handler(server.models)
        httpserver.expect_request("/v1/chat/completions").respond_with_handler(server.chat)
        httpserver.expect_request("/v1/completions").respond_with_handler(server.completions)
        settings = EndpointSettings(base_url=httpserver.url_for("/v1"), model=model, timeout=5.0)
        return examine(settings), server

    return ask


def found(examination: Examination) -> dict[str, bool | None]:
    return {finding.what: finding.good for finding in examination.findings}


def test_a_server_that_can_do_everything(examined: Any, httpserver: HTTPServer) -> None:
    examination, server = examined()
    assert set(found(examination).values()) == {True}
    assert len(found(examination)) == 8
    assert all(verdict.startswith("yes") for _, verdict in examination.suits())
    assert examination.requests == len(httpserver.log) <= 8
    assert all(body.get("max_tokens", 0) <= 48 for body in server.asked), "few tokens"


@pytest.mark.parametrize(("end_token", "said"), [(True, "with"), (False, "without")])
def test_the_end_token_is_looked_for(examined: Any, end_token: bool, said: str) -> None:
    texts = {finding.what: finding.found for finding in examined(end_token=end_token)[0].findings}
    assert texts[probe.LOGPROBS] == f"yes, {said} that of the end token"


@pytest.mark.parametrize(
    ("abilities", "what", "good"),
    [
        ({"logprobs": False}, probe.LOGPROBS, False),
        ({"refuses": "logprobs"}, probe.LOGPROBS, False),
        ({"seed": False}, probe.SEED, None),
        ({"n": False}, probe.SEVERAL, False),
        ({"refuses": "n"}, probe.SEVERAL, False),
        ({"schema": False}, probe.SCHEMA, False),
        ({"refuses": "response_format"}, probe.SCHEMA, False),
        ({"echo": False}, probe.GIVEN_TEXT, False),
        ({"cold": True}, probe.TEMPERATURE, None),
        ({"model": "medium"}, probe.LISTED, False),
    ],
    ids=lambda value: "-".join(value) if isinstance(value, dict) else None,
)
def test_what_a_server_cannot_do_is_found_out_and_nothing_else(
    examined: Any, abilities: dict[str, Any], what: str, good: bool | None
) -> None:
    examination, _ = examined(**abilities)
    others = {other: works for other, works in found(examination).items() if other != what}
    assert found(examination)[what] is good
    assert set(others.values()) == {True}
    assert examination.requests <= 9


def test_each_lack_says_what_to_do_without(examined: Any) -> None:
    uses = dict(examined(logprobs=False, schema=False, n=False, echo=False)[0].suits())
    assert uses["sample, evaluate"] == "yes"
    assert "rank with by: judge" in uses["sample with logprobs, for rank by: likelihood"]
    assert uses["several responses per call"] == "no: leave max_n at 1"
    assert "with failures" in uses["rank by: judge"]


def test_a_server_that_answers_nothing_suits_nothing(httpserver: HTTPServer) -> None:
    httpserver.expect_request("/v1/models").respond_with_data("<html>")
    for path in ("/v1/chat/completions", "/v1/completions"):
        httpserver.expect_request(path).respond_with_json({"choices": []})
    examination = examine(EndpointSettings(base_url=httpserver.url_for("/v1"), model="tiny", timeout=5.0))
    assert found(examination)[probe.ANSWERS] is False
    assert examination.suits() == [("every stage", "no: it does not answer")]


def test_no_server_and_a_wrong_key_are_errors(httpserver: HTTPServer) -> None:
    with pytest.raises(EngineError, match="no server answers"):
        examine(EndpointSettings(base_url="http://127.0.0.1:9/v1", model="tiny", timeout=2.0))
    httpserver.expect_request("/v1/models").respond_with_data("", status=401)
    httpserver.expect_request("/v1/chat/completions").respond_with_data("", status=401)
    with pytest.raises(EngineError, match="api_key_env"):
        examine(EndpointSettings(base_url=httpserver.url_for("/v1"), model="tiny", timeout=5.0))
