"""What is paid for is kept at every step; what may have been paid for is not paid for twice without leave."""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tunalm.calls.asking import complete
from tunalm.calls.budget import Budget, dollars
from tunalm.calls.journal import NOT_AGAIN, LedgerJournal
from tunalm.calls.ledger import open_ledger
from tunalm.calls.prices import Price, Prices
from tunalm.engines.base import Capabilities, Completion, Journal, Request
from tunalm.engines.scripted import ScriptedEngine
from tunalm.errors import BudgetError, EngineError, StoreError
from tunalm.recipe.places import Place
from tunalm.records import UNKNOWN, Message
from tunalm.store import Summary

TOKENS = ("prompt_tokens", "completion_tokens")
PRICE = Price(host="localhost", model="m", prompt=1e6, completion=1e6)
"""One dollar a token."""


class KilledError(BaseException):
    """The end of the process."""


class Server:
    """A paid engine whose calls go as they are told to, by the key of the first request of the unit.

    Each call takes one word: `ok`, `failed` (the reply cannot be used), `free` (an error that costs nothing), `lost`,
    `refused`, `kill` (the process ends before the answer is filed). Then all goes well.
    """

    identity = "endpoint http://localhost/v1 m"

    def __init__(
        self, ledger: Path, fate: dict[str, list[str]] | None = None, *, max_duplicates: int = 0, n: int = 1
    ) -> None:
        self.ledger = ledger
        self.fate = fate or {}
        self.max_duplicates = max_duplicates
        self.n = n
        self.resumes = False
        self.calls: list[str] = []
        self.executed: list[str] = []

    @property
    def capabilities(self) -> Capabilities:
        return Capabilities(resumes=self.resumes, max_duplicates=self.max_duplicates)

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
        tokens = {"prompt_tokens": 3, "completion_tokens": 2} if fate != "free" else dict.fromkeys(TOKENS, 0)
        completions = [
            Completion(
                key=request.key,
                text=f"answer to {request.key}" if fate == "ok" else "",
                failure=None if fate == "ok" else fate,
                **({} if place else tokens),
            )
            for place, request in enumerate(unit)
        ]
        journal.answered(unit, completions)
        return completions


def limited(max_cost: float | None) -> Budget:
    """A limit for the server of these tests."""
    budget = Budget(max_cost, Prices((PRICE,)))
    budget.know(Server.identity, Place("localhost", "m", "endpoint"))
    return budget


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
    server.resumes = True
    budget = limited(100.0)
    killed(server, "a", budget=budget)
    assert state(ledger, "a") == "sent"
    assert ask(server, "a", budget=budget)["a"].text == "answer to a"
    assert rows(ledger, "SELECT total(cost), sum(duplicates) FROM calls") == [(5.0, 0)]


def test_money_is_reserved_settled_and_given_back(ledger: Path) -> None:
    budget = limited(1000.0)
    server = Server(ledger, {"a": ["refused"], "b": ["free"], "c": ["lost"], "d": ["kill"]})
    killed(server, "a", "b", "c", "d", budget=budget)
    worst = budget.worst_case(PRICE, requests("a")) or 0.0
    killed_calls = rows(ledger, "SELECT coalesce(cost, reserved), prompt_tokens, completion_tokens FROM calls")
    assert killed_calls == [(0.0, None, None), (5.0, 3, 2), (0.0, 0, 0), (worst, None, None), (worst, None, None)]
    ask(server, "a", budget=budget)
    assert rows(ledger, "SELECT sum(cost) FROM calls") == [(5.0 + 2 * worst,)]


def test_the_limit_stops_before_a_call_is_made(ledger: Path) -> None:
    server = Server(ledger)
    with pytest.raises(BudgetError):
        ask(server, "a", budget=limited(20.0))
    assert (server.calls, states(ledger)) == ([], {})


def test_no_call_is_made_when_its_reply_could_not_be_kept(ledger: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.disk_usage", lambda folder: SimpleNamespace(free=5 << 20))
    server = Server(ledger)
    with pytest.raises(StoreError, match="5 MB of free space, too little to keep what is paid for"):
        ask(server, "a", budget=limited(1000.0))
    assert (server.calls, rows(ledger, "SELECT * FROM calls")) == ([], [])


def test_the_limit_counts_what_was_spent_before_and_what_is_in_flight(ledger: Path) -> None:
    worst = limited(None).worst_case(PRICE, requests("a")) or 0.0
    ask(Server(ledger, {"a": ["lost"]}), "a", budget=limited(None))
    budget = limited(3.5 * worst)
    with open_ledger(ledger, Server.identity) as kept:
        journal = LedgerJournal(Server(ledger), requests("b", "c", "d"), kept, budget)
        for one in requests("b", "c"):
            journal.sending([one])
        with pytest.raises(BudgetError) as caught:
            journal.sending(requests("d"))
        assert (kept.spent, kept.reserved) == (worst, 2 * worst)
        journal.refused(requests("b"), "no room")
        journal.sending(requests("d"))
        journal.answered(requests("c"), [Completion(key="c", text="yes", prompt_tokens=3, completion_tokens=2)])
        assert (kept.spent, kept.reserved) == (worst + 5.0, worst)
    line = str(caught.value)
    assert line.startswith("m at localhost: found ")
    assert f"{dollars(worst)} spent and up to {dollars(2 * worst)} in flight" in line
    assert f"at most {dollars(3.5 * worst)} (max_cost)" in line


def test_many_threads_never_exceed_the_limit_together(ledger: Path) -> None:
    threads, keys = 8, [str(number) for number in range(200)]
    worst = limited(None).worst_case(PRICE, requests("a")) or 0.0
    budget = limited(40 * worst)
    with open_ledger(ledger, Server.identity) as kept:
        journal = LedgerJournal(Server(ledger), requests(*keys), kept, budget)

        def work(mine: Sequence[str]) -> int:
            for count, key in enumerate(mine):
                try:
                    journal.sending(requests(key))
                except BudgetError:
                    return count
                assert kept.spent + kept.reserved <= 40 * worst + 1e-6
                if count % 3:
                    journal.lost(requests(key), "timed out")
                else:
                    answer = Completion(key=key, text="yes", prompt_tokens=60, completion_tokens=10)
                    journal.answered(requests(key), [answer])
            return len(mine)

        with ThreadPoolExecutor(threads) as pool:
            calls = sum(pool.map(work, [keys[start::threads] for start in range(threads)]))
        assert calls >= 40
        ((cost, reserved),) = rows(ledger, "SELECT total(cost), count(*) FILTER (WHERE ended IS NULL) FROM calls")
        assert (cost, reserved) == (pytest.approx(kept.spent), 0)
        assert 38 * worst <= cost <= 40 * worst + 1e-6


@pytest.mark.parametrize(
    ("failures", "stops"),
    [
        (["http-400: no logprobs"] * 30, 20),
        (["http-400: a", "http-422: b"] * 10, None),
        ([None] + ["http-400: no"] * 40, None),
        ([None, "empty-text: nothing", "truncated: half"] * 50, 100),
        ([None, "empty-text: nothing"] * 60, None),
    ],
    ids=["all the same", "in two ways", "one is good", "most of a hundred", "half of them"],
)
def test_a_stage_that_fails_from_the_first_is_stopped_and_the_reason_said(
    ledger: Path, failures: list[str | None], stops: int | None
) -> None:
    keys = [f"{number:03}" for number in range(len(failures))]
    told = dict(zip(keys, failures, strict=True))
    calls: list[str] = []

    def answer(request: Request) -> Completion:
        calls.append(request.key)
        return Completion(key=request.key, failure=told[request.key])

    engine = ScriptedEngine.from_function(answer)
    if stops is None:
        assert len(complete(engine, requests(*keys), ledger, "asking")) == len(keys)
        return
    with pytest.raises(EngineError) as caught:
        complete(engine, requests(*keys), ledger, "asking")
    assert f"of the first {stops} answers failed" in str(caught.value)
    assert str(failures[1]) in str(caught.value)
    assert (len(calls), len(states(ledger))) == (stops, stops)


def test_answers_that_the_stage_cannot_use_stop_it_too_and_are_not_paid_for_again(ledger: Path) -> None:
    calls: list[str] = []

    def answer(request: Request) -> str:
        calls.append(request.key)
        return "I would rather not rank."

    keys = [f"{number:03}" for number in range(50)]
    for _ in range(2):
        with pytest.raises(EngineError, match="20 of them with 'no-ranking: no marks'"):
            complete(
                ScriptedEngine.from_function(answer),
                requests(*keys),
                ledger,
                "judging",
                unusable=lambda answer: "no-ranking: no marks",
            )
    assert len(calls) == 20


def test_a_few_failures_that_are_asked_for_again_do_not_stop_a_stage_that_went_well(ledger: Path) -> None:
    keys = [f"{number:03}" for number in range(90)]
    engine = ScriptedEngine.from_function(
        lambda request: Completion(key=request.key, failure="http-403: moderated" if request.key >= "050" else None)
    )
    for _ in range(2):
        answers = complete(engine, requests(*keys), ledger, "asking")
        assert sum(answer.failure is not None for answer in answers.values()) == 40


WORDS = st.sampled_from(["ok", "lost", "refused", "free", "failed", "kill"])


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
