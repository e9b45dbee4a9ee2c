"""Calls to simulated servers on a clock that jumps: whatever they do and when, nothing hangs and nothing is lost.

Controller, retries, budget, journal and ledger are the real ones; only the wire and the disk take simulated time.
"""

from __future__ import annotations

import asyncio
import json
import math
import random
import tempfile
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from email.utils import formatdate
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from tests.clock import run
from tests.memory import MEMORY
from tunalm.calls.asking import complete
from tunalm.calls.budget import Budget
from tunalm.calls.prices import Price, Prices
from tunalm.calls.spending import accounts
from tunalm.engines.base import Completion, Journal, Request
from tunalm.engines.endpoint import retries
from tunalm.engines.endpoint.calls import ServerCalls
from tunalm.engines.endpoint.engine import EndpointEngine
from tunalm.engines.endpoint.limits import Concurrency
from tunalm.engines.endpoint.retries import LostError, NotSentError
from tunalm.engines.endpoint.scribe import Scribe
from tunalm.engines.endpoint.wire import Answer
from tunalm.errors import BudgetError, EngineError
from tunalm.recipe import EndpointSettings
from tunalm.recipe.places import Place
from tunalm.records import UNKNOWN, Message

NOON = 1_800_000_000.0
PRICE = Price(host="localhost", model="m", prompt=1e6, completion=1e6)
COST = 5.0


class Server:
    """Takes `rate` calls a second and does whatever the dice say, for which it keeps a log.

    Args:
        dice: of the schedule.
        trouble: share of the calls that something happens to.
    """

    def __init__(self, dice: random.Random, *, rate: float, latency: float, trouble: float, timeout: float) -> None:
        self.dice, self.rate, self.latency, self.trouble, self.timeout = dice, rate, latency, trouble, timeout
        self.skew = 0.0
        """Seconds by which the clock of the client is wrong."""
        self.calls: dict[str, list[tuple[float, float]]] = defaultdict(list)
        """When a request was asked for, and for how long the server then wanted to be left alone."""
        self.times: list[float] = []
        self.carried_out: Counter[str] = Counter()
        self.lost: Counter[str] = Counter()
        self.done_at: list[float] = []
        self.flying = self.most = 0
        self._room, self._at = rate, 0.0

    @asynccontextmanager
    async def connected(self) -> AsyncIterator[None]:
        yield

    async def post(self, request: Request, path: str, body: bytes, limit: int) -> Answer:
        self.flying += 1
        self.most = max(self.most, self.flying)
        try:
            return await self._answer(request.key)
        finally:
            self.flying -= 1

    async def _answer(self, key: str) -> Answer:
        now = asyncio.get_running_loop().time()
        self.times.append(now)
        self.calls[key].append((now, 0.0))
        self._room = min(max(self.rate, 1.0), self._room + (now - self._at) * self.rate)
        self._at = now
        if self._room < 1:
            return await self._refused(key)
        self._room -= 1
        if self.dice.random() < self.trouble:
            return await self._troubled(key)
        await asyncio.sleep(self.latency * self.dice.uniform(0.5, 1.5))
        return self._good(key)

    def _good(self, key: str) -> Answer:
        self.carried_out[key] += 1
        self.done_at.append(asyncio.get_running_loop().time())
        choice = {"index": 0, "finish_reason": "stop", "message": {"content": f"answer to {key}"}}
        usage = {"prompt_tokens": 3, "completion_tokens": 2}
        return Answer(200, {}, json.dumps({"choices": [choice], "usage": usage}).encode())

    async def _refused(self, key: str, statuses: Sequence[int] = (429, 503, 529)) -> Answer:
        await asyncio.sleep(0.002)
        asked = self.dice.choice([0.0, 0.3, 1.0, 7.0])
        date = formatdate(NOON + math.ceil(asyncio.get_running_loop().time() + asked), usegmt=True)
        forms = [
            {"retry-after": f"{asked:g}"},
            {"retry-after": date},
            {"retry-after-ms": f"{1000 * asked:g}"},
            {"x-ratelimit-reset-requests": f"{asked:g}s"},
        ]
        headers = self.dice.choice([*forms, {}, {"retry-after": "soon"}, {"retry-after": "-3"}, {"retry-after": "nan"}])
        at, _ = self.calls[key][-1]
        self.calls[key][-1] = (at, asked if headers in forms else 0.0)
        now = asyncio.get_running_loop().time()
        headers = {"date": formatdate(NOON + now, usegmt=True), **headers}
        return Answer(self.dice.choice(statuses), headers, b'{"error": {"message": "busy"}}')

    async def _troubled(self, key: str) -> Answer:
        """Something that a call may meet; half of those without an answer were carried out all the same."""
        what = self.dice.choice(["reset", "hang", "slow", "error", "gateway", "no connection", "refused", "clock"])
        if what == "clock":
            self.skew = self.dice.choice([0.0, -7200.0, 7200.0])
            asyncio.get_running_loop()._now += self.dice.choice([0.0, 45.0])  # type: ignore[attr-defined]
        if what == "slow":
            await asyncio.sleep(self.timeout * 0.99)
        if what in ("slow", "clock"):
            return self._good(key)
        if what == "refused":
            return await self._refused(key)
        if what == "no connection":
            raise NotSentError("no-connection: none")
        if what == "error":
            return await self._refused(key, (500, 502, 408))
        self.lost[key] += 1
        if self.dice.random() < 0.5:
            self.carried_out[key] += 1
        if what == "gateway":
            return Answer(504, {}, b"")
        await asyncio.sleep(self.timeout if what == "hang" else self.latency)
        raise LostError(f"{what}: gone", overload=what == "hang")


class Disk(Scribe):
    """A scribe whose commits take simulated time."""

    def __init__(self, journal: Journal, dice: random.Random, waits: Sequence[float]) -> None:
        super().__init__(journal)
        self.dice = dice
        self.waits = waits
        self.answered: list[list[Completion]] = []
        self._really_put, self._inbox = self._inbox.put, self  # type: ignore[assignment]
        self._queue: list[Any] = []

    def put(self, news: Any) -> None:
        if not self._queue:
            asyncio.get_running_loop().call_later(self.dice.choice(self.waits), self.commit)
        self._queue.append(news)

    def left(self) -> Iterator[Any]:
        news, self._queue = self._queue, []
        yield from news

    def commit(self) -> None:
        news = list(self.left())
        messages = [each for each in news if not isinstance(each, list) and each is not None]
        self.keep(messages)
        for each in messages:
            each.answer()
        self.answered += [each for each in news if isinstance(each, list)]


class Simulated(EndpointEngine):
    """The engine, with such a server and such a disk."""

    def __init__(self, settings: EndpointSettings, server: Server) -> None:
        super().__init__(settings)
        self.server = server
        self.stopped: list[Exception] = []

    def generate(self, batches: Sequence[Sequence[Request]], journal: Journal) -> Iterator[list[Completion]]:
        settings, disk = (
            self._settings,
            Disk(journal, self.server.dice, (0.0, 0.004, 0.5) if self.server.trouble else (0.0, 0.004, 0.02)),
        )
        limit = Concurrency(settings.concurrency, settings.requests_per_minute, settings.tokens_per_minute)

        async def work() -> None:
            fleet: Any = self.server
            calls = ServerCalls(
                fleet,
                limit,
                self._stops,
                self._dialect,
                self._read,
                self._check,
                journal,
                settings.max_retries,
            )
            calls._scribe = disk
            retries.silence_retries()
            try:
                await calls._answer_all(batches)
            except Exception as error:
                self.stopped.append(error)
            await asyncio.sleep(1)

        self.server._at, self.server._room = 0.0, self.server.rate
        run(work)
        yield from disk.answered
        if self.stopped:
            raise self.stopped[-1]


def schedule(seed: int) -> None:
    """One server, one run, all checks."""
    dice = random.Random(seed)
    kind = dice.choice(["storm"] * 8 + ["limited", "open"])
    concurrency = dice.choice([1, 3, 8, 40]) if kind == "storm" else 8
    rate = dice.choice([0.5, 3.0, 30.0, math.inf]) if kind == "storm" else 4.0 if kind == "limited" else math.inf
    per_minute = dice.choice([None, None, 60.0, 900.0]) if kind == "storm" else None
    trouble = dice.choice([0.02, 0.2, 0.4]) if kind == "storm" else 0.0
    count = dice.randint(1, 30) if kind == "storm" else 300
    server = Server(
        dice,
        rate=rate,
        latency=dice.choice([0.01, 0.3, 4.0]) if kind == "storm" else 0.3,
        trouble=trouble,
        timeout=20.0,
    )
    settings = EndpointSettings(
        base_url="http://localhost/v1",
        model="m",
        concurrency=concurrency,
        requests_per_minute=per_minute,
        max_duplicates=dice.choice([0, 3, 1000]),
        max_retries=dice.choice([0, 3, 9]),
        timeout=20,
        patience=3600,
    )
    engine = Simulated(settings, server)
    words = [Message(role="user", content="Say.")]
    requests = [Request(key=f"{number}", messages=words, max_new_tokens=10) for number in range(count)]
    limit = dice.choice([None, 80.0 * count, 2.0 * count + 80.0]) if kind == "storm" else None
    budget = Budget(limit, Prices((PRICE,)))
    budget.know(engine.identity, Place("localhost", "m", "endpoint"))
    answers: dict[str, Completion] = {}
    with tempfile.TemporaryDirectory(dir=MEMORY) as folder, pytest.MonkeyPatch.context() as patch:
        patch.setattr(retries, "time", Wall(server))
        ledger = Path(folder) / "ledger.sqlite"
        try:
            answers = complete(engine, requests, ledger, "asking", budget=budget)
        except (BudgetError, EngineError) as error:
            limited = isinstance(error, BudgetError) and budget.max_cost is not None
            no_connection = "no server answers" in str(error) and trouble
            too_many_failures = "of the first" in str(error) and trouble
            if not (limited or no_connection or too_many_failures):
                raise
        told = accounts(ledger).get(engine.identity)
    for key, answer in answers.items():
        assert answer.text == f"answer to {key}" or (trouble and answer.failure), f"{key} was lost: {answer}"
        assert answer.failure or server.carried_out[key], f"{key} was invented"
        assert not answer.unknown or (answer.failure or "").startswith(UNKNOWN)
    for key, times in server.carried_out.items():
        assert times <= 1 + server.lost[key], f"{key} was paid for again"
    assert server.most <= concurrency
    assert sum(server.lost.values()) <= count + settings.max_duplicates
    paid = COST * sum(server.carried_out.values())
    assert told is None or (told.cost or 0.0) >= paid - 1e-6
    assert budget.max_cost is None or paid <= budget.max_cost
    if per_minute and not engine.stopped:
        assert all(later - earlier >= 60 / per_minute - 1e-6 for earlier, later in pairwise(server.times))
    for calls in server.calls.values():
        for (at, asked), (again, _) in pairwise(calls):
            assert engine.stopped or again >= at + asked - 1.001, "it was asked to wait"
    if kind == "open":
        assert server.done_at[-1] <= count * 0.3 / concurrency / 0.9
    if kind == "limited":
        late = [at for at in server.done_at if at > 20]
        assert len(late) >= 0.9 * rate * (server.done_at[-1] - 20)


class Wall:
    """The clock on the wall of the client."""

    def __init__(self, server: Server) -> None:
        self._server = server

    def time(self) -> float:
        return NOON + asyncio.get_running_loop().time() + self._server.skew


def every_timing(count: int) -> None:
    """So many schedules."""
    first = random.randrange(2**32)
    for seed in range(first, first + count):
        try:
            schedule(seed)
        except BaseException:
            print(f"schedule {seed}")
            raise


def test_every_timing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TUNALM_QUIET", "1")
    every_timing(100)
