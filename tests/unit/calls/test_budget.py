"""A limit on costs holds whatever calls do, and says what to do when it is reached."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tunalm.calls.budget import Budget, dollars, prompt_tokens_at_most
from tunalm.calls.prices import Price, Prices
from tunalm.engines.base import Request
from tunalm.errors import BudgetError
from tunalm.recipe import EndpointSettings
from tunalm.records import Message

MODEL = EndpointSettings(base_url="https://api.example.com/v1", model="large")
PRICES = Prices((Price(host="api.example.com", model="*", prompt=1, completion=4),))


def unit(text: str = "Say yes.", n: int = 1, room: int = 100) -> list[Request]:
    messages = [Message(role="user", content=text)]
    return [Request(key=str(number), messages=messages, max_new_tokens=room) for number in range(n)]


def test_the_worst_case_is_every_token_at_its_highest_price() -> None:
    tokens = prompt_tokens_at_most(unit())
    price = Price(host="*", model="*", prompt=1, completion=4)
    thinking = Price(host="*", model="*", prompt=1, completion=4, cached_prompt=0.1, reasoning=6)
    worst = [Budget(1.0, PRICES).worst_case(each, unit(n=3)) for each in (price, thinking)]
    assert worst == [pytest.approx((tokens + 4 * 300) / 1e6), pytest.approx((tokens + 6 * 300) / 1e6)]


def test_an_unknown_price_is_refused_only_where_there_is_a_limit() -> None:
    with pytest.raises(BudgetError) as caught:
        Budget(1.0, Prices(())).check([MODEL])
    assert '{host: api.example.com, model: "large", prompt: ..., completion: ...}' in str(caught.value)
    assert "--prices" in str(caught.value)
    Budget(1.0, PRICES).check([MODEL])
    free = Budget(None, Prices(()))
    assert free.price(MODEL.identity()) is None
    assert free.worst_case(None, unit()) is None


@given(st.text(max_size=300))
def test_the_worst_case_of_a_prompt_covers_a_token_per_three_bytes(text: str) -> None:
    assert prompt_tokens_at_most(unit(text)) >= len(text.encode()) / 3


def test_a_schema_is_part_of_the_prompt() -> None:
    plain = unit()[0]
    schema = {"type": "object", "properties": {"a" * 300: {"type": "string"}}}
    with_schema = plain.model_copy(update={"json_schema": schema})
    assert prompt_tokens_at_most([with_schema]) > prompt_tokens_at_most([plain]) + 100


def test_amounts_are_short() -> None:
    assert [dollars(amount) for amount in (0, 1234.5, 0.25, 0.0123, 0.0000451)] == [
        "$0.00",
        "$1,234.50",
        "$0.25",
        "$0.012",
        "$0.000045",
    ]
