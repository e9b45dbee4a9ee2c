"""What a ledger tells of answers and costs to those who only look."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path

import pytest

from tunalm.calls.asking import complete
from tunalm.calls.budget import Budget
from tunalm.calls.prices import Price, Prices
from tunalm.calls.spending import accounts, accounts_since, answers_in, failures_in
from tunalm.engines.base import Completion, Journal, Request
from tunalm.engines.remedies import remedy
from tunalm.engines.scripted import ScriptedEngine
from tunalm.errors import StoreError
from tunalm.records import CallAccount, Message

PAID = "endpoint https://api.example.com/v1 large"
PRICES = Prices((Price(host="*", model="*", prompt=500_000, completion=1_000_000),))
"""Half a dollar for a token of the prompt, a dollar for one of the completion."""


def requests(*keys: str) -> list[Request]:
    return [Request(key=key, messages=[Message(role="user", content=key)], max_new_tokens=5) for key in keys]


class PaidEngine(ScriptedEngine):
    """Charges two tokens of the prompt and three of the completion; the keys say what becomes of a call."""

    def generate(self, batches: Sequence[Sequence[Request]], journal: Journal) -> Iterator[list[Completion]]:
        for unit in batches:
            key = unit[0].key
            journal.sending(unit)
            if key.startswith("refused"):
                journal.refused(unit, "no room")
                journal.sending(unit)
            if key.startswith("lost"):
                journal.lost(unit, "timed out")
                yield [Completion(key=key, failure="timed out", unknown=True)]
                continue
            counted = {} if key.startswith("uncounted") else {"prompt_tokens": 2, "completion_tokens": 3}
            if key.startswith("cached"):
                counted |= {"cached_tokens": 1, "reasoning_tokens": 2}
            answer = Completion(key=key, text="yes", **counted)
            journal.answered(unit, [answer])
            yield [answer]


def engine(identity: str = PAID) -> PaidEngine:
    return PaidEngine.from_function(lambda request: "", identity)


@pytest.fixture
def ledger(tmp_path: Path) -> Path:
    return tmp_path / "ledger.sqlite"


def test_a_ledger_that_is_not_there_is_empty_and_stays_away(ledger: Path) -> None:
    assert accounts(ledger) == {}
    assert answers_in(ledger, PAID, requests("a")) == {}
    assert not ledger.exists()


def test_answers_are_found_by_engine_and_request(ledger: Path) -> None:
    complete(engine(), requests("a", "b"), ledger, "asking")
    assert {key: answer.text for key, answer in answers_in(ledger, PAID, requests("b", "c")).items()} == {"b": "yes"}
    assert answers_in(ledger, "another", requests("b")) == {}


def test_calls_tokens_and_dollars_are_counted(ledger: Path) -> None:
    budget = Budget(None, PRICES)
    complete(engine(), requests("a", "refused", "cached"), ledger, "asking", budget=budget)
    tokens = {"prompt_tokens": 6, "completion_tokens": 9, "cached_tokens": 1, "reasoning_tokens": 2}
    assert accounts(ledger) == {PAID: CallAccount(answered=3, calls=3, cost=12.0, **tokens)}


def test_what_was_lost_or_not_counted_stands_with_the_most_that_it_could_cost(ledger: Path) -> None:
    budget = Budget(None, PRICES)
    asked = requests("lost", "uncounted")
    complete(engine(), asked, ledger, "asking", budget=budget)
    (account,) = accounts(ledger).values()
    assert (account.answered, account.unknown, account.calls) == (1, 1, 2)
    assert account.cost == pytest.approx(sum(budget.worst_case(PRICES.rows[0], [one]) or 0 for one in asked))


def test_a_price_that_nobody_knows_is_told_apart_from_nothing(ledger: Path) -> None:
    complete(engine(), requests("a"), ledger, "asking", budget=Budget(None, Prices(())))
    record = accounts_since({}, accounts(ledger), {PAID: 1})
    assert record[PAID]["cost"] is None
    assert (record[PAID]["calls"], record[PAID]["unpriced"]) == (1, 1)


def test_a_stage_is_what_was_added_and_what_was_there_before(ledger: Path) -> None:
    budget = Budget(None, PRICES)
    complete(engine(), requests("a", "b"), ledger, "asking", budget=budget)
    before = accounts(ledger)
    budget.answers.clear()
    complete(engine(), requests("a", "b", "c"), ledger, "asking", budget=budget)
    complete(engine("scripted x"), requests("a"), ledger, "asking", budget=budget)
    record = accounts_since(before, accounts(ledger), budget.answers)
    kept = {name: record[PAID][name] for name in ("answered", "from_ledger", "calls", "cost")}
    assert kept == {"answered": 1, "from_ledger": 2, "calls": 1, "cost": 4.0}
    assert accounts_since(accounts(ledger), accounts(ledger), {}) == {}


def test_a_ledger_in_use_can_be_read(ledger: Path) -> None:
    seen = []

    class Curious(PaidEngine):
        def generate(self, batches: Sequence[Sequence[Request]], journal: Journal) -> Iterator[list[Completion]]:
            for unit in super().generate(batches, journal):
                yield unit
                seen.append(accounts(ledger)[PAID].calls)

    complete(Curious.from_function(lambda request: "", PAID), requests("a", "b"), ledger, "asking")
    assert seen == [1, 2]


@pytest.mark.parametrize(
    ("failures", "helps"),
    [
        (["timeout: no reply"], True),
        (["http-400: no seed", "http-503: busy"], True),
        (["http-400: no seed", "refusal: I cannot"], False),
        ([], False),
    ],
)
def test_asking_again_is_advised_only_where_it_may_help(ledger: Path, failures: list[str], helps: bool) -> None:
    told = dict(zip("ab", failures, strict=False))
    failing = ScriptedEngine.from_function(lambda request: Completion(key=request.key, failure=told.get(request.key)))
    complete(failing, requests("a", "b"), ledger, "asking")
    assert any(remedy(reason).passes for reason in failures_in(ledger)) is helps
    complete(engine(), requests("lost"), ledger, "asking")
    assert any(remedy(reason).passes for reason in failures_in(ledger)), "of unknown outcome"


def test_a_file_that_is_no_ledger_is_an_error_or_empty(ledger: Path) -> None:
    ledger.write_bytes(b"no database at all, " * 100)
    with pytest.raises(StoreError, match="not a database"):
        accounts(ledger)
    ledger.unlink()
    with closing(sqlite3.connect(ledger)) as link:
        link.execute("CREATE TABLE requests (id INTEGER)")
        link.execute("PRAGMA user_version = 2")
    assert accounts(ledger) == {}
