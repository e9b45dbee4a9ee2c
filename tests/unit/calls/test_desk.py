"""What is paid for is kept at every step; what may have been paid for is not paid for twice without leave."""

from __future__ import annotations

import json
import sqlite3
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import closing, suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tunalm.calls.asking import complete
from tunalm.calls.budget import Budget
from tunalm.calls.desk import NOT_AGAIN
from tunalm.calls.prices import Price, Prices
from tunalm.engines.base import Capabilities, Completion, Journal, NoJournal, Paid, Request
from tunalm.errors import BudgetError, StoreError
from tunalm.records import UNKNOWN, Message
from tunalm.store import Summary

PRICE = Price(host="localhost", model="m", prompt=1e6, completion=1e6)
"""One dollar a token."""


class KilledError(BaseException):
    """The end of the process."""


class Server:
    """A paid engine whose calls go as they are told to, by the key of the first request of the unit.

    Each call takes one word: `ok`, `unreadable` (the reply makes no sense), `http` (an error status), `lost`,
    `refused`, `kill` (the process ends before the reply), `kill-later` (after it was kept). Then all goes well.
    """

    identity = "endpoint http://localhost/v1 m"

    def __init__(
        self, ledger: Path, fate: dict[str, list[str]] | None = None, *, max_duplicates: int = 0, n: int = 1
    ) -> None:
        self.ledger = ledger
        self.fate = fate or {}
        self.max_duplicates = max_duplicates
        self.n = n
        self.capabilities = Capabilities()
        self.calls: list[str] = []
        self.executed: list[str] = []
        self.readable = False

    def batches(self, requests: Sequence[Request]) -> list[list[Request]]:
        return [list(requests[start : start + self.n]) for start in range(0, len(requests), self.n)]

    def generate(self, batches: Sequence[Sequence[Request]], journal: Journal) -> Iterator[list[Completion]]:
        for unit in batches:
            while (answer := self.call(unit, journal)) is None:
                pass
            yield answer

    def call(self, unit: Sequence[Request], journal: Journal) -> list[Completion] | None:
        key = unit[0].key
        journal.sending(unit)
        assert {state(self.ledger, request.key) for request in unit} == {"sent"}
        self.calls.append(key)
        fate = self.fate[key].pop(0) if self.fate.get(key) else "ok"
        if fate == "refused":
            journal.refused(unit, "no room")
            return None
        self.executed += [request.key for request in unit]
        if fate == "kill":
            raise KilledError
        if fate == "lost":
            if journal.lost(unit, "timed out"):
                return None
            return [Completion(key=request.key, failure="timed out", unknown=True) for request in unit]
        status = 500 if fate == "http" else 200
        body = b"?" if fate == "unreadable" else json.dumps([f"answer to {request.key}" for request in unit]).encode()
        journal.received(unit, status, body)
        if fate == "kill-later":
            raise KilledError
        return self.read(unit, status, body)

    def read(self, unit: Sequence[Request], status: int, body: bytes) -> list[Completion]:
        if status != 200 or (body == b"?" and not self.readable):
            return [Completion(key=request.key, failure="unreadable") for request in unit]
        texts = ["?"] * len(unit) if body == b"?" else json.loads(body)
        tokens = {"prompt_tokens": 3, "completion_tokens": 2}
        return [
            Completion(key=request.key, text=text, **({} if place else tokens))
            for place, (request, text) in enumerate(zip(unit, texts, strict=True))
        ]

    def score(self, texts: Sequence[tuple[Request, str]]) -> list[Completion]:
        raise NotImplementedError


def requests(*keys: str) -> list[Request]:
    return [Request(key=key, messages=[Message(role="user", content="Say it.")], max_new_tokens=10) for key in keys]


def rows(ledger: Path, query: str) -> list[tuple[Any, ...]]:
    """What a program that is not ours reads in the ledger."""
    with closing(sqlite3.connect(f"file:{ledger}?mode=ro", uri=True)) as link:
        return link.execute(query).fetchall()


def states(ledger: Path) -> dict[str, str]:
    return dict(rows(ledger, "SELECT key, state FROM requests"))


def state(ledger: Path, key: str) -> str:
    return states(ledger)[key]


def killed(server: Server, *keys: str, budget: Budget | None = None) -> None:
    with pytest.raises(KilledError):
        complete(server, requests(*keys), server.ledger, "asking", budget=budget)


def ask(server: Server, *keys: str, budget: Budget | None = None) -> dict[str, Completion]:
    return complete(server, requests(*keys), server.ledger, "asking", budget=budget)


@pytest.fixture
def ledger(tmp_path: Path) -> Path:
    return tmp_path / "ledger.sqlite"


def test_the_engine_of_these_tests_is_a_paid_one(ledger: Path) -> None:
    assert isinstance(Server(ledger), Paid)


def test_a_reply_that_was_kept_is_read_and_not_asked_for(ledger: Path) -> None:
    server = Server(ledger, {"b": ["kill-later"]})
    killed(server, "a", "b", "c")
    assert [state(ledger, key) for key in "abc"] == ["ok", "sent", "planned"]
    answers = ask(server, "a", "b", "c")
    assert server.calls == ["a", "b", "c"]
    assert [answers[key].text for key in "abc"] == ["answer to a", "answer to b", "answer to c"]
    assert [state(ledger, key) for key in "abc"] == ["ok"] * 3


def test_a_kept_reply_that_is_no_answer_is_a_failure_as_without_the_kill(ledger: Path) -> None:
    server = Server(ledger, {"a": ["http"]})
    straight = ask(server, "a")
    other = Server(ledger.with_name("other.sqlite"), {"a": ["http"]})
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Server, "read", lambda *_: (_ for _ in ()).throw(KilledError))
        killed(other, "a")
    assert ask(other, "a") == straight
    assert other.calls == ["a"]
    assert state(other.ledger, "a") == "failed"
    assert ask(other, "a")["a"].failure is None
    assert other.calls == ["a", "a"]


def test_a_failed_reply_that_can_be_read_by_now_costs_nothing(ledger: Path) -> None:
    server = Server(ledger, {"a": ["unreadable"]})
    assert ask(server, "a")["a"].failure == "unreadable"
    server.readable = True
    assert ask(server, "a")["a"].text == "?"
    assert server.calls == ["a"]


def test_what_was_in_flight_is_unknown_and_sent_again_within_the_limit_only(ledger: Path) -> None:
    server = Server(ledger, {key: ["kill"] for key in "abc"})
    for _ in "abc":
        killed(server, "a", "b", "c")
    assert server.calls == ["a", "b", "c"]
    answers = ask(server, "a", "b", "c")
    assert {completion.failure for completion in answers.values()} == {NOT_AGAIN}
    assert Summary.of([completion.failure for completion in answers.values()], {}) == Summary(3, 0, 0, 3)
    server.max_duplicates = 2
    answers = ask(server, "a", "b", "c")
    assert [completion.unknown for completion in answers.values()] == [False, False, True]
    assert server.calls == ["a", "b", "c", "a", "b"]
    assert ask(server, "a", "b", "c")["c"].unknown, "the limit is that of the run, not of a process"
    assert rows(ledger, "SELECT key, state, lost FROM requests") == [
        ("a", "ok", 1),
        ("b", "ok", 1),
        ("c", "unknown", 1),
    ]
    assert rows(ledger, "SELECT sum(duplicates) FROM calls") == [(2,)]


def test_a_lost_reply_is_asked_for_again_within_the_limit_only(ledger: Path) -> None:
    server = Server(ledger, {"a": ["lost"], "b": ["lost", "lost"]}, max_duplicates=2)
    answers = ask(server, "a", "b")
    assert server.calls == ["a", "a", "b", "b"]
    assert answers["a"].text == "answer to a"
    assert answers["b"].failure == f"{UNKNOWN}timed out"
    assert [state(ledger, key) for key in "ab"] == ["ok", "unknown"]


def test_a_refused_call_is_as_if_it_had_not_been_made(ledger: Path) -> None:
    server = Server(ledger, {"a": ["refused", "kill"]})
    killed(server, "a")
    server.fate, server.max_duplicates = {"a": ["refused"]}, 1
    assert ask(server, "a")["a"].text == "answer to a"
    assert rows(ledger, "SELECT reason, duplicates FROM calls") == [
        ("no room", 0),
        ("the process that made the call is gone", 0),
        ("no room", 0),
        (None, 1),
    ]


def test_a_refused_second_call_leaves_the_outcome_unknown(ledger: Path) -> None:
    server = Server(ledger, {"a": ["kill", "refused", "kill"]}, max_duplicates=9)
    killed(server, "a")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Server, "generate", _give_up)
        ask(server, "a")
    assert state(ledger, "a") == "unknown"


def _give_up(server: Server, batches: Sequence[Sequence[Request]], journal: Journal) -> Iterator[list[Completion]]:
    """Make each call once and leave what is refused."""
    for unit in batches:
        yield server.call(unit, journal) or []


def test_a_call_for_several_requests_is_read_whole_though_one_is_wanted(ledger: Path) -> None:
    server = Server(ledger, {"a": ["kill-later"]}, n=3)
    killed(server, "a", "b", "c")
    assert ask(server, "b")["b"].text == "answer to b"
    assert ask(server, "c", "a")["a"].text == "answer to a"
    assert server.calls == ["a"]


def test_facts_are_remembered_for_an_engine_alone(ledger: Path) -> None:
    heard: list[str | None] = []

    class Batch(Server):
        def generate(self, batches: Sequence[Sequence[Request]], journal: Journal) -> Iterator[list[Completion]]:
            heard.append(journal.recall("job"))
            journal.remember("job", f"job {len(heard)}")
            yield from ()

    other = Batch(ledger)
    other.identity = "other"
    for server in (Batch(ledger), Batch(ledger), other):
        ask(server, "a")
    assert heard == [None, "job 1", None]


def test_an_engine_that_resumes_is_told_to_go_on(ledger: Path) -> None:
    server = Server(ledger, {"a": ["kill"]})
    server.capabilities = Capabilities(resumes=True)
    budget = Budget(100.0, Prices((PRICE,)))
    killed(server, "a", budget=budget)
    assert state(ledger, "a") == "sent"
    later = Budget(100.0, Prices((PRICE,)), spent=budget.spent)
    assert ask(server, "a", budget=later)["a"].text == "answer to a"
    assert (later.spent, later.reserved) == (5.0, 0.0)
    assert rows(ledger, "SELECT total(cost), sum(duplicates) FROM calls") == [(5.0, 0)]


def test_money_is_reserved_settled_and_given_back(ledger: Path) -> None:
    budget = Budget(1000.0, Prices((PRICE,)))
    server = Server(ledger, {"a": ["refused"], "b": ["http"], "c": ["lost"], "d": ["kill"]})
    killed(server, "a", "b", "c", "d", budget=budget)
    worst = budget.reserve(server.identity, requests("a"))
    budget.release(worst)
    assert budget.spent == 5.0 + 0.0 + worst + worst
    assert budget.reserved == 0.0
    killed_calls = rows(ledger, "SELECT coalesce(cost, reserved), prompt_tokens, completion_tokens FROM calls")
    assert killed_calls == [(0.0, None, None), (5.0, 3, 2), (0.0, 0, 0), (worst, None, None), (worst, None, None)]
    ask(server, "a", budget=budget)
    assert rows(ledger, "SELECT sum(cost) FROM calls") == [(5.0 + 2 * worst,)]


def test_a_reply_that_was_kept_is_paid_once(ledger: Path) -> None:
    first = Budget(1000.0, Prices((PRICE,)))
    server = Server(ledger, {"a": ["kill-later"]})
    killed(server, "a", budget=first)
    second = Budget(1000.0, Prices((PRICE,)), spent=first.spent)
    ask(server, "a", budget=second)
    assert second.spent == 5.0
    assert rows(ledger, "SELECT sum(cost) FROM calls") == [(5.0,)]


def test_the_limit_stops_before_a_call_is_made(ledger: Path) -> None:
    server = Server(ledger)
    with pytest.raises(BudgetError):
        ask(server, "a", budget=Budget(20.0, Prices((PRICE,))))
    assert (server.calls, state(ledger, "a")) == ([], "planned")


def test_no_call_is_made_when_its_reply_could_not_be_kept(ledger: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tunalm.calls.ledger.free_bytes", lambda folder: 5 << 20)
    server, budget = Server(ledger), Budget(1000.0, Prices((PRICE,)))
    with pytest.raises(StoreError, match="5 MB of free space, too little to keep what is paid for"):
        ask(server, "a", budget=budget)
    assert (server.calls, budget.reserved, budget.spent) == ([], 0.0, 0.0)


def test_an_error_on_the_disk_in_the_background_is_not_passed_over(ledger: Path) -> None:
    server = Server(ledger)
    ask(server, "a")
    with closing(sqlite3.connect(ledger)) as link:
        link.execute("CREATE TRIGGER full BEFORE UPDATE OF cost ON calls BEGIN SELECT RAISE(FAIL, 'disk is full'); END")
    with pytest.raises(StoreError, match="disk is full"):
        ask(server, "b")
    with closing(sqlite3.connect(ledger)) as link:
        link.execute("DROP TRIGGER full")
    assert ask(server, "b")["b"].text == "answer to b"
    assert server.calls == ["a", "b"]


WORDS = st.sampled_from(["ok", "lost", "refused", "http", "unreadable", "kill", "kill-later"])


@settings(max_examples=30, deadline=None)
@given(
    fate=st.dictionaries(st.sampled_from("abcdef"), st.lists(WORDS, max_size=4)),
    n=st.integers(1, 3),
    max_duplicates=st.integers(0, 6),
)
def test_whatever_happens_nothing_finished_is_lost_or_repeated(
    fate: dict[str, list[str]], n: int, max_duplicates: int
) -> None:
    keys = tuple("abcdef")
    with TemporaryDirectory() as folder:
        server = Server(Path(folder) / "ledger.sqlite", fate, max_duplicates=max_duplicates, n=n)
        finished: dict[str, object] = {}
        for _ in range(30):
            executed = Counter(server.executed)
            with suppress(KilledError):
                answers = ask(server, *keys)
                if all(answer.failure is None or answer.unknown for answer in answers.values()):
                    break
            assert not (Counter(server.executed) - executed).keys() & finished.keys()
            query = "SELECT key, completion FROM requests WHERE state = 'ok'"
            now = dict(rows(server.ledger, query))
            assert finished.items() <= now.items()
            finished = now
        else:
            pytest.fail("it does not come to an end")
        ((duplicates,),) = rows(server.ledger, "SELECT total(duplicates) FROM calls")
        assert duplicates <= max_duplicates
        unknown = {key for key, answer in answers.items() if answer.unknown}
        assert unknown == {key for key, state in states(server.ledger).items() if state == "unknown"}


def test_outside_a_run_nothing_is_kept_and_all_is_allowed() -> None:
    journal = NoJournal()
    journal.sending([])
    journal.received([], 200, b"")
    journal.refused([], "")
    journal.remember("a", "b")
    assert (journal.lost([], ""), journal.recall("a")) == (True, None)
