"""How many calls go to a server at once, and how soon the next may go: found out from what the server says.

    no refusal yet:  calls in flight double with every round trip, up to a ceiling
    a refusal:       from now on calls go at a rate, cut at every refusal and raised with every call that is not
    all refused:     pauses double, up to `LONGEST_PAUSE`

A rate and not a number of calls, because the limits of servers are rates, and because a refusal comes at once while an
answer may take a minute. `Quota` is a limit that the user states.
"""

from __future__ import annotations

import asyncio
import math
from contextlib import suppress

START = 32
"""Calls at once before anything is known of the server."""
CUT = 0.8
"""What a refusal leaves of the rate."""
STEP = 0.01
"""By how much of itself a call that is not refused raises the rate."""
LONGEST_PAUSE = 30.0
"""Seconds between calls while the server refuses all."""


class Quota:
    """At most so much a minute, spread evenly; None is no limit."""

    def __init__(self, per_minute: float | None) -> None:
        self._per_second = math.inf if per_minute is None else per_minute / 60.0
        self.free_at = -math.inf
        """When the next call may go."""

    def use(self, amount: float, now: float) -> None:
        """Count what a call that goes now uses up, or what it did not after all (a negative amount)."""
        self.free_at = max(self.free_at, now) + amount / self._per_second


class Concurrency:
    """Lets calls go. Times are those of the running event loop.

    Args:
        ceiling: most calls at once, ever.
        requests: most calls a minute.
        tokens: most a minute of what calls cost (see `enter`).
    """

    def __init__(self, ceiling: int, requests: float | None = None, tokens: float | None = None) -> None:
        self.ceiling = ceiling
        self._requests, self._tokens = Quota(requests), Quota(tokens)
        self.places = min(START, ceiling)
        """Calls that may be in flight."""
        self.rate: float | None = None
        """Calls per second, once the server has refused one."""
        self._pause = 0.0
        """Between calls, while the server refuses them."""
        self._flying = self._sent = 0
        self._started_at: float | None = None
        self._sent_at = self._slowed_at = self._refused_at = self._next_at = -math.inf
        self._refusing_since: float | None = None
        self._through = False
        """A call was not refused since the rate was lowered last."""
        self._queue = asyncio.Lock()
        self._changed = asyncio.Event()

    async def enter(self, cost: float = 0.0) -> None:
        """Wait until a call may go, first come first served. `leave` must follow."""
        async with self._queue:
            while True:
                now = _now()
                if self._flying >= self.places:
                    await self._change()
                elif self._next_at > now:
                    with suppress(TimeoutError):  # an answer may show that the wait can be shorter
                        await asyncio.wait_for(self._change(), self._next_at - now)
                elif (later := max(self._requests.free_at, self._tokens.free_at)) > now:
                    await asyncio.sleep(later - now)
                else:
                    break
            self._go(now)
            self._requests.use(1.0, now)
            self._tokens.use(cost, now)

    def leave(self) -> None:
        """A call is over."""
        self._flying -= 1
        self._changed.set()

    def correct(self, difference: float) -> None:
        """A call used so much of the token quota beyond its `cost`."""
        self._tokens.use(difference, _now())

    def answered(self, sent_at: float) -> None:
        """The server answered a call that was sent then."""
        if self.rate is None:
            self.places = min(self.places + 1, self.ceiling)
        if sent_at > self._refused_at:  # what it accepted before does not show that it accepts again
            self._pause, self._refusing_since = 0.0, None
            if self.rate is not None:
                self._next_at = min(self._next_at, max(self._sent_at + 1 / self.rate, _now()))

    def refused(self, sent_at: float) -> None:
        """The server had no room for a call: make a pause, and go on more slowly."""
        if sent_at <= self._refused_at:
            return  # of the same moment as the last refusal
        now = self._refused_at = _now()
        self._refusing_since = now if self._refusing_since is None else self._refusing_since
        rate = self._slow_down(now)
        self._pause = min(max(2 * self._pause, 1 / rate), LONGEST_PAUSE)
        self._next_at = max(self._next_at, now + self._pause)

    def timed_out(self, sent_at: float) -> None:
        """No reply came in time, perhaps because the server has too much to do: go on more slowly."""
        if sent_at > self._slowed_at:
            self._slow_down(_now())

    def refusing_for(self) -> float:
        """Seconds for which the server has refused every call; 0 when the last one was answered."""
        return 0.0 if self._refusing_since is None else _now() - self._refusing_since

    def _go(self, now: float) -> None:
        """Count a call that goes now, and set the time of the next."""
        self._flying += 1
        self._sent += 1
        self._started_at = now if self._started_at is None else self._started_at
        if self.rate is not None:
            if self._sent_at > self._refused_at:  # the call before this one was not refused
                self._through = True
                self._pause /= 2
                if now - self._next_at < 1 / self.rate:  # work is not what it waited for
                    self.rate *= 1 + STEP
            interval = max(1 / self.rate, self._pause)
            self._next_at = max(self._next_at, now - interval) + interval
        self._sent_at = now

    def _slow_down(self, now: float) -> float:
        """Lower the rate, unless nothing got through since it was lowered last; returns it."""
        self._slowed_at = now
        self.places = self.ceiling
        if self.rate is None:
            started = now if self._started_at is None else self._started_at
            self.rate = max(self._sent, 1) / max(now - started, 1.0)
        elif self._through:
            self.rate *= CUT
        self._through = False
        self.rate = max(self.rate, 1 / LONGEST_PAUSE)
        return self.rate

    async def _change(self) -> None:
        self._changed = asyncio.Event()
        await self._changed.wait()


def _now() -> float:
    return asyncio.get_running_loop().time()
