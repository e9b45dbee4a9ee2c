"""A limit on costs holds whatever calls do, and says what to do when it is reached."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from random import Random
from threading import Barrier

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tunalm.calls.budget import Budget, dollars, prompt_tokens_at_most
from tunalm.calls.prices import Price, Prices
from tunalm.engines.base import Request
from tunalm.errors import BudgetError
from tunalm.records import Message

MODEL = "endpoint https://api.example.com/v1 large"
PRICES = Prices((Price(host="api.example.com", model="*", prompt=1, completion=4),))
FREE = Prices((Price(host="*", model="*", prompt=0, completion=0),))


def unit(text: str = "Say yes.", n: int = 1, room: int = 100) -> list[Request]:
    messages = [Message(role="user", content=text)]
    return [Request(key=str(number), messages=messages, max_new_tokens=room) for number in range(n)]


def worst(requests: Sequence[Request]) -> float:
    """Dollars by the prices above."""
    return (prompt_tokens_at_most(requests) + 4 * sum(request.max_new_tokens for request in requests)) / 1e6


def test_a_call_reserves_its_worst_case_and_pays_what_it_used() -> None:
    budget = Budget(1.0, PRICES)
    reserved = budget.reserve(MODEL, unit(n=3))
    assert reserved == pytest.approx(worst(unit(n=3))) == budget.reserved
    assert budget.settle(reserved, MODEL, 10, 20) == pytest.approx(90e-6) == budget.spent
    assert budget.reserved == pytest.approx(0)


@pytest.mark.parametrize("counts", [(None, None), (10, None), (None, 20)], ids=["none", "no-completion", "no-prompt"])
def test_what_was_not_counted_costs_the_worst_case(counts: tuple[int | None, int | None]) -> None:
    budget = Budget(1.0, PRICES)
    reserved = budget.reserve(MODEL, unit())
    assert budget.settle(reserved, MODEL, *counts) == pytest.approx(worst(unit())) == budget.spent


def test_a_call_that_was_not_made_costs_nothing() -> None:
    budget = Budget(1.0, PRICES)
    budget.release(budget.reserve(MODEL, unit()))
    assert budget.spent == 0
    assert budget.reserved == pytest.approx(0)


def test_the_limit_counts_what_was_spent_before_and_what_is_in_flight() -> None:
    each = worst(unit())
    budget = Budget(3.5 * each, PRICES, spent=each)
    budget.reserve(MODEL, unit())
    budget.reserve(MODEL, unit())
    with pytest.raises(BudgetError) as caught:
        budget.reserve(MODEL, unit())
    line = str(caught.value)
    assert line.startswith("large at api.example.com: found ")
    assert f"{dollars(each)} spent and up to {dollars(2 * each)} in flight" in line
    assert f"at most {dollars(3.5 * each)} (max_cost)" in line
    assert "Raise max_cost; the same command then goes on from here." in line


def test_the_whole_limit_can_be_spent() -> None:
    budget = Budget(3 * worst(unit()), PRICES)
    for _ in range(3):
        budget.settle(budget.reserve(MODEL, unit()), MODEL, None, None)
    with pytest.raises(BudgetError):
        budget.reserve(MODEL, unit())


def test_an_unknown_price_is_refused_only_where_there_is_a_limit() -> None:
    with pytest.raises(BudgetError) as caught:
        Budget(1.0, Prices(())).reserve(MODEL, unit())
    assert '{host: api.example.com, model: "large", prompt: ..., completion: ...}' in str(caught.value)
    assert "--prices" in str(caught.value)
    free = Budget(None, Prices(()))
    assert free.settle(free.reserve(MODEL, unit()), MODEL, 10, 20) is None
    assert free.spent == 0


def test_prices_are_checked_before_anything_is_sent() -> None:
    Budget(None, Prices(())).check([MODEL])
    Budget(1.0, PRICES).check([MODEL])
    with pytest.raises(BudgetError, match="no price for large at api"):
        Budget(1.0, Prices(())).check([MODEL])


def test_what_costs_nothing_fits_into_a_limit_of_nothing() -> None:
    budget = Budget(0.0, FREE)
    assert budget.settle(budget.reserve(MODEL, unit()), MODEL, 10, 20) == 0.0


@given(st.text(max_size=300))
def test_the_worst_case_of_a_prompt_covers_a_token_per_three_bytes(text: str) -> None:
    assert prompt_tokens_at_most(unit(text)) >= len(text.encode()) / 3


def test_a_schema_is_part_of_the_prompt() -> None:
    plain = unit()[0]
    schema = {"type": "object", "properties": {"a" * 300: {"type": "string"}}}
    with_schema = plain.model_copy(update={"json_schema": schema})
    assert prompt_tokens_at_most([with_schema]) > prompt_tokens_at_most([plain]) + 100


def test_many_threads_never_exceed_the_limit_together() -> None:
    limit, threads = 40 * worst(unit()), 16
    budget = Budget(limit, PRICES)
    start = Barrier(threads)

    def work(number: int) -> tuple[float, int]:
        dice, paid, calls = Random(number), 0.0, 0
        start.wait()
        while True:
            try:
                reserved = budget.reserve(MODEL, unit())
            except BudgetError:
                return paid, calls
            assert budget.spent + budget.reserved <= limit + 1e-9
            if dice.random() < 0.2:
                budget.release(reserved)
                continue
            used = (dice.randrange(5, 20), dice.randrange(40, 101))
            cost = budget.settle(reserved, MODEL, *used)
            paid, calls = paid + (cost or 0), calls + 1

    with ThreadPoolExecutor(threads) as pool:
        results = list(pool.map(work, range(threads)))
    assert sum(paid for paid, _ in results) == pytest.approx(budget.spent)
    assert sum(calls for _, calls in results) >= 40 - threads
    assert limit - 16 * worst(unit()) <= budget.spent <= limit
    assert budget.reserved == pytest.approx(0)


def test_amounts_are_short() -> None:
    assert [dollars(amount) for amount in (0, 1234.5, 0.25, 0.0123, 0.0000451)] == [
        "$0.00",
        "$1,234.50",
        "$0.25",
        "$0.012",
        "$0.000045",
    ]
