"""Keeps the cost of a run below what the user allows: every call reserves its worst case before it is sent.

What is spent and what is reserved never exceed the limit together. A call is settled with the tokens that the server
counted; where it counted none, or the answer was lost, the worst case stands.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from threading import Lock

from tunalm.calls.prices import Price, Prices, place_of
from tunalm.engines.base import Request
from tunalm.errors import BudgetError
from tunalm.store import canonical

BYTES_PER_TOKEN = 3
"""Of a prompt, in UTF-8. Few texts have more tokens: English has about four bytes to one, Chinese about three."""
TEMPLATE_TOKENS = 64
"""Most that a template or a server's own words add to a prompt."""
SMALLEST = 1e-9
"""Dollars; less is what rounding leaves."""


class Budget:
    """The money of one run. All methods may be called from several threads.

    Args:
        max_cost: dollars for all calls of the run, those of earlier processes included; None is no limit.
        prices: of the models that are asked.
        spent: dollars that earlier processes have spent on this run.
    """

    def __init__(self, max_cost: float | None, prices: Prices, *, spent: float = 0.0) -> None:
        self.max_cost = max_cost
        self.prices = prices
        self._spent = spent
        self._reserved = 0.0
        self._lock = Lock()
        self.answers: Counter[str] = Counter()
        """Requests for which there is an answer, new or old, by the identity of the engine."""

    @property
    def spent(self) -> float:
        """Dollars that settled calls have cost."""
        with self._lock:
            return self._spent

    @property
    def reserved(self) -> float:
        """Dollars that the calls in flight may cost."""
        with self._lock:
            return self._reserved

    def check(self, identities: Iterable[str]) -> None:
        """Make sure that the price of every engine is known, if there is a limit to keep.

        Raises:
            BudgetError: it is not.
        """
        for identity in identities:
            self._price(identity)

    def reserve(self, identity: str, unit: Sequence[Request]) -> float:
        """Set aside the worst case of a call.

        Args:
            identity: of the engine.
            unit: requests that are answered by this one call.

        Returns:
            Dollars, to be handed to `settle` or `release`.

        Raises:
            BudgetError: it does not fit beside what is spent and reserved, or the price is not known and matters.
        """
        price = self._price(identity)
        worst = price.cost(prompt_tokens_at_most(unit), completion_tokens_at_most(unit)) if price else 0.0
        with self._lock:
            if self.max_cost is not None and self._spent + self._reserved + worst > self.max_cost + SMALLEST:
                raise self._exhausted(identity, worst)
            self._reserved += worst
        return worst

    def settle(
        self, reserved: float, identity: str, prompt_tokens: int | None, completion_tokens: int | None
    ) -> float | None:
        """Replace a reservation by what the call has cost.

        Args:
            reserved: as `reserve` returned it.
            identity: of the engine.
            prompt_tokens: of the whole call, as the server counted them; None if it did not.
            completion_tokens: likewise.

        Returns:
            Dollars; None if nobody knows the price.
        """
        price = self.prices.find(identity)
        cost = reserved
        if price is not None and prompt_tokens is not None and completion_tokens is not None:
            cost = price.cost(prompt_tokens, completion_tokens)
        with self._lock:
            self._reserved = max(0.0, self._reserved - reserved)
            self._spent += cost
        return cost if price else None

    def release(self, reserved: float) -> None:
        """Give back the reservation of a call that was surely not made."""
        with self._lock:
            self._reserved = max(0.0, self._reserved - reserved)

    def refund(self, amount: float) -> None:
        """Take back what an earlier process was counted to have spent, because it is counted anew."""
        with self._lock:
            self._spent = max(0.0, self._spent - amount)

    def _price(self, identity: str) -> Price | None:
        price = self.prices.find(identity)
        if price is None and self.max_cost is not None:
            place = place_of(identity)
            raise BudgetError(
                f"max_cost: {self.max_cost:g}",
                found=f"no price for {place}",
                expected="the price of every model that is asked, to keep to a limit",
                fix=f'Add {{host: {place.host}, model: "{place.model}", prompt: ..., completion: ...}} (dollars per '
                "million tokens) to a table of prices and name it with --prices, or remove max_cost.",
            )
        return price

    def _exhausted(self, identity: str, worst: float) -> BudgetError:
        in_flight = f" and up to {dollars(self._reserved)} in flight" if self._reserved > SMALLEST else ""
        return BudgetError(
            place_of(identity),
            found=f"{dollars(self._spent)} spent{in_flight}, and a next call of up to {dollars(worst)}",
            expected=f"at most {dollars(self.max_cost or 0.0)} (max_cost)",
            fix="Raise max_cost; the same command then goes on from here. All answers are kept.",
        )


def prompt_tokens_at_most(unit: Sequence[Request]) -> int:
    """Tokens that the prompt of a call hardly exceeds; the requests of a unit share it."""
    request = unit[0]
    text = "".join(message.text for message in request.messages)
    schema = "" if request.json_schema is None else canonical(request.json_schema)
    return -(-len((text + schema).encode()) // BYTES_PER_TOKEN) + TEMPLATE_TOKENS


def completion_tokens_at_most(unit: Sequence[Request]) -> int:
    """Tokens that the answers of a call cannot exceed."""
    return sum(request.max_new_tokens for request in unit)


def dollars(amount: float) -> str:
    """An amount as people read it: to the cent, or to two digits if it is less than ten cents."""
    digits = 2 if amount < SMALLEST or amount >= 0.1 else 1 - math.floor(math.log10(amount))
    return f"${amount:,.{digits}f}"
