"""Batch jobs against a server on this machine that keeps books: what comes back, what is sent again, what is paid."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import stamina

from tests.integration.servers.batches import BatchService, Fate, Job, Line, answer, batch_service, expired, refused
from tunalm.engines import open_engine
from tunalm.engines.base import Completion, Journal, Request
from tunalm.engines.batch import jobs
from tunalm.engines.batch.engine import BatchEngine
from tunalm.engines.batch.file import custom_id
from tunalm.engines.batch.server import BatchServer
from tunalm.errors import BudgetError, EngineError
from tunalm.recipe import BatchSettings
from tunalm.recipe.loading import build_recipe
from tunalm.records import Message

SECRET = "sk-secret-0123456789"


class Killed(BaseException):
    """The process is gone."""


class Diary(Journal):
    """A journal that outlives the engine, checks the order of what it is told, and can end the process at any step."""

    def __init__(self) -> None:
        self.facts: dict[str, str] = {}
        self.steps = 0
        self.kill_at: int | None = None
        self.in_flight: set[str] = set()
        self.done: set[str] = set()
        self.told: Counter[str] = Counter()
        self.may_repeat = False
        self.affordable = 10**9

    def step(self, what: str) -> None:
        """Count a step and perhaps not survive it."""
        self.steps += 1
        self.told[what] += 1
        if self.steps == self.kill_at:
            raise Killed

    def sending(self, unit: Sequence[Request]) -> None:
        if self.told["sending"] >= self.affordable:
            raise BudgetError("here", found="no money", expected="some", fix="Earn it.")
        self.step("sending")
        self.in_flight.add(custom_id(unit))

    def answered(self, unit: Sequence[Request], completions: Sequence[Completion]) -> None:
        assert custom_id(unit) in self.in_flight
        assert custom_id(unit) not in self.done
        self.step("answered")
        self.in_flight.discard(custom_id(unit))
        self.done.add(custom_id(unit))

    def lost(self, unit: Sequence[Request], reason: str) -> bool:
        self.step("lost")
        return self.may_repeat

    def refused(self, unit: Sequence[Request], reason: str) -> None:
        self.step("refused")
        self.in_flight.discard(custom_id(unit))

    def remember(self, name: str, value: str) -> None:
        self.step("remember, before")
        self.facts[name] = value
        self.step("remember, after")

    def recall(self, name: str) -> str | None:
        return self.facts.get(name)


@pytest.fixture(autouse=True)
def _no_pauses(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    monkeypatch.setattr(jobs, "pause", lambda seconds: None)
    with stamina.set_testing(True, attempts=5, cap=True):
        yield


@pytest.fixture
def service() -> Iterator[BatchService]:
    with batch_service() as server:
        yield server


def engine_for(service: BatchService, **changes: Any) -> BatchEngine:
    return BatchEngine(BatchSettings(**{"base_url": service.url, "model": "m", "timeout": 5.0, **changes}))


def requests(count: int, **changes: Any) -> list[Request]:
    return [
        Request(key=f"row-{number}", messages=[Message(role="user", content=f"Say {number}.")], **changes)
        for number in range(count)
    ]


def run(engine: BatchEngine, asked: Sequence[Request], diary: Diary) -> dict[str, Completion]:
    """What a ledger does: ask for what has no answer, keep each unit as it comes."""
    finished: dict[str, Completion] = {}
    units = [unit for unit in engine.batches(asked) if custom_id(unit) not in diary.done]
    for unit in engine.generate(units, diary):
        finished |= {completion.key: completion for completion in unit}
    return finished


def texts(finished: dict[str, Completion]) -> dict[str, str]:
    return {key: completion.text for key, completion in finished.items()}


ALL = {f"row-{number}": f"Say {number}. 0" for number in range(6)}


def test_answers_find_their_requests_in_any_order(service: BatchService) -> None:
    diary = Diary()
    finished = run(engine_for(service), requests(6), diary)
    assert texts(finished) == ALL
    assert list(finished) == [f"row-{number}" for number in reversed(range(6))], "as they came"
    assert finished["row-1"].model == "served"
    assert finished["row-1"].prompt_tokens == 5
    assert json.loads(diary.facts[jobs.JOBS]) == []
    assert set(service.books.carried_out.values()) == {1}


def test_a_line_of_the_file_is_what_a_call_would_have_sent(service: BatchService) -> None:
    run(engine_for(service), requests(1, temperature=0.5, logprobs=True, seed=7), Diary())
    (line,) = service.books.files["file-in-0"].splitlines()
    asked = json.loads(line)
    assert asked.keys() == {"custom_id", "method", "url", "body"}
    assert (asked["method"], asked["url"]) == ("POST", "/v1/chat/completions")
    assert asked["body"]["messages"] == [{"role": "user", "content": "Say 0."}]
    assert (asked["body"]["temperature"], asked["body"]["seed"], asked["body"]["logprobs"]) == (0.5, 7, True)


def test_siblings_go_into_one_request(service: BatchService) -> None:
    prompt = [Message(role="user", content="Say.")]
    asked = [Request(key=f"row/{number}", messages=prompt, seed=number) for number in range(4)]
    finished = run(engine_for(service, max_n=3), asked, Diary())
    assert texts(finished) == {"row/0": "Say. 0", "row/1": "Say. 1", "row/2": "Say. 2", "row/3": "Say. 0"}
    assert len(service.books.files["file-in-0"].splitlines()) == 2


def test_files_keep_to_both_limits(service: BatchService) -> None:
    assert texts(run(engine_for(service, requests_per_job=4), requests(6), Diary())) == ALL
    assert [len(service.books.files[f"file-in-{number}"].splitlines()) for number in range(2)] == [4, 2]
    large = [Request(key=f"row-{n}", messages=[Message(role="user", content="a" * 600)]) for n in range(3)]
    before = len(service.books.jobs)
    assert len(run(engine_for(service, bytes_per_job=2000), large, Diary())) == 3
    sizes = [len(body) for name, body in service.books.files.items() if name.startswith("file-in")][2:]
    assert len(service.books.jobs) - before == len(sizes) == 2
    assert max(sizes) <= 2000


def leaves(status: str, done: int, line: Callable[[Line], Line] | None = None) -> Fate:
    """A job that answers so many requests; of the others its error file says `line`, or nothing."""
    return Fate(
        status,
        output=lambda lines: [answer(each) for each in lines[:done]],
        errors=lambda lines: [line(each) for each in lines[done:]] if line else [],
    )


@pytest.mark.parametrize(
    ("fate", "again"),
    [
        (leaves("expired", 2, expired), 4),
        (leaves("completed", 3), 3),
        (leaves("completed", 0, lambda line: refused(line, 503)), 6),
    ],
    ids=["expired", "never carried out", "a passing fault"],
)
def test_only_what_was_not_carried_out_is_sent_again(service: BatchService, fate: Fate, again: int) -> None:
    service.books.fates = [fate]
    diary = Diary()
    assert texts(run(engine_for(service), requests(6), diary)) == ALL
    sizes = [len(body.splitlines()) for name, body in service.books.files.items() if name.startswith("file-in")]
    assert sizes == [6, again]
    assert (diary.told["refused"], diary.told["lost"]) == (again, 0)


def test_what_expires_again_and_again_is_a_failure(service: BatchService) -> None:
    service.books.fates = [leaves("expired", 0) for _ in range(3)]
    finished = run(engine_for(service, max_retries=2), requests(2), Diary())
    assert {completion.failure for completion in finished.values()} == {jobs.NOT_EXECUTED}
    assert len(service.books.jobs) == 3


def test_what_may_have_been_carried_out_is_sent_again_only_if_the_journal_allows_it(service: BatchService) -> None:
    def partial_file() -> Fate:
        return Fate(output=lambda lines: [answer(line) for line in lines[:5]], counts=False)

    service.books.fates = [partial_file(), partial_file()]
    cautious, generous = Diary(), Diary()
    generous.may_repeat = True
    finished = run(engine_for(service), requests(6), cautious)
    assert [key for key, completion in finished.items() if completion.unknown] == ["row-5"]
    assert (finished["row-5"].failure or "").endswith(jobs.LOST)
    assert texts(run(engine_for(service), requests(6), generous)) == ALL
    assert generous.told["lost"] == 1


def test_a_refused_request_is_a_failure_with_its_reason(service: BatchService) -> None:
    service.books.fates = [
        leaves("completed", 2, refused),
    ]
    finished = run(engine_for(service), requests(3), Diary())
    assert [finished[f"row-{n}"].failure for n in range(3)] == [None, None, "http-400: no such thing"]
    assert len(service.books.jobs) == 1


def test_lines_that_answer_nothing_that_was_asked_are_left_out(service: BatchService) -> None:
    def confused(lines: list[Line]) -> list[Line | bytes]:
        stranger = answer(lines[0]) | {"custom_id": "somebody-else"}
        nameless = {key: value for key, value in answer(lines[1]).items() if key != "custom_id"}
        twice = json.loads(json.dumps(answer(lines[0])).replace("Say 0.", "Say something else."))
        return [stranger, nameless, b"{broken", b"\xff\xfe", b"", *map(answer, lines), twice]

    service.books.fates = [Fate(output=confused)]
    assert texts(run(engine_for(service), requests(6), Diary())) == ALL


def test_a_job_that_is_refused_is_named_with_the_reason(service: BatchService) -> None:
    service.books.fates = [Fate("failed", explanation="Enqueued token limit reached."), Fate()]
    diary = Diary()
    with pytest.raises(EngineError, match=r"batch-0 failed \(Enqueued token limit reached\.\)"):
        run(engine_for(service, requests_per_job=3), requests(6), diary)
    assert diary.told["answered"] == 3, "the other job is collected first"
    assert run(engine_for(service), requests(6), diary).keys() == {"row-0", "row-1", "row-2"}
    assert set(service.books.carried_out.values()) == {1}


def test_a_cancelled_job_stops_the_run_and_its_answers_are_kept(service: BatchService) -> None:
    service.books.fates = [leaves("cancelled", 4)]
    diary = Diary()
    with pytest.raises(EngineError, match="batch-0 cancelled"):
        run(engine_for(service), requests(6), diary)
    assert texts(run(engine_for(service), requests(6), diary)) == {key: ALL[key] for key in ("row-4", "row-5")}


def test_a_limit_on_the_cost_sends_what_it_allows_and_stops(service: BatchService) -> None:
    diary = Diary()
    diary.affordable = 4
    with pytest.raises(BudgetError):
        run(engine_for(service), requests(6), diary)
    assert diary.told["answered"] == 4
    assert sum(service.books.carried_out.values()) == 4


def steps_of_a_run(**changes: Any) -> int:
    diary = Diary()
    with batch_service() as server:
        run(engine_for(server, **changes), requests(6), diary)
    return diary.steps


def test_a_kill_between_any_two_steps_costs_nothing() -> None:
    jobs, per_job = 2, 3
    steps = steps_of_a_run(requests_per_job=per_job)
    assert steps == 24
    for kill_at in range(1, steps + 1):
        with batch_service() as server:
            diary = Diary()
            diary.kill_at = kill_at
            with pytest.raises(Killed):
                run(engine_for(server, requests_per_job=per_job), requests(6), diary)
            diary.kill_at = None
            run(engine_for(server, requests_per_job=per_job), requests(6), diary)
            assert len(diary.done) == 6
            assert set(server.books.carried_out.values()) == {1}, f"killed at step {kill_at} of {steps}"
            assert len(server.books.jobs) == jobs


@pytest.mark.parametrize("moment", ["before", "after"])
@pytest.mark.parametrize(
    "call", ["POST /files", "POST /batches", "GET /batches/", "GET /files/file-output", "GET /files/file-errors"]
)
def test_a_kill_around_any_call_costs_nothing(call: str, moment: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The server gets the call, or has carried it out, and nobody is there for the answer."""
    with batch_service() as server:
        server.books.fates = [leaves("completed", 4, refused)]
        diary = Diary()
        original = BatchServer._ask

        def mortal(self: Any, *what: Any, **options: Any) -> Any:
            asked = len(server.books.log)
            if moment == "after":
                result = original(self, *what, **options)
                if any(line.startswith(call) for line in server.books.log[asked:]):
                    raise Killed
                return result
            server.before = lambda line: (500, b"") if line.startswith(call) else None
            try:
                return original(self, *what, **options)
            except Exception as error:
                raise Killed from error
            finally:
                server.before = lambda line: None

        with monkeypatch.context() as patch:
            patch.setattr(BatchServer, "_ask", mortal)
            with pytest.raises(Killed):
                run(engine_for(server), requests(6), diary)
        run(engine_for(server), requests(6), diary)
        assert len(diary.done) == 6
        assert set(server.books.carried_out.values()) == {1}
        assert len(server.books.jobs) == 1


def test_a_job_whose_making_was_not_answered_is_found_and_not_made_again(service: BatchService) -> None:
    lost = iter([True])

    def break_off(call: str) -> None:
        if call == "POST /batches" and next(lost, False):
            raise ConnectionResetError

    service.after = break_off
    for number in range(5):
        old = {"id": f"batch-old-{number}", "status": "completed", "created_at": 2e9}
        service.books.jobs[f"batch-old-{number}"] = Job(old, Fate())
    assert texts(run(engine_for(service), requests(6), Diary())) == ALL
    assert Counter(service.books.log)["POST /batches"] == 1
    assert set(service.books.carried_out.values()) == {1}


def test_answers_that_were_not_asked_for_this_time_wait_for_the_next(service: BatchService) -> None:
    diary = Diary()
    diary.kill_at = 12
    with pytest.raises(Killed):
        run(engine_for(service), requests(6), diary)
    diary.kill_at = None
    assert run(engine_for(service), requests(2), diary).keys() <= {"row-0", "row-1"}
    run(engine_for(service), requests(6), diary)
    assert len(diary.done) == 6
    assert set(service.books.carried_out.values()) == {1}


def test_a_failure_is_asked_for_again_by_the_next_run(service: BatchService) -> None:
    service.books.fates = [leaves("completed", 0, refused)]
    diary = Diary()
    assert all(completion.failure for completion in run(engine_for(service), requests(6), diary).values())
    diary.done.clear()
    assert texts(run(engine_for(service), requests(6), diary)) == ALL


def test_a_job_that_the_server_forgot_leaves_its_requests_unknown(service: BatchService) -> None:
    diary = Diary()
    service.before = lambda call: (404, b"{}") if call.startswith("GET /batches/") else None
    finished = run(engine_for(service), requests(2), diary)
    assert all(completion.unknown for completion in finished.values())


def test_passing_trouble_passes(service: BatchService) -> None:
    troubles = iter([(500, b""), (503, b""), (429, b"{}"), None, (502, b"<html>"), None, (500, b"")])
    service.before = lambda call: next(troubles, None)
    assert texts(run(engine_for(service), requests(6), Diary())) == ALL
    assert set(service.books.carried_out.values()) == {1}


@pytest.mark.parametrize(
    ("status", "body", "expected"),
    [
        (401, b'{"error": {"message": "bad key"}}', "api_key_env"),
        (404, b"{}", "no server for batch jobs"),
        (400, b'{"error": {"message": "too large"}}', "too large"),
        (307, b"", "redirects"),
        (200, b"<html>", "of the OpenAI batch interface"),
    ],
)
def test_what_will_not_pass_stops_the_run(service: BatchService, status: int, body: bytes, expected: str) -> None:
    service.before = lambda call: (status, body)
    diary = Diary()
    with pytest.raises(EngineError, match=expected):
        run(engine_for(service), requests(2), diary)
    assert diary.told["refused"] == 2


def test_the_key_goes_with_every_call_and_no_farther(service: BatchService, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MY_KEY", SECRET)
    run(engine_for(service, api_key_env="MY_KEY"), requests(2), Diary())
    assert {headers["Authorization"] for headers in service.books.headers} == {f"Bearer {SECRET}"}


def test_a_recipe_names_a_server_or_a_file(tmp_path: Path) -> None:
    def recipe(**engine: str) -> Any:
        stage = {"kind": "sample", "engine": {"kind": "batch", "model": "m", **engine}, "data": "checkable:train"}
        return build_recipe({"name": "r", "stages": {"own": stage}}).stages["own"]

    assert open_engine(recipe(base_url="http://127.0.0.1:1/v1").engine).identity == "batch http://127.0.0.1:1/v1 m"
    assert open_engine(recipe(file="asked.jsonl").engine).identity == "batch file m"
    for wrong in ({}, {"base_url": "http://127.0.0.1:1/v1", "file": "asked.jsonl"}, {"file": "asked.txt"}):
        with pytest.raises(Exception, match=r"kind: batch needs either|end in \.jsonl"):
            recipe(**wrong)


def test_a_file_is_written_read_and_written_again(tmp_path: Path) -> None:
    path, replies = tmp_path / "asked.jsonl", tmp_path / "asked.replies.jsonl"
    engine = BatchEngine(BatchSettings(file=str(path), model="m"))
    diary = Diary()
    with pytest.raises(EngineError, match=r"vllm run-batch -i .*asked\.jsonl -o .*replies\.jsonl --model m"):
        run(engine, requests(6), diary)
    lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    assert len(lines) == 6
    given = [answer(line) for line in reversed(lines[:4])] + [answer(lines[0]), expired(lines[5])]
    replies.write_text("".join(json.dumps(line) + "\n" for line in given), encoding="utf-8")
    with pytest.raises(EngineError, match="2 requests without a reply"):
        run(engine, requests(6), diary)
    assert len(diary.done) == 4
    lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    replies.write_text("".join(json.dumps(answer(line)) + "\n" for line in lines), encoding="utf-8")
    assert texts(run(engine, requests(6), diary)) == {key: ALL[key] for key in ("row-4", "row-5")}
    assert not replies.exists(), "put aside, so that failures are asked for anew"
    assert len(list(tmp_path.glob("asked.replies-*.jsonl"))) == 1
