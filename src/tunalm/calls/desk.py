"""The desk between an engine and its ledger: it finds answers, keeps the journal of the calls, and files what comes.

Before anything is asked, replies that were kept but never became answers are read (again). What is of unknown outcome
is asked again as far as the engine's `max_duplicates` goes, and else is an answer that says so.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from threading import Lock

from tunalm.calls.budget import Budget
from tunalm.calls.ledger import Bill, Ledger, Reply, address
from tunalm.engines.base import Completion, Engine, Paid, Request
from tunalm.errors import StoreError
from tunalm.progress import console
from tunalm.records import UNKNOWN

NOT_AGAIN = f"{UNKNOWN}it was sent and may have been paid for, and max_duplicates allows no second time"


@dataclass
class _Call:
    """A call that was made and not filed yet."""

    number: int
    """In the ledger."""
    reserved: float
    """Dollars that it may cost."""
    status: int | None = None
    """Of its reply, once that is here."""


class Desk:
    """The requests of one call of `complete`, and the `Journal` of the engine that is asked.

    Args:
        engine: who is asked.
        requests: each with a key of its own.
        kept: the ledger, opened for this engine.
        budget: what the calls may cost, if that is of interest.
    """

    def __init__(self, engine: Engine, requests: Sequence[Request], kept: Ledger, budget: Budget | None) -> None:
        self._engine, self._kept, self._budget = engine, kept, budget
        self._requests = {address(engine.identity, request): request for request in requests}
        self._addresses = {request.key: place for place, request in self._requests.items()}
        self._calls: dict[str, _Call] = {}
        self._left = engine.max_duplicates - kept.duplicates() if isinstance(engine, Paid) else 0
        self._counting = Lock()
        self.answers: dict[str, Completion] = {}
        """By key: what is final for this time."""

    def look_up(self, advance: Callable[[int], None]) -> None:
        """Take what is answered from the ledger, and decide what is done about requests of unknown outcome."""
        if not self._engine.capabilities.resumes:
            self._kept.give_up(priced=bool(self._budget and self._budget.prices.find(self._engine.identity)))
        elif (reserved := self._kept.take_up()) and self._budget:
            self._budget.refund(reserved)
        states: dict[str, str] = {}
        for place, row in self._kept.find([*self._requests]):
            states[place] = row.state
            if row.state == "ok" and row.completion is not None:
                self.answers[row.completion.key] = row.completion
                advance(1)
        self._kept.plan({place: request.key for place, request in self._requests.items() if place not in states})
        if isinstance(self._engine, Paid):
            kept = [place for place, state in states.items() if state in ("sent", "failed")]
            for reply in self._kept.replies(kept):
                advance(self._read_again(self._engine, reply, states))
        unknown = ("unknown",) if self._engine.capabilities.resumes else ("unknown", "sent")
        self._decide(
            [
                place
                for place, request in self._requests.items()
                if states.get(place) in unknown and request.key not in self.answers
            ],
            advance,
        )

    def _read_again(self, engine: Paid, reply: Reply, states: Mapping[str, str]) -> int:
        """File what an engine makes of a reply that was kept; returns how many requests are done with."""
        sibling = next(self._requests[place] for place in reply.addresses if place in self._requests)
        unit = [
            self._requests.get(place) or sibling.model_copy(update={"key": place})  # not wanted now, but part of it
            for place in reply.addresses
        ]
        completions = engine.read(unit, reply.status, reply.body)
        new = {
            place: completion
            for place, completion in zip(reply.addresses, completions, strict=True)
            if states.get(place) == "sent" or (states.get(place) == "failed" and completion.failure is None)
        }
        if any(states.get(place) == "sent" for place in new):
            if self._budget:
                self._budget.refund(reply.reserved)
            self._kept.settle(new, self._bill(_Call(reply.call, reply.reserved, reply.status), completions))
        elif new:
            self._kept.settle(new)
        self.answers.update((completion.key, completion) for completion in new.values())
        return len(new)

    def _decide(self, unknown: Sequence[str], advance: Callable[[int], None]) -> None:
        """Let as many requests of unknown outcome be sent again as is allowed; the others are done with."""
        again = sum(self._may_repeat(1) for _ in unknown)
        for place in unknown[again:]:
            key = self._requests[place].key
            self.answers[key] = Completion(key=key, failure=NOT_AGAIN, unknown=True)
        advance(len(unknown) - again)
        if unknown:
            console().print(
                f"      {len(unknown)} requests were sent before and their outcome is unknown; {again} are sent again"
                f"{'' if again == len(unknown) else ' (max_duplicates allows no more)'}",
                markup=False,
                soft_wrap=True,
            )

    def open_units(self) -> list[list[Request]]:
        """Those units of all requests that lack an answer: whole for a seeded engine, else what is missing of them."""
        units = self._engine.batches([*self._requests.values()])
        missing = [[request for request in unit if request.key not in self.answers] for unit in units]
        asked = units if self._engine.capabilities.seeded else missing
        return [unit for unit, lacking in zip(asked, missing, strict=True) if lacking]

    def file(self, unit: Sequence[Completion]) -> int:
        """File the completions of a unit; returns how many of them were wanted."""
        call = next((call for each in unit if (call := self._calls.pop(each.key, None))), None)
        new = {self._addresses[each.key]: _told(each) for each in unit if each.key not in self.answers}
        self._kept.settle(new, self._bill(call, unit) if call else None)
        self.answers.update((answer.key, answer) for answer in new.values())
        return len(new)

    def close(self) -> None:
        """Count calls that nobody waits for any more as paid."""
        while self._calls:
            self._pay(self._calls.popitem()[1])

    # The journal of the engine

    def sending(self, unit: Sequence[Request]) -> None:
        """See `Journal`."""
        reserved = self._budget.reserve(self._engine.identity, unit) if self._budget else 0.0
        try:
            number = self._kept.send([self._addresses[request.key] for request in unit], reserved)
        except StoreError:
            if self._budget:
                self._budget.release(reserved)
            raise
        self._calls[unit[0].key] = _Call(number, reserved)

    def received(self, unit: Sequence[Request], status: int, body: bytes) -> None:
        """See `Journal`."""
        call = self._calls[unit[0].key]
        self._kept.keep(call.number, status, body)
        call.status = status

    def lost(self, unit: Sequence[Request], reason: str) -> bool:
        """See `Journal`."""
        call = self._calls.pop(unit[0].key)
        self._kept.lose(call.number, reason, self._pay(call))
        return self._may_repeat(len(unit))

    def refused(self, unit: Sequence[Request], reason: str) -> None:
        """See `Journal`."""
        call = self._calls.pop(unit[0].key)
        if self._budget:
            self._budget.release(call.reserved)
        self._kept.take_back(call.number, reason)

    def together(self) -> AbstractContextManager[None]:
        """See `Journal`."""
        return self._kept.together()

    def remember(self, name: str, value: str) -> None:
        """See `Journal`."""
        self._kept.remember(name, value)

    def recall(self, name: str) -> str | None:
        """See `Journal`."""
        return self._kept.recall(name)

    def _may_repeat(self, count: int) -> bool:
        with self._counting:
            if self._left < count:
                return False
            self._left -= count
            return True

    def _bill(self, call: _Call, answers: Sequence[Completion]) -> Bill:
        tokens = _charged(call.status, answers)
        return Bill(call.number, *tokens, self._pay(call, *tokens))

    def _pay(self, call: _Call, prompt_tokens: int | None = None, completion_tokens: int | None = None) -> float | None:
        """Settle a call with the budget; without tokens, with the worst case."""
        if self._budget is None:
            return None
        return self._budget.settle(call.reserved, self._engine.identity, prompt_tokens, completion_tokens)


def _charged(status: int | None, answers: Sequence[Completion]) -> tuple[int | None, int | None]:
    """Tokens of prompt and completion that a call is charged for; None if the server told nothing."""
    if status is not None and status >= 400:
        return 0, 0
    prompts = [answer.prompt_tokens for answer in answers if answer.prompt_tokens is not None]
    completions = [answer.completion_tokens for answer in answers if answer.completion_tokens is not None]
    return sum(prompts) if prompts else None, sum(completions) if completions else None


def _told(completion: Completion) -> Completion:
    """A completion whose failure says so where the outcome is unknown."""
    if not completion.unknown or (completion.failure or "").startswith(UNKNOWN):
        return completion
    return completion.model_copy(update={"failure": UNKNOWN + (completion.failure or "no reply")})
