"""What a run may cost: every call reserves its worst case before it is made.

What is spent and what is reserved, which the ledger knows, never exceed the limit together. A call is settled with the
tokens that the server counted; where it counted none, or the answer was lost, the worst case stands.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence

from tunalm.calls.prices import Price, Prices
from tunalm.engines.base import Request
from tunalm.errors import BudgetError
from tunalm.recipe import EngineSettings
from tunalm.recipe.places import IN_PROCESS, Place
from tunalm.store import canonical

BYTES_PER_TOKEN = 3
"""Of a prompt, in UTF-8. Few texts have more tokens: English has about four bytes to one, Chinese about three."""
TEMPLATE_TOKENS = 64
"""Most that a template or a server's own words add to a prompt."""
SMALLEST = 1e-9
"""Dollars; less is what rounding leaves."""


class Budget:
    """The limit and the prices of one run.

    Args:
        max_cost: dollars for all calls in the ledger of the run, those of earlier processes included; None is no limit.
        prices: of the models that are asked.
    """

    def __init__(self, max_cost: float | None, prices: Prices) -> None:
        self.max_cost = max_cost
        self.prices = prices
        self._places: dict[str, Place] = {}
        self.answers: Counter[str] = Counter()
        """Requests for which there is an answer, new or old, by the identity of the engine."""

    def check(self, engines: Iterable[EngineSettings]) -> None:
        """Make sure that the price of every engine is known, if there is a limit to keep.

        Raises:
            BudgetError: it is not.
        """
        for engine in engines:
            self.know(engine.identity(), engine.place())

    def know(self, identity: str, place: Place) -> None:
        """Learn where an engine answers; raises as `price`. One of which nothing is known is in this process."""
        self._places[identity] = place
        self.price(identity)

    def place(self, identity: str) -> Place:
        """Where an engine answers."""
        return self._places.get(identity, Place(IN_PROCESS, identity, "custom"))

    def price(self, identity: str) -> Price | None:
        """What the tokens of an engine cost, None if nobody knows.

        Raises:
            BudgetError: nobody knows, and there is a limit to keep.
        """
        place = self.place(identity)
        price = self.prices.find(place)
        if price is None and self.max_cost is not None:
            raise BudgetError(
                f"max_cost: {self.max_cost:g}",
                found=f"no price for {place}",
                fix=f'Add {{host: {place.host}, model: "{place.model}", prompt: ..., completion: ...}} (dollars per '
                "million tokens) to a table of prices and name it with --prices, or remove max_cost.",
            )
        return price

    def worst_case(self, price: Price | None, unit: Sequence[Request]) -> float | None:
        """Dollars that a call which answers a unit can cost; None if nobody knows."""
        return price.at_most(prompt_tokens_at_most(unit), completion_tokens_at_most(unit)) if price else None

    def exhausted(self, identity: str, spent: float, reserved: float, worst: float) -> BudgetError:
        """The error for a call that may cost `worst` beside what is spent and reserved (dollars)."""
        in_flight = f" and up to {dollars(reserved)} in flight" if reserved > SMALLEST else ""
        return BudgetError(
            self.place(identity),
            found=f"{dollars(spent)} spent{in_flight}, and a next call of up to {dollars(worst)}",
            expected=f"at most {dollars(self.max_cost or 0.0)} (max_cost)",
            fix="Raise max_cost; the same command then resumes from here. All answers are kept.",
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
