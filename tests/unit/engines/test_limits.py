"""How fast calls go to a server, on a clock that only moves when nothing else is left to do."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Literal

import anyio
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.clock import run
from tunalm.engines.endpoint.limits import LONGEST_PAUSE, START, Concurrency

Outcome = Literal["answered", "refused", "timed out"]


@dataclass
class Server:
    """Takes `rate` calls a second (and as many at once after a quiet second), and none from `down` on for a while."""

    rate: float
    latency: float
    down: tuple[float, float] = (math.inf, math.inf)
    calls: list[tuple[float, Outcome]] = field(default_factory=list)
    most: int = 0
    _flying: int = 0
    _room: float = math.nan
    _at: float = 0.0

    async def call(self) -> Outcome:
        now = anyio.current_time()
        self._room = min(
            self.rate, (self.rate if math.isnan(self._room) else self._room) + (now - self._at) * self.rate
        )
        self._at = now
        taken = self._room >= 1 and not self.down[0] <= now < self.down[1]
        self._room -= taken
        self.calls.append((now, "answered" if taken else "refused"))
        self._flying += 1
        self.most = max(self.most, self._flying)
        await anyio.sleep(self.latency if taken else 0.002)
        self._flying -= 1
        return "answered" if taken else "refused"

    def taken(self) -> int:
        return sum(outcome == "answered" for _, outcome in self.calls)


def serve(server: Server, requests: int, limit: Concurrency) -> None:
    """Ask until all requests are answered."""

    async def request() -> None:
        outcome: Outcome = "refused"
        while outcome != "answered":
            sent_at = anyio.current_time()
            outcome = await server.call()
            (limit.answered if outcome == "answered" else limit.refused)(sent_at)
            limit.leave()
            if outcome != "answered":
                await limit.enter()

    async def work() -> None:
        async with anyio.create_task_group() as group:
            for _ in range(requests):
                await limit.enter()
                group.start_soon(request)

    run(work)


def test_calls_in_flight_double_with_every_round_trip_up_to_the_ceiling() -> None:
    server, limit = Server(rate=1e9, latency=1.0), Concurrency(200)
    serve(server, 600, limit)
    per_second = [sum(int(at) == second for at, _ in server.calls) for second in range(5)]
    assert per_second == [START, 2 * START, 4 * START, 200, 176]
    assert server.most == 200
    assert limit.rate is None


@pytest.mark.parametrize("latency", [0.05, 1.0, 20.0])
@pytest.mark.parametrize("rate", [2.0, 5.0, 20.0])
def test_the_rate_that_a_server_allows_is_found_whatever_its_latency(rate: float, latency: float) -> None:
    server = Server(rate, latency)
    serve(server, int(rate * 120), Concurrency(2000))
    end = server.calls[-1][0]
    late = [outcome for at, outcome in server.calls if at > end / 2]
    assert late.count("answered") >= 0.9 * rate * end / 2
    assert late.count("refused") <= 0.06 * len(late)


def test_an_outage_is_met_with_few_calls_and_then_forgotten() -> None:
    server = Server(rate=10.0, latency=0.1, down=(60.0, 120.0))
    serve(server, 1200, Concurrency(100))
    assert sum(60.0 <= at < 120.0 for at, _ in server.calls) <= 12
    assert sum(120 + LONGEST_PAUSE <= at < 150 + LONGEST_PAUSE for at, _ in server.calls) >= 0.8 * 10 * 30


def test_a_storm_of_refusals_at_one_moment_is_one_cut() -> None:
    limit = Concurrency(64)

    async def work() -> None:
        for _ in range(8):
            await limit.enter()
        await anyio.sleep(1)
        for _ in range(8):
            limit.refused(0.0)
        assert limit.rate == 8.0, "what was taken so far"

    run(work)


def test_what_was_answered_before_an_outage_does_not_end_it() -> None:
    limit = Concurrency(64)

    async def work() -> None:
        await anyio.sleep(1)
        limit.refused(1.0)
        await anyio.sleep(1)
        limit.answered(0.5)
        assert limit.refusing_for() == 1.0
        limit.answered(1.5)
        assert limit.refusing_for() == 0.0

    run(work)


@given(
    st.lists(
        st.tuples(st.sampled_from(["answered", "refused", "timed out"]), st.floats(0, 100), st.booleans()), max_size=200
    )
)
def test_no_history_stops_the_calls_or_lets_too_many_go(history: list[tuple[Outcome, float, bool]]) -> None:
    limit = Concurrency(16)

    async def work() -> None:
        for outcome, seconds, old in history:
            before = anyio.current_time()
            await limit.enter()
            assert anyio.current_time() - before <= LONGEST_PAUSE + 1e-6
            sent_at = before if old else anyio.current_time()
            await anyio.sleep(seconds)
            {"answered": limit.answered, "refused": limit.refused, "timed out": limit.timed_out}[outcome](sent_at)
            limit.leave()
            assert 1 <= limit.places <= 16
            assert limit.rate is None or limit.rate > 0

    run(work)


def test_a_stated_limit_is_kept_in_every_minute() -> None:
    limit = Concurrency(64, requests=30, tokens=6000)
    times: list[float] = []

    async def work() -> None:
        for _ in range(40):
            await limit.enter(cost=100)
            times.append(anyio.current_time())
            limit.leave()

    run(work)
    assert times == pytest.approx([2.0 * number for number in range(40)])


def test_tokens_that_were_not_used_are_given_back() -> None:
    limit = Concurrency(64, tokens=60)
    times: list[float] = []

    async def work() -> None:
        for _ in range(3):
            await limit.enter(cost=10)
            times.append(anyio.current_time())
            limit.correct(-6)
            limit.leave()

    run(work)
    assert times == pytest.approx([0.0, 4.0, 8.0])
