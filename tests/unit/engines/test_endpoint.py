"""The endpoint engine against real sockets on this machine: answers, failures, retries, and where keys go."""

from __future__ import annotations

import json
import logging
import socket
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import httpx2
import openai
import pytest
import stamina
from pytest_httpserver import HTTPServer
from werkzeug import Request as Received
from werkzeug import Response

from tunalm.engines import open_engine
from tunalm.engines.base import Completion, Request
from tunalm.engines.endpoint import EndpointEngine
from tunalm.engines.retries import pause_before_retry
from tunalm.errors import EngineError
from tunalm.recipe import EndpointSettings
from tunalm.records import Message

PATH = "/v1/chat/completions"
SECRET = "sk-secret-0123456789"
AMBIENT = ["OPENAI_API_KEY", "OPENAI_ADMIN_KEY", "OPENAI_ORG_ID", "OPENAI_PROJECT_ID", "OPENAI_CUSTOM_HEADERS"]


@pytest.fixture(autouse=True)
def _no_pauses(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for name in AMBIENT:
        monkeypatch.delenv(name, raising=False)
    with stamina.set_testing(True, attempts=100, cap=True):
        yield


def reply(text: str | None = "Green.", finish: str = "stop", logprobs: list[float] | None = None) -> dict[str, Any]:
    content = None if logprobs is None else {"content": [{"token": "x", "logprob": value} for value in logprobs]}
    return {
        "model": "served-name",
        "choices": [
            {
                "index": 0,
                "finish_reason": finish,
                "logprobs": content,
                "message": {"role": "assistant", "content": text},
            }
        ],
        "usage": {"prompt_tokens": 5, "completion_tokens": 3},
    }


def request(key: str = "row", **changes: Any) -> Request:
    return Request(**{"key": key, "messages": [Message(role="user", content=f"Name a colour ({key}).")], **changes})


@pytest.fixture
def engine(httpserver: HTTPServer) -> Callable[..., EndpointEngine]:
    def make(**changes: Any) -> EndpointEngine:
        fields = {"base_url": httpserver.url_for("/v1"), "model": "tiny", "max_retries": 2, "timeout": 5.0, **changes}
        return EndpointEngine(EndpointSettings(**fields))

    return make


def answers(engine: EndpointEngine, *requests: Request) -> dict[str, Completion]:
    units = engine.generate(engine.batches(requests))
    return {completion.key: completion for unit in units for completion in unit}


def sent(httpserver: HTTPServer) -> list[dict[str, Any]]:
    return [json.loads(received.get_data()) for received, _ in httpserver.log]


def test_a_reply_becomes_a_completion(httpserver: HTTPServer, engine: Callable[..., EndpointEngine]) -> None:
    httpserver.expect_request(PATH, method="POST").respond_with_json(reply())
    asked = request(temperature=0.7, max_new_tokens=9, seed=2**40 + 3)
    assert answers(engine(), asked)["row"] == Completion(
        key="row", text="Green.", model="served-name", finish_reason="stop", num_tokens=3, prompt_tokens=5
    )
    assert sent(httpserver) == [
        {
            "model": "tiny",
            "messages": [{"role": "user", "content": "Name a colour (row)."}],
            "temperature": 0.7,
            "seed": 3,
            "max_tokens": 9,
        }
    ]


def test_a_reply_cut_at_the_limit_says_so(httpserver: HTTPServer, engine: Callable[..., EndpointEngine]) -> None:
    httpserver.expect_request(PATH).respond_with_json(reply("Green and", "length"))
    assert answers(engine(), request())["row"].finish_reason == "length"


def test_top_p_and_schema_are_sent_when_asked_for(
    httpserver: HTTPServer, engine: Callable[..., EndpointEngine]
) -> None:
    httpserver.expect_request(PATH).respond_with_json(reply('{"a": 1}'))
    schema = {"type": "object", "properties": {"a": {"type": "integer"}}}
    assert answers(engine(), request(top_p=0.9, json_schema=schema))["row"].text == '{"a": 1}'
    body = sent(httpserver)[0]
    assert body["top_p"] == 0.9
    assert body["response_format"]["type"] == "json_schema"
    assert body["response_format"]["json_schema"]["schema"] == schema


def test_log_probabilities_are_those_of_the_sampled_tokens(
    httpserver: HTTPServer, engine: Callable[..., EndpointEngine]
) -> None:
    httpserver.expect_request(PATH).respond_with_json(reply(logprobs=[-0.5, -1.25, 1e-7, -2.0]))
    completion = answers(engine(), request(logprobs=True))["row"]
    assert completion.token_logprobs == [-0.5, -1.25, 0.0, -2.0]
    assert completion.num_tokens == 4, "the tokens that were added up, whatever the server's usage says"
    assert completion.logprob == -3.75
    assert sent(httpserver)[0]["logprobs"] is True


def test_a_server_without_log_probabilities_is_refused(
    httpserver: HTTPServer, engine: Callable[..., EndpointEngine]
) -> None:
    httpserver.expect_request(PATH).respond_with_json(reply())
    with pytest.raises(EngineError, match="without log-probabilities"):
        answers(engine(), request(logprobs=True))


@pytest.mark.parametrize("bad", [float("nan"), float("-inf"), 0.5])
def test_impossible_log_probabilities_fail_the_row(
    httpserver: HTTPServer, engine: Callable[..., EndpointEngine], bad: float
) -> None:
    text = json.dumps(reply(logprobs=[-1.0, bad]))
    httpserver.expect_request(PATH).respond_with_data(text, content_type="application/json")
    assert "log-probabilities" in (answers(engine(), request(logprobs=True))["row"].failure or "")


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (json.dumps(reply(None)), "no text (finish reason stop)"),
        (json.dumps(reply("  \n", "length")), "no text (finish reason length)"),
        (json.dumps(reply("Half", "content_filter")), "content filter"),
        (json.dumps({"choices": []}), "no choices"),
        (json.dumps({"choices": [{"message": {"content": None, "refusal": "I will\nnot."}}]}), "refusal: I will not."),
        (json.dumps({"choices": [{"message": {"content": ["parts"]}}]}), "not a chat completion"),
        (json.dumps({"choices": None}), "not a chat completion"),
        ("<html>Welcome to the portal</html>", "not a chat completion"),
        ("", "not a chat completion"),
        ('{"choices": [{"mess', "not a chat completion"),
    ],
)
def test_a_reply_without_usable_text_fails_its_row(
    httpserver: HTTPServer, engine: Callable[..., EndpointEngine], body: str, reason: str
) -> None:
    httpserver.expect_request(PATH).respond_with_data(body, content_type="application/json")
    completion = answers(engine(), request())["row"]
    assert reason in (completion.failure or "")
    assert completion.text == ""


def test_a_bad_request_fails_its_row_and_no_other(
    httpserver: HTTPServer, engine: Callable[..., EndpointEngine]
) -> None:
    def answer(received: Received) -> Response:
        if "(bad)" in received.get_data(as_text=True):
            return Response(json.dumps({"error": {"message": "too\x1b[31m long"}}), 400, mimetype="application/json")
        return Response(json.dumps(reply()), mimetype="application/json")

    httpserver.expect_request(PATH).respond_with_handler(answer)
    got = answers(engine(), request("good"), request("bad"), request("fine"))
    assert got["bad"].failure == "HTTP 400: too [31m long"
    assert got["good"].text == got["fine"].text == "Green."
    assert len(httpserver.log) == 3, "a bad request is not sent again"


@pytest.mark.parametrize("status", [408, 429, 500, 503])
def test_passing_trouble_is_tried_again(
    httpserver: HTTPServer, engine: Callable[..., EndpointEngine], status: int
) -> None:
    httpserver.expect_ordered_request(PATH).respond_with_data("busy", status=status)
    httpserver.expect_ordered_request(PATH).respond_with_data("busy", status=status)
    httpserver.expect_ordered_request(PATH).respond_with_json(reply())
    assert answers(engine(), request())["row"].text == "Green."


def test_lasting_trouble_fails_the_row_after_the_retries(
    httpserver: HTTPServer, engine: Callable[..., EndpointEngine]
) -> None:
    httpserver.expect_request(PATH).respond_with_json({"error": {"message": "slow down"}}, status=429)
    assert answers(engine(max_retries=2), request())["row"].failure == "HTTP 429: slow down"
    assert len(httpserver.log) == 3


def test_retries_print_nothing(
    httpserver: HTTPServer, engine: Callable[..., EndpointEngine], capfd: pytest.CaptureFixture[str]
) -> None:
    httpserver.expect_ordered_request(PATH).respond_with_data("busy", status=503)
    httpserver.expect_ordered_request(PATH).respond_with_json(reply())
    root = logging.getLogger()
    handlers, root.handlers = root.handlers, []
    try:
        answers(engine(), request())
    finally:
        root.handlers = handlers
    assert "retry" not in capfd.readouterr().err


def refused(status: int, **headers: str) -> Exception:
    answer = httpx2.Response(status, headers=headers, request=httpx2.Request("POST", "http://127.0.0.1"))
    return openai.APIStatusError("no", response=answer, body=None)


@pytest.mark.parametrize(
    ("headers", "pause"),
    [
        ({}, True),
        ({"retry-after": "7"}, 7.0),
        ({"retry-after": "0.5"}, 0.5),
        ({"retry-after": "0"}, 0.0),
        ({"retry-after": "-3"}, 0.0),
        ({"retry-after": "Wed, 21 Oct 2015 07:28:00 GMT"}, 0.0),
        ({"retry-after": "86400"}, False),
        ({"retry-after": "nan"}, True),
        ({"retry-after": "soon"}, True),
    ],
)
def test_the_pause_that_a_server_asks_for_is_kept(headers: dict[str, str], pause: bool | float) -> None:
    got = pause_before_retry(refused(429, **headers))
    assert (got, type(got)) == (pause, type(pause))


def test_the_pause_is_really_made(httpserver: HTTPServer, engine: Callable[..., EndpointEngine]) -> None:
    httpserver.expect_ordered_request(PATH).respond_with_data("", status=429, headers={"Retry-After": "0.2"})
    httpserver.expect_ordered_request(PATH).respond_with_json(reply())
    with stamina.set_testing(False):
        started = time.monotonic()
        answers(engine(), request())
    assert 0.2 <= time.monotonic() - started < 0.5, "the usual back-off starts at half a second"


@pytest.mark.parametrize(
    ("status", "body", "hint"),
    [
        (401, {"error": {"message": f"Wrong key: {SECRET}"}}, "MY_KEY"),
        (403, {"detail": "no"}, "MY_KEY"),
        (404, {"error": {"message": "no model tiny"}}, "'tiny'"),
        (402, {}, "credit"),
        (429, {"error": {"message": "empty", "code": "insufficient_quota"}}, "credit"),
    ],
)
def test_what_no_other_request_can_survive_ends_the_run(
    httpserver: HTTPServer,
    engine: Callable[..., EndpointEngine],
    monkeypatch: pytest.MonkeyPatch,
    status: int,
    body: dict[str, Any],
    hint: str,
) -> None:
    monkeypatch.setenv("MY_KEY", SECRET)
    httpserver.expect_request(PATH).respond_with_json(body, status=status)
    with pytest.raises(EngineError) as caught:
        answers(engine(api_key_env="MY_KEY", concurrency=2), *(request(str(number)) for number in range(20)))
    assert hint in str(caught.value)
    assert SECRET not in str(caught.value)
    assert "\n" not in str(caught.value)
    assert len(httpserver.log) <= 4, "the requests that were waiting are not sent"


def test_nobody_listening_ends_the_run_with_the_address() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    settings = EndpointSettings(base_url=f"http://127.0.0.1:{port}/v1", model="tiny", max_retries=1)
    with pytest.raises(EngineError, match=f"127.0.0.1:{port}.*Start it"):
        answers(EndpointEngine(settings), request())


def test_silence_fails_the_row(httpserver: HTTPServer, engine: Callable[..., EndpointEngine]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}/v1"
        completion = answers(engine(base_url=url, timeout=0.1, max_retries=1), request())["row"]
    assert completion.failure == "no reply within 0.1 seconds"


def test_units_come_as_soon_as_they_are_done(engine: Callable[..., EndpointEngine]) -> None:
    gate = threading.Event()

    def answer(received: Received) -> Response:
        if "(slow)" in received.get_data(as_text=True):
            gate.wait(5)
        return Response(json.dumps(reply()), mimetype="application/json")

    with HTTPServer(host="127.0.0.1", threaded=True) as server:
        server.expect_request(PATH).respond_with_handler(answer)
        made = engine(base_url=server.url_for("/v1"), concurrency=2)
        units = made.generate(made.batches([request("slow"), request("fast")]))
        assert [completion.key for completion in next(units)] == ["fast"]
        gate.set()
        assert [completion.key for completion in next(units)] == ["slow"]


def test_leaving_the_loop_early_ends_the_requests(
    httpserver: HTTPServer, engine: Callable[..., EndpointEngine]
) -> None:
    httpserver.expect_request(PATH).respond_with_json(reply())
    made = engine(concurrency=1)
    units = made.generate(made.batches([request(str(number)) for number in range(500)]))
    next(units)
    with pytest.raises(KeyboardInterrupt):
        units.throw(KeyboardInterrupt)  # type: ignore[attr-defined]
    assert len(httpserver.log) < 500


def test_open_engine_makes_one_and_it_names_address_and_model(httpserver: HTTPServer) -> None:
    settings = EndpointSettings(base_url=httpserver.url_for("/v1/"), model="tiny")
    made = open_engine(settings)
    assert made.identity == f"endpoint {httpserver.url_for('/v1')} tiny"
    assert made.capabilities.json_schema
    assert made.capabilities.logprobs


def test_no_key_of_the_environment_reaches_another_address(
    httpserver: HTTPServer, engine: Callable[..., EndpointEngine], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in AMBIENT:
        monkeypatch.setenv(name, SECRET)
    monkeypatch.setenv("OPENAI_CUSTOM_HEADERS", f"Authorization: Bearer {SECRET}\nx-api-key: {SECRET}")
    httpserver.expect_request(PATH).respond_with_json(reply())
    answers(engine(), request())
    received = httpserver.log[0][0]
    assert SECRET not in str(received.headers) + received.get_data(as_text=True) + received.url
    assert received.headers["Authorization"] == "Bearer no-key"


def test_the_named_key_goes_to_its_address(
    httpserver: HTTPServer, engine: Callable[..., EndpointEngine], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MY_KEY", SECRET)
    httpserver.expect_request(PATH).respond_with_json(reply())
    made = engine(api_key_env="MY_KEY")
    assert SECRET not in f"{answers(made, request())} {made.identity} {made.capabilities}"
    assert httpserver.log[0][0].headers["Authorization"] == f"Bearer {SECRET}"


def test_a_redirect_is_refused_and_the_key_stays(
    httpserver: HTTPServer, engine: Callable[..., EndpointEngine], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MY_KEY", SECRET)
    with HTTPServer(host="127.0.0.1") as thief:
        thief.expect_request(PATH).respond_with_json(reply())
        place = {"Location": thief.url_for(PATH)}
        httpserver.expect_request(PATH).respond_with_data("", status=307, headers=place)
        with pytest.raises(EngineError, match="redirects"):
            answers(engine(api_key_env="MY_KEY"), request())
        assert not thief.log


def test_a_missing_variable_is_named_before_anything_is_sent(
    httpserver: HTTPServer, engine: Callable[..., EndpointEngine]
) -> None:
    with pytest.raises(EngineError, match="MY_KEY"):
        engine(api_key_env="MY_KEY")
    with pytest.raises(EngineError, match="OPENAI_API_KEY"):
        engine(base_url="https://api.openai.com/v1")
    assert not httpserver.log


def test_the_openai_key_is_not_lent_to_others(
    engine: Callable[..., EndpointEngine], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", SECRET)
    for url in ["https://api.openai.com.example.org/v1", "https://example.org/api.openai.com/v1"]:
        with pytest.raises(EngineError, match=r"api\.openai\.com only"):
            engine(base_url=url, api_key_env="OPENAI_API_KEY")


@pytest.mark.parametrize(
    "url",
    [
        "http://example.org/v1",
        "http://10.0.0.7:8000/v1",
        "http://0.0.0.0:8000/v1",
        "http://localhost.example.org/v1",
        "http://127.0.0.1@example.org/v1",
        "https://user:password@example.org/v1",
        "https://example.org/v1?key=password",
        "ftp://127.0.0.1/v1",
        "127.0.0.1:8000/v1",
        "http://[::1/v1",
        "http://127.0.0.1:port/v1",
    ],
)
def test_an_unsafe_address_is_refused(engine: Callable[..., EndpointEngine], url: str) -> None:
    with pytest.raises(EngineError) as caught:
        engine(base_url=url)
    assert "password" not in str(caught.value).replace("without user name, password", "")


@pytest.mark.parametrize("url", ["http://localhost:1/v1", "http://127.0.0.1:1/v1", "http://[::1]:1/v1", "https://h/v1"])
def test_this_machine_and_https_are_accepted(engine: Callable[..., EndpointEngine], url: str) -> None:
    assert url in engine(base_url=url).identity
