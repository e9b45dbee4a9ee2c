"""The ledger in every order of events, against a model of a few lines."""

from __future__ import annotations

import tempfile
from collections import Counter
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from tests.memory import MEMORY
from tests.unit.calls.test_journal import PRICE, KilledError, Server, limited, requests, rows
from tunalm.calls.journal import NOT_AGAIN, LedgerJournal
from tunalm.calls.ledger import open_ledger
from tunalm.calls.spending import accounts
from tunalm.engines.base import Completion
from tunalm.errors import BudgetError, StoreError

KEYS = st.sampled_from("abcdef")
WORST = limited(None).worst_case(PRICE, requests("a")) or 0.0
COST = 5.0


class LedgerOrders(RuleBasedStateMachine):
    """One ledger, the processes that open it one after the other, and the calls that they make."""

    def __init__(self) -> None:
        super().__init__()
        self.files, self.process = ExitStack(), ExitStack()
        self.ledger = Path(self.files.enter_context(tempfile.TemporaryDirectory(dir=MEMORY))) / "ledger.sqlite"
        self.state: dict[str, str] = {}
        self.lost: Counter[str] = Counter()
        self.open: dict[str, int] = {}
        """Calls: whether each is for a request of unknown outcome."""
        self.spent, self.again = 0.0, 0
        self.job: str | None = None

    @initialize(calls=st.integers(1, 12), max_duplicates=st.integers(0, 4), resumes=st.booleans())
    def begin(self, calls: int, max_duplicates: int, resumes: bool) -> None:
        self.budget = limited(calls * WORST)
        self.server = Server(self.ledger, max_duplicates=max_duplicates)
        self.server.resumes = resumes
        self.start()

    def start(self) -> None:
        """A process opens the ledger: what the one before left open is settled."""
        kept = self.process.enter_context(open_ledger(self.ledger, self.server.identity))
        self.journal = LedgerJournal(self.server, requests(*"abcdef"), kept, self.budget)
        self.journal.look_up(lambda count: None)
        for key in [*self.open]:
            self.model_refused(key) if self.server.resumes else self.model_lost(key)
        self.left = self.server.max_duplicates - self.again
        unknown = [key for key in "abcdef" if self.state.get(key) == "unknown"]
        self.left -= (again := max(0, min(self.left, len(unknown))))
        assert {key for key, each in self.journal.answers.items() if each.failure == NOT_AGAIN} == {*unknown[again:]}
        assert self.journal.recall("job") == self.job

    def model_lost(self, key: str) -> None:
        self.again += self.open.pop(key)
        self.spent += WORST
        self.state[key] = "unknown"
        self.lost[key] += 1

    def model_refused(self, key: str) -> None:
        self.open.pop(key)
        self.state[key] = "unknown" if self.lost[key] else "none"

    def end(self) -> None:
        with suppress(KilledError), self.process:
            raise KilledError

    @rule(orderly=st.booleans())
    def reopened(self, orderly: bool) -> None:
        self.process.close() if orderly else self.end()
        self.start()

    @rule()
    def opened_by_a_second(self) -> None:
        with pytest.raises(StoreError, match="a ledger in use"), open_ledger(self.ledger, "other"):
            pass

    @rule(key=KEYS)
    def sending(self, key: str) -> None:
        if key in self.open or not any(each[0].key == key for each in self.journal.open_units()):
            return
        if self.spent + (len(self.open) + 1) * WORST > (self.budget.max_cost or 0) + 1e-6:
            with pytest.raises(BudgetError):
                self.journal.sending(requests(key))
        else:
            self.journal.sending(requests(key))
            self.open[key] = self.state.get(key) == "unknown"
            self.state[key] = "sent"

    @precondition(lambda self: self.open)
    @rule(data=st.data(), word=st.sampled_from(["ok", "failed", "uncounted"]))
    def answered(self, data: st.DataObject, word: str) -> None:
        key = data.draw(st.sampled_from(sorted(self.open)))
        tokens = {} if word == "uncounted" else {"prompt_tokens": 3, "completion_tokens": 2}
        answer = Completion(key=key, text=f"{word} {key}", failure="bad" if word == "failed" else None, **tokens)
        self.journal.answered(requests(key), [answer])
        assert self.journal.take([answer]) == [answer]
        self.again += self.open.pop(key)
        self.spent += COST if tokens else WORST
        self.state[key] = "failed" if word == "failed" else "ok"

    @precondition(lambda self: self.open)
    @rule(data=st.data())
    def told_lost(self, data: st.DataObject) -> None:
        key = data.draw(st.sampled_from(sorted(self.open)))
        may_repeat = self.journal.lost(requests(key), "timed out")
        self.model_lost(key)
        assert may_repeat == (self.left > 0)
        self.left -= may_repeat
        if not may_repeat:
            self.journal.take([Completion(key=key, failure="timed out", unknown=True)])

    @precondition(lambda self: self.open)
    @rule(data=st.data())
    def refused(self, data: st.DataObject) -> None:
        key = data.draw(st.sampled_from(sorted(self.open)))
        self.journal.refused(requests(key), "no room")
        self.model_refused(key)

    @rule(data=st.data())
    def a_group_that_cannot_be_kept(self, data: st.DataObject) -> None:
        """All of it is as if it had not been told; the process ends."""
        told = data.draw(st.lists(KEYS, max_size=3, unique=True))
        with suppress(KilledError, BudgetError), self.journal.together():
            for key in told:
                if key in self.open:
                    self.journal.answered(requests(key), [Completion(key=key, text="gone")])
                elif self.state.get(key, "none") != "ok":
                    self.journal.sending(requests(key))
            raise KilledError
        self.end()
        self.start()

    @rule(name=st.sampled_from(["job 1", "job 2"]))
    def remembered(self, name: str) -> None:
        self.journal.remember("job", name)
        self.job = name

    @invariant()
    def the_file_says_what_the_model_says(self) -> None:
        if not self.ledger.exists():
            return
        states = dict(rows(self.ledger, "SELECT key, state FROM requests"))
        assert states == {key: state for key, state in self.state.items() if state != "none"}
        assert {key: count for key, count in rows(self.ledger, "SELECT key, lost FROM requests") if count} == dict(
            +self.lost
        )
        ((spent, reserved),) = rows(
            self.ledger, "SELECT total(cost), total(reserved) FILTER (WHERE ended IS NULL) FROM calls"
        )
        assert (spent, reserved) == pytest.approx((self.spent, len(self.open) * WORST))
        assert spent + reserved <= (self.budget.max_cost or 0) + 1e-6
        told = accounts(self.ledger).get(self.server.identity)
        assert told is None or told.cost == pytest.approx(spent + reserved)
        assert rows(self.ledger, "SELECT total(duplicates) FROM calls") == [(self.again + sum(self.open.values()),)]
        assert self.again <= self.server.max_duplicates

    def teardown(self) -> None:
        self.end()
        self.files.close()


def every_order(runs: int) -> None:
    """So many runs of the machine."""
    each = settings(max_examples=runs, stateful_step_count=25, deadline=None, suppress_health_check=list(HealthCheck))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TUNALM_QUIET", "1")
        run_state_machine_as_test(LedgerOrders, settings=each)


def test_the_ledger_in_every_order() -> None:
    every_order(40)
