"""The journal of an engine, kept in a ledger: it finds answers, keeps account of the calls, and files what comes.

requests --> look up --> answered before: done with
                |`-----> of unknown outcome: asked again as far as `max_duplicates` goes, else a failure that says so
                `------> open units --> engine: sending --> answered | lost | refused --> ledger
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from threading import Lock

from tunalm.calls.budget import Budget
from tunalm.calls.ledger import Ledger, address
from tunalm.calls.prices import Usage
from tunalm.engines.base import Completion, Engine, Journal, Request
from tunalm.progress import console
from tunalm.records import UNKNOWN

NOT_AGAIN = f"{UNKNOWN}it was sent and may have been paid for, and max_duplicates allows no second time"


class LedgerJournal(Journal):
    """The requests of one call of `complete`, and the `Journal` of the engine that is asked.

    Args:
        engine: who is asked.
        requests: each with a key of its own.
        kept: the ledger, opened for this engine.
        budget: what the calls may cost.
    """

    def __init__(self, engine: Engine, requests: Sequence[Request], kept: Ledger, budget: Budget) -> None:
        self._engine, self._kept, self._budget = engine, kept, budget
        self._price = budget.price(engine.identity)
        self._requests = {address(engine.identity, request): request for request in requests}
        self._addresses = {request.key: place for place, request in self._requests.items()}
        self._calls: dict[str, int] = {}
        self._filed: set[str] = set()
        self._counting = Lock()
        self._left = 0
        self.answers: dict[str, Completion] = {}
        """By key: what is final for this time."""

    def look_up(self, advance: Callable[[int], None]) -> None:
        """Take what is answered from the ledger, and decide what is done about requests of unknown outcome."""
        self._kept.take_over(resumes=self._engine.capabilities.resumes)
        self._left = self._engine.capabilities.max_duplicates - self._kept.duplicates()
        found = dict(self._kept.find([*self._requests]))
        self.answers = {each.key: each for state, each in found.values() if state == "ok" and each is not None}
        unknown = [request.key for place, request in self._requests.items() if found.get(place, ("",))[0] == "unknown"]
        again = sum(self._may_repeat(1) for _ in unknown)
        for key in unknown[again:]:
            self.answers[key] = Completion(key=key, failure=NOT_AGAIN, unknown=True)
        advance(len(self.answers))
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

    def take(self, unit: Sequence[Completion]) -> list[Completion]:
        """Take a unit that the engine has finished, filing what no call has answered; returns what was wanted."""
        new = [_told(each) for each in unit if each.key in self._addresses and each.key not in self.answers]
        if unfiled := [each for each in new if each.key not in self._filed]:
            self._kept.file(self._by_address(unfiled))
        self.answers.update((each.key, each) for each in new)
        return new

    def _by_address(self, completions: Sequence[Completion]) -> dict[str, Completion]:
        """What can be filed: not what is of unknown outcome, and no answer to a question that is no request."""
        return {
            self._addresses[each.key]: each for each in completions if each.key in self._addresses and not each.unknown
        }

    # The journal of the engine

    @contextmanager
    def together(self) -> Iterator[None]:
        """See `Journal`."""
        with self._kept.changing(durable=True):
            yield

    def sending(self, unit: Sequence[Request]) -> None:
        """See `Journal`."""
        worst = self._budget.worst_case(self._price, unit)
        asked = {self._addresses[request.key]: request.key for request in unit if request.key in self._addresses}
        number = self._kept.send(asked, worst, self._budget.max_cost)
        if number is None:
            raise self._budget.exhausted(self._engine.identity, self._kept.spent, self._kept.reserved, worst or 0.0)
        self._calls[unit[0].key] = number

    def answered(self, unit: Sequence[Request], completions: Sequence[Completion]) -> None:
        """See `Journal`."""
        usage = usage_of(completions[0])
        cost = None if self._price is None or usage is None else self._price.cost(*usage)
        self._kept.settle(self._calls.pop(unit[0].key), self._by_address(completions), usage, cost)
        self._filed.update(each.key for each in completions)

    def lost(self, unit: Sequence[Request], reason: str) -> bool:
        """See `Journal`."""
        self._kept.lose(self._calls.pop(unit[0].key), reason)
        return self._may_repeat(len(unit))

    def refused(self, unit: Sequence[Request], reason: str) -> None:
        """See `Journal`."""
        self._kept.refuse(self._calls.pop(unit[0].key), reason)

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


def usage_of(first: Completion) -> Usage | None:
    """Tokens that a call is charged for, which its first completion carries; None if the server counted none."""
    if first.prompt_tokens is None or first.completion_tokens is None:
        return None
    return Usage(first.prompt_tokens, first.completion_tokens, first.cached_tokens or 0, first.reasoning_tokens or 0)


def _told(completion: Completion) -> Completion:
    """A completion whose failure says so where the outcome is unknown."""
    if not completion.unknown or (completion.failure or "").startswith(UNKNOWN):
        return completion
    return completion.model_copy(update={"failure": UNKNOWN + (completion.failure or "no reply")})
