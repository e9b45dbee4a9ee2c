"""The endpoint engine against real sockets on this machine: answers, failures, retries, and where keys go."""

from __future__ import annotations

import asyncio
import json
import logging
import socket
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest
import stamina
from pytest_httpserver import HTTPServer
from werkzeug import Request as Received
from werkzeug import Response

from tests.integration.servers.faults import logprobs as spelled
from tunalm.cli import app as cli
from tunalm.engines import open_engine
from tunalm.engines.base import Completion, Journal, Request
from tunalm.engines.endpoint.addresses import ALLOW_HTTP
from tunalm.engines.endpoint.calls import group
from tunalm.engines.endpoint.engine import EndpointEngine
from tunalm.errors import EngineError
from tunalm.recipe import EndpointSettings
from tunalm.records import Message

Make = Callable[..., EndpointEngine]
PATH = "/v1/chat/completions"
SECRET = "sk-secret-0123456789"
AMBIENT = ["OPENAI_API_KEY", "OPENAI_ADMIN_KEY", "OPENAI_ORG_ID", "OPENAI_PROJECT_ID", "OPENAI_CUSTOM_HEADERS"]


@pytest.fixture(autouse=True)
def _no_pauses(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for name in AMBIENT:
        monkeypatch.delenv(name, raising=False)
    with stamina.set_testing(True, attempts=100, cap=True):
        yield


def choice(text: str | None = "Green.", index: int = 0, logprobs: list[float] | None = None) -> dict[str, Any]:
    content = None if logprobs is None else spelled(*logprobs, text=text or "")
    message = {"role": "assistant", "content": text}
    return {"index": index, "finish_reason": "stop", "logprobs": content, "message": message}


def reply(text: str | None = "Green.", finish: str = "stop", logprobs: list[float] | None = None) -> dict[str, Any]:
    return {
        "model": "served-name",
        "choices": [{**choice(text, logprobs=logprobs), "finish_reason": finish}],
        "usage": {"prompt_tokens": 5, "completion_tokens": len(logprobs or "abc")},
    }


def request(name: str = "row", **changes: Any) -> Request:
    return Request(**{"key": name, "messages": [Message(role="user", content=f"Name a colour ({name}).")], **changes})


@pytest.fixture
def engine(httpserver: HTTPServer) -> Make:
    def make(**changes: Any) -> EndpointEngine:
        fields = {"base_url": httpserver.url_for("/v1"), "model": "tiny", "max_retries": 2, "timeout": 5.0, **changes}
        return EndpointEngine(EndpointSettings(**fields))

    return make


class Recorder(Journal):
    """Writes down what it is told; allows so many calls to be made again."""

    def __init__(self, repeats: int = 0) -> None:
        self.told: list[str] = []
        self._repeats = repeats

    def sending(self, unit: Sequence[Request]) -> None:
        self.told.append(f"sending {unit[0].key}")

    def answered(self, unit: Sequence[Request], completions: Sequence[Completion]) -> None:
        assert [each.key for each in completions] == [each.key for each in unit]
        self.told.append(f"answered {unit[0].key}")

    def lost(self, unit: Sequence[Request], reason: str) -> bool:
        self.told.append(f"lost {unit[0].key}")
        self._repeats -= 1
        return self._repeats >= 0

    def refused(self, unit: Sequence[Request], reason: str) -> None:
        self.told.append(f"refused {unit[0].key}")


def answers(engine: EndpointEngine, *requests: Request) -> dict[str, Completion]:
    units = engine.generate(engine.batches(requests), Journal())
    return {completion.key: completion for unit in units for completion in unit}


def sent(httpserver: HTTPServer) -> list[dict[str, Any]]:
    return [json.loads(received.get_data()) for received, _ in httpserver.log]


def test_a_reply_becomes_a_completion(httpserver: HTTPServer, engine: Make) -> None:
    httpserver.expect_request(PATH, method="POST").respond_with_json(reply())
    asked = request(temperature=0.7, max_new_tokens=9, seed=2**40 + 3)
    assert answers(engine(), asked)["row"] == Completion(
        key="row",
        text="Green.",
        model="served-name",
        finish_reason="stop",
        num_tokens=3,
        prompt_tokens=5,
        completion_tokens=3,
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


@pytest.mark.parametrize("status", [400, 403, 404])
@pytest.mark.parametrize("keys", [["bad"], ["bad", "fine"], ["fine", "bad"]])
def test_a_prompt_that_a_server_refuses_is_its_own_failure(
    httpserver: HTTPServer, engine: Make, status: int, keys: list[str]
) -> None:
    """Also where nothing else is asked: one plain question tells 403 and 404 from a wrong key or model."""

    def answer(received: Received) -> Response:
        if "(bad)" in received.get_data(as_text=True):
            body = {"error": {"message": "Input was flagged"}}
            return Response(json.dumps(body), status, mimetype="application/json")
        return Response(json.dumps(reply()), mimetype="application/json")

    httpserver.expect_request(PATH).respond_with_handler(answer)
    witness = Recorder()
    made = engine(concurrency=1)
    got = {one.key: one for unit in made.generate(made.batches([*map(request, keys)]), witness) for one in unit}
    assert got["bad"].failure == f"http-{status}: Input was flagged"
    assert all(got[key].text == "Green." for key in keys if key != "bad")
    assert sorted(witness.told) == sorted(f"{what} {key}" for key in keys for what in ("sending", "answered"))
    assert len(httpserver.log) <= len(keys) + 1


REFUSALS = {
    "max_tokens": (400, {"error": {"message": "Unsupported parameter: 'max_tokens'. Use 'max_completion_tokens'."}}),
    "seed": (422, {"detail": [{"type": "extra_forbidden", "loc": ["body", "seed"], "msg": "Not permitted"}]}),
    "temperature": (400, {"error": {"message": "'temperature' does not support 0 with this model."}}),
    "response_format": (400, {"error": {"message": "This response_format type is unavailable now"}}),
}


@pytest.mark.parametrize("field", REFUSALS)
def test_a_field_that_a_server_does_not_take_is_left_out_from_then_on(
    httpserver: HTTPServer,
    engine: Make,
    capfd: pytest.CaptureFixture[str],
    field: str,
) -> None:
    def answer(received: Received) -> Response:
        status, body = REFUSALS[field] if field in json.loads(received.get_data()) else (200, reply())
        return Response(json.dumps(body), status, mimetype="application/json")

    httpserver.expect_request(PATH).respond_with_handler(answer)
    asked = [request(str(number), temperature=0, json_schema={"type": "object"}) for number in range(20)]
    got = answers(engine(concurrency=4, max_retries=0), *asked)
    assert {completion.failure for completion in got.values()} == {None}
    assert len(httpserver.log) <= len(asked) + 4
    last = sent(httpserver)[-1]
    assert ("max_completion_tokens" in last) is (field == "max_tokens")
    assert capfd.readouterr().err.count("the server takes") == 1


def test_a_temperature_that_was_chosen_is_not_given_up_without_being_told(httpserver: HTTPServer, engine: Make) -> None:
    httpserver.expect_request(PATH).respond_with_json(REFUSALS["temperature"][1], status=400)
    assert (answers(engine(), request(temperature=1.1))["row"].failure or "").startswith("http-400: 'temperature'")
    answers(engine(omit=["temperature", "seed"]), request(temperature=1.1))
    assert not {"temperature", "seed"} & sent(httpserver)[-1].keys()


def test_a_refusal_for_length_changes_no_field(httpserver: HTTPServer, engine: Make) -> None:
    said = "'max_tokens' or 'max_completion_tokens' is too large: 256. The context is 300 tokens and seed 0."
    httpserver.expect_request(PATH).respond_with_json({"error": {"message": said}}, status=400)
    assert (answers(engine(), request())["row"].failure or "").startswith("http-400: ")
    assert len(httpserver.log) == 1


def test_what_else_a_server_shall_be_told_is_sent(httpserver: HTTPServer, engine: Make) -> None:
    httpserver.expect_request(PATH).respond_with_json(reply())
    knobs = {
        "max_tokens_field": "max_completion_tokens",
        "reasoning_effort": "low",
        "extra_body": {"chat_template_kwargs": {"enable_thinking": False}},
    }
    made = engine(**knobs)
    schema = {"type": "object", "properties": {"a": {"type": "integer"}}}
    answers(made, request(top_p=0.9, presence_penalty=1.5, json_schema=schema))
    body = sent(httpserver)[0]
    assert (body["top_p"], body["presence_penalty"]) == (0.9, 1.5)
    assert body["response_format"]["type"] == "json_schema"
    assert body["response_format"]["json_schema"]["schema"] == schema
    assert (body["max_completion_tokens"], body["reasoning_effort"]) == (256, "low")
    assert body["chat_template_kwargs"] == {"enable_thinking": False}
    assert made.identity != engine().identity, "other answers, so not those that the ledger has"


@pytest.mark.parametrize(("ignored", "said"), [(True, 1), (False, 0)])
def test_a_server_that_ignores_the_seed_is_said_once(
    httpserver: HTTPServer,
    engine: Make,
    capfd: pytest.CaptureFixture[str],
    ignored: bool,
    said: int,
) -> None:
    def answer(received: Received) -> Response:
        body = json.loads(received.get_data())
        text = "Green." if ignored else f"Green {body['seed']}."
        return Response(json.dumps(reply(text)), mimetype="application/json")

    httpserver.expect_request(PATH).respond_with_handler(answer)
    made = engine()
    for _ in range(2):
        answers(made, *(request(f"{n}", key=f"{n}/{seed}", seed=seed) for n in range(6) for seed in range(2)))
    assert capfd.readouterr().err.count("ignore the seed") == said


def test_one_prompt_goes_to_one_address_and_to_another_when_that_is_down(httpserver: HTTPServer, engine: Make) -> None:
    asked = [request(f"{n}", key=f"{n}/{seed}", seed=seed) for n in range(10) for seed in range(2)]
    with HTTPServer(host="127.0.0.1") as other:
        urls = [httpserver.url_for("/v1"), other.url_for("/v1")]
        for server in (httpserver, other):
            server.expect_request(PATH).respond_with_json(reply())
        made = engine(base_url=urls)
        assert made.identity == engine().identity
        assert len(answers(made, *asked)) == 20
        prompts = [{body["messages"][0]["content"] for body in sent(server)} for server in (httpserver, other)]
        assert len(prompts[0]) + len(prompts[1]) == 10
        assert all(prompts)
    before = len(httpserver.log)
    got = answers(made, *asked)
    assert {completion.failure for completion in got.values()} == {None}
    assert len(httpserver.log) - before == 20


def test_a_key_is_for_one_host(engine: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MY_KEY", SECRET)
    with pytest.raises(EngineError, match="one key for a and b"):
        engine(base_url=["https://a/v1", "https://b/v1"], api_key_env="MY_KEY")
    assert engine(base_url=["https://a/v1", "https://a:8001/v1"], api_key_env="MY_KEY")


def test_it_answers_inside_a_running_event_loop(httpserver: HTTPServer, engine: Make) -> None:
    httpserver.expect_request(PATH).respond_with_json(reply())

    async def cell() -> dict[str, Completion]:
        return answers(engine(), request())

    assert asyncio.run(cell())["row"].text == "Green."


@pytest.mark.parametrize(("statuses", "max_retries"), [([408, 500], 2), ([409, 502], 2), ([429, 503, 429], 0)])
def test_passing_trouble_is_tried_again_and_a_refusal_for_want_of_room_is_no_retry(
    httpserver: HTTPServer, engine: Make, statuses: list[int], max_retries: int
) -> None:
    for status in statuses:
        httpserver.expect_ordered_request(PATH).respond_with_data("busy", status=status)
    httpserver.expect_ordered_request(PATH).respond_with_json(reply())
    assert answers(engine(max_retries=max_retries), request())["row"].text == "Green."


def test_lasting_trouble_fails_the_row_after_the_retries(httpserver: HTTPServer, engine: Make) -> None:
    httpserver.expect_request(PATH).respond_with_json({"error": {"message": "on fire"}}, status=500)
    completion = answers(engine(max_retries=2), request())["row"]
    assert (completion.failure, completion.unknown) == ("http-500: on fire", False)
    assert len(httpserver.log) == 3


@pytest.mark.parametrize(
    ("patience", "headers"), [(0.3, {}), (60, {"Retry-After": "61"}), (60, {"X-RateLimit-Reset-Requests": "6m0s"})]
)
def test_a_server_that_has_no_room_for_longer_than_patience_ends_the_run(
    httpserver: HTTPServer, engine: Make, patience: float, headers: dict[str, str]
) -> None:
    answer = json.dumps({"error": {"message": "slow down"}})
    httpserver.expect_request(PATH).respond_with_data(answer, status=429, headers=headers)
    with pytest.raises(EngineError, match=r"HTTP 429 \(slow down\).*patience.*it resumes"):
        answers(engine(patience=patience), request())


def test_retries_print_nothing(httpserver: HTTPServer, engine: Make, capfd: pytest.CaptureFixture[str]) -> None:
    httpserver.expect_ordered_request(PATH).respond_with_data("busy", status=503)
    httpserver.expect_ordered_request(PATH).respond_with_json(reply())
    root = logging.getLogger()
    handlers, root.handlers = root.handlers, []
    try:
        answers(engine(), request())
    finally:
        root.handlers = handlers
    assert "retry" not in capfd.readouterr().err


def test_the_pause_is_really_made(httpserver: HTTPServer, engine: Make) -> None:
    httpserver.expect_ordered_request(PATH).respond_with_data("", status=429, headers={"Retry-After": "0.2"})
    httpserver.expect_ordered_request(PATH).respond_with_json(reply())
    with stamina.set_testing(False):
        started = time.monotonic()
        answers(engine(), request())
    assert time.monotonic() - started >= 0.2


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
    engine: Make,
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


def test_units_come_as_soon_as_they_are_done(engine: Make) -> None:
    gate = threading.Event()

    def answer(received: Received) -> Response:
        if "(slow)" in received.get_data(as_text=True):
            gate.wait(5)
        return Response(json.dumps(reply()), mimetype="application/json")

    with HTTPServer(host="127.0.0.1", threaded=True) as server:
        server.expect_request(PATH).respond_with_handler(answer)
        made = engine(base_url=server.url_for("/v1"), concurrency=2)
        units = made.generate(made.batches([request("slow"), request("fast")]), Journal())
        assert [completion.key for completion in next(units)] == ["fast"]
        gate.set()
        assert [completion.key for completion in next(units)] == ["slow"]


def test_leaving_the_loop_early_ends_the_requests(engine: Make) -> None:
    gate = threading.Event()

    def answer(received: Received) -> Response:
        if "(first)" not in received.get_data(as_text=True):
            gate.wait(5)
        return Response(json.dumps(reply()), mimetype="application/json")

    with HTTPServer(host="127.0.0.1", threaded=True) as server:
        server.expect_request(PATH).respond_with_handler(answer)
        made = engine(base_url=server.url_for("/v1"), concurrency=2, timeout=60)
        units = made.generate(made.batches([request("first"), *(request(str(n)) for n in range(500))]), Journal())
        next(units)
        started = time.monotonic()
        with pytest.raises(KeyboardInterrupt):
            units.throw(KeyboardInterrupt)  # type: ignore[attr-defined]
        assert time.monotonic() - started < 2, "what is in flight is not waited for"
        gate.set()
        assert len(server.log) < 5


def test_what_is_in_flight_is_seen_to_its_end_when_the_run_must_stop(engine: Make) -> None:
    gate = threading.Event()

    def answer(received: Received) -> Response:
        if "(bad)" in received.get_data(as_text=True):
            return Response("{}", 401, mimetype="application/json")
        gate.wait(5)
        return Response(json.dumps(reply()), mimetype="application/json")

    class Witness(Recorder):
        def refused(self, unit: Sequence[Request], reason: str) -> None:
            super().refused(unit, reason)
            threading.Timer(0.1, gate.set).start()

    witness = Witness()
    with HTTPServer(host="127.0.0.1", threaded=True) as server:
        server.expect_request(PATH).respond_with_handler(answer)
        made = engine(base_url=server.url_for("/v1"), concurrency=2)
        units = made.generate(made.batches([request(key) for key in ["slow", "bad", "waiting"]]), witness)
        assert [completion.text for completion in next(units)] == ["Green."]
        with pytest.raises(EngineError, match="401"):
            next(units)
    waiting = ["refused waiting", "sending waiting"]
    assert sorted(witness.told) == sorted(["answered slow", "refused bad", "sending bad", "sending slow", *waiting])
    assert len(server.log) == 2


def test_siblings_share_a_call(httpserver: HTTPServer, engine: Make) -> None:
    several = {**reply(), "choices": [choice(f"Text {index}.", index) for index in (2, 0, 1)]}
    httpserver.expect_request(PATH).respond_with_json(several)
    made = engine(max_n=3)
    requests = [request("same", key=f"row/{number}", seed=number) for number in range(4)]
    other = request("other", temperature=0.5)
    units = made.batches([other, *requests])
    assert [[one.key for one in unit] for unit in units] == [["other"], ["row/0", "row/1", "row/2"], ["row/3"]]
    assert made.batches([*reversed(requests), other]) == units, "the split depends on the requests alone"
    got = [completion for unit in made.generate([units[1]], Journal()) for completion in unit]
    assert [completion.text for completion in got] == ["Text 0.", "Text 1.", "Text 2."]
    assert [(one.prompt_tokens, one.completion_tokens) for one in got] == [(5, 3), (None, None), (None, None)]
    assert [body.get("n") for body in sent(httpserver)] == [3]


def test_a_base_model_is_sent_the_alpaca_prompt(httpserver: HTTPServer, engine: Make) -> None:
    logprobs = {"tokens": ["Gr", "een"], "token_logprobs": [-0.5, -1.0], "text_offset": [0, 2]}
    body = {"choices": [{"text": "Green", "finish_reason": "length", "logprobs": logprobs}]}
    httpserver.expect_request("/v1/completions").respond_with_json(body)
    made = engine(protocol="completions")
    got = answers(made, request(logprobs=True, max_new_tokens=2), request("raw", raw=True))
    assert (got["row"].text, got["row"].finish_reason, got["row"].token_logprobs) == ("Green", "length", [-0.5, -1.0])
    prompts = {body["prompt"] for body in sent(httpserver)}
    assert "Name a colour (raw)." in prompts
    (alpaca,) = prompts - {"Name a colour (raw)."}
    assert alpaca.startswith("Below is an instruction")
    assert alpaca.endswith("### Instruction:\nName a colour (row).\n\n### Response:")
    assert made.identity != engine().identity
    assert made.capabilities.raw
    assert not engine().capabilities.raw


def test_a_given_text_is_scored_by_its_echo(httpserver: HTTPServer, engine: Make) -> None:
    def answer(received: Received) -> Response:
        prompt = json.loads(received.get_data())["prompt"]
        at = prompt.index("### Response:") + len("### Response:")
        values = {
            "tokens": [prompt[:at], "Gr", "een", "!"],
            "token_logprobs": [None, -0.5, -1.5, -9.0],
            "text_offset": [0, at, at + 2, at + 5],
        }
        choices = [{"index": 0, "text": prompt + "!", "finish_reason": "length", "logprobs": values}]
        return Response(json.dumps({"choices": choices}), mimetype="application/json")

    httpserver.expect_request("/v1/completions").respond_with_handler(answer)
    given = Request.to_score(request().messages, "Green", ended=True)
    made = engine(protocol="completions", max_n=4)
    found = answers(made, given, given.model_copy(update={"key": "b"}))
    assert [found[given.key].text, found[given.key].token_logprobs] == ["Green", [-0.5, -1.5]]
    assert found["b"].num_tokens == 2
    assert made.capabilities.scores
    assert {(body["echo"], body["logprobs"], body["max_tokens"]) for body in sent(httpserver)} == {(True, 1, 1)}


def test_the_journal_hears_of_every_call_as_it_happens(httpserver: HTTPServer, engine: Make) -> None:
    witness = Recorder()

    def answer(received: Received) -> Response:
        assert witness.told[-1] == "sending row", "before the bytes leave"
        body, status = ("busy", 503) if len(witness.told) == 1 else (json.dumps(reply()), 200)
        return Response(body, status, mimetype="application/json")

    httpserver.expect_request(PATH).respond_with_handler(answer)
    assert len(list(engine().generate([[request()]], witness))) == 1
    assert witness.told == ["sending row", "refused row", "sending row", "answered row"]


def test_never_more_calls_than_are_allowed_are_on_record_without_a_reply(httpserver: HTTPServer, engine: Make) -> None:
    httpserver.expect_request(PATH).respond_with_json(reply())
    witness, open_calls = Recorder(), [0]
    made = engine(concurrency=3)
    assert len(list(made.generate(made.batches([request(str(number)) for number in range(40)]), witness))) == 40
    for told in witness.told:
        open_calls.append(open_calls[-1] + (1 if told.startswith("sending") else -1))
    assert (max(open_calls), open_calls[-1]) == (3 + group(3), 0)


def test_no_call_follows_an_answer_that_ends_the_run(httpserver: HTTPServer, engine: Make) -> None:
    httpserver.expect_request(PATH).respond_with_json(reply())
    witness = Recorder()
    made = engine(concurrency=1)
    with pytest.raises(EngineError, match="without log-probabilities"):
        list(made.generate(made.batches([request(key, logprobs=True) for key in "abc"]), witness))
    assert sorted(witness.told) == ["answered a", "refused b", "sending a", "sending b"]
    assert len(httpserver.log) == 1


@pytest.mark.parametrize(("allowed", "calls"), [(0, 1), (1, 2), (9, 3)])
def test_a_lost_call_is_made_again_only_if_the_journal_allows_it(engine: Make, allowed: int, calls: int) -> None:
    witness = Recorder(allowed)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}/v1"
        made = engine(base_url=url, timeout=0.1, max_retries=2)
        ((completion,),) = list(made.generate([[request()]], witness))
    assert (completion.failure, completion.unknown) == ("unknown: timeout: no reply within 0.1 seconds", True)
    assert witness.told == ["sending row", "lost row"] * calls


def test_what_the_journal_raises_ends_the_run(httpserver: HTTPServer, engine: Make) -> None:
    class Miser(Recorder):
        def sending(self, unit: Sequence[Request]) -> None:
            raise EngineError("max_cost", found="$2", expected="$1", fix="Pay.")

    with pytest.raises(EngineError, match="max_cost"):
        list(engine().generate([[request()]], Miser()))
    assert not httpserver.log


@pytest.mark.parametrize("limit", [{"requests_per_minute": 600}, {"tokens_per_minute": 6000}])
def test_stated_limits_are_kept(httpserver: HTTPServer, engine: Make, limit: dict[str, float]) -> None:
    httpserver.expect_request(PATH).respond_with_json(
        {**reply(), "usage": {"prompt_tokens": 6, "completion_tokens": 4}}
    )
    started = time.monotonic()
    answers(engine(concurrency=8, **limit), *(request(f"{n:02}", max_new_tokens=5) for n in range(6)))
    assert 0.5 <= time.monotonic() - started < 1.5, "ten calls, or ten times ten tokens, a second"


def test_open_engine_makes_one_and_it_names_address_and_model(httpserver: HTTPServer) -> None:
    settings = EndpointSettings(base_url=httpserver.url_for("/v1/"), model="tiny")
    made = open_engine(settings)
    assert made.identity == f"endpoint {httpserver.url_for('/v1')} tiny"
    assert made.capabilities.json_schema
    assert made.capabilities.logprobs


def test_no_key_of_the_environment_reaches_another_address(
    httpserver: HTTPServer, engine: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in AMBIENT:
        monkeypatch.setenv(name, SECRET)
    monkeypatch.setenv("OPENAI_CUSTOM_HEADERS", f"Authorization: Bearer {SECRET}\nx-api-key: {SECRET}")
    httpserver.expect_request(PATH).respond_with_json(reply())
    answers(engine(), request())
    received = httpserver.log[0][0]
    assert SECRET not in str(received.headers) + received.get_data(as_text=True) + received.url
    assert "Authorization" not in received.headers


def test_the_named_key_goes_to_its_address(
    httpserver: HTTPServer, engine: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MY_KEY", SECRET)
    httpserver.expect_request(PATH).respond_with_json(reply())
    made = engine(api_key_env="MY_KEY")
    assert SECRET not in f"{answers(made, request())} {made.identity} {made.capabilities}"
    assert httpserver.log[0][0].headers["Authorization"] == f"Bearer {SECRET}"


def test_a_redirect_is_refused_and_the_key_stays(
    httpserver: HTTPServer, engine: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MY_KEY", SECRET)
    with HTTPServer(host="127.0.0.1") as thief:
        thief.expect_request(PATH).respond_with_json(reply())
        place = {"Location": thief.url_for(PATH)}
        httpserver.expect_request(PATH).respond_with_data("", status=307, headers=place)
        with pytest.raises(EngineError, match="redirects"):
            answers(engine(api_key_env="MY_KEY"), request())
        assert not thief.log


def test_a_missing_variable_is_named_before_anything_is_sent(httpserver: HTTPServer, engine: Make) -> None:
    with pytest.raises(EngineError, match="MY_KEY"):
        engine(api_key_env="MY_KEY")
    with pytest.raises(EngineError, match="OPENAI_API_KEY"):
        engine(base_url="https://api.openai.com/v1")
    assert not httpserver.log


def test_the_openai_key_is_not_lent_to_others(engine: Make, monkeypatch: pytest.MonkeyPatch) -> None:
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
def test_an_unsafe_address_is_refused(engine: Make, url: str) -> None:
    with pytest.raises(EngineError) as caught:
        engine(base_url=url)
    assert "password" not in str(caught.value).replace("without user name, password", "")


def test_plain_http_to_another_machine_needs_a_flag_on_the_command_line(
    engine: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[list[str]] = []
    monkeypatch.setenv(ALLOW_HTTP, "0")  # so that what `main` sets is undone
    monkeypatch.setattr(cli, "app", lambda args: seen.append(args))
    monkeypatch.setattr("sys.argv", ["tunalm", "run", "recipe.yaml", "--allow-http"])
    with pytest.raises(EngineError, match="--allow-http"):
        engine(base_url="http://10.0.0.7:8000/v1")
    cli.main()
    assert seen == [["run", "recipe.yaml"]]
    assert "10.0.0.7" in engine(base_url="http://10.0.0.7:8000/v1").identity


@pytest.mark.parametrize("url", ["http://localhost:1/v1", "http://127.0.0.1:1/v1", "http://[::1]:1/v1", "https://h/v1"])
def test_this_machine_and_https_are_accepted(engine: Make, url: str) -> None:
    assert url in engine(base_url=url).identity
