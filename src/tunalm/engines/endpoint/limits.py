"""How many calls go to a server at once, and how soon the next may go: found out from what the server says.

At first the calls in flight double with every round trip (slow start), up to a ceiling. When the server refuses a call
for want of room, calls go out at a rate: what it has taken so far, cut at every further refusal and otherwise raised
step by step. A rate and not a number of calls, because the limits of servers are rates, and because a refusal comes at
once while an answer may take a minute: so the rate is found as fast whatever the latency. `Quota` is a limit that the
user states.
"""

from __future__ import annotations

import asyncio
import math
from collections import deque
from contextlib import suppress

START = 8
"""Calls at once before anything is known of the server."""
CUT = 0.8
"""What a refusal leaves of the rate ..."""
RETURN = 0.95
"""... and how much of it is soon tried again."""
APPROACH = 0.1
"""Part of the way back that one call makes that is not refused."""
STEP = 0.01
"""Least raise per call, relative to the rate that is tried again."""
LONGEST_PAUSE = 30.0
"""Seconds between calls while the server refuses all: they double from refusal to refusal."""


class Quota:
    """At most so much a minute, spread evenly."""

    def __init__(self, per_minute: float) -> None:
        self._per_second = per_minute / 60.0
        self.free_at = -math.inf
        """When the next call may go."""

    def use(self, amount: float, now: float) -> None:
        """Count what a call that goes now uses up, or what it did not after all (a negative amount)."""
        self.free_at = max(self.free_at, now) + amount / self._per_second


class Concurrency:
    """Lets calls go. Times are those of the running event loop.

    Args:
        ceiling: most calls at once, ever.
        requests: quota that every call uses one of.
        tokens: quota that a call uses as many of as its `cost`.
    """

    def __init__(self, ceiling: int, requests: Quota | None = None, tokens: Quota | None = None) -> None:
        self._ceiling = ceiling
        self._requests, self._tokens = requests, tokens
        self._quotas = [quota for quota in (requests, tokens) if quota]
        self._places = min(START, ceiling)
        self._rate: float | None = None
        self._goal = 0.0
        """The rate that is tried again after a cut."""
        self._pause = 0.0
        """Between calls, while the server refuses them."""
        self._next_at = -math.inf
        self._flying = 0
        self._sent = 0
        self._started_at: float | None = None
        self._times: deque[float] = deque(maxlen=ceiling)
        """When the last calls went."""
        self._sent_at = self._cut_at = self._refused_at = -math.inf
        self._untouched = False
        """No call got through since the last cut."""
        self._refusing_since: float | None = None
        self._queue = asyncio.Lock()
        self._changed = asyncio.Event()

    @property
    def places(self) -> int:
        """Calls that may be in flight."""
        return self._places

    @property
    def rate(self) -> float | None:
        """Calls per second, once the server has refused one."""
        return self._rate

    @property
    def counts_tokens(self) -> bool:
        """Whether there is a quota of tokens, so that the `cost` of a call matters."""
        return self._tokens is not None

    async def enter(self, cost: float = 0.0) -> None:
        """Wait until a call may go, first come first served. `leave` must follow."""
        async with self._queue:
            paced = False
            while True:
                now = _now()
                if self._flying >= self._places:
                    await self._change()
                elif self._next_at > now:
                    paced = True
                    with suppress(TimeoutError):  # an answer may show that the wait can be shorter
                        await asyncio.wait_for(self._change(), self._next_at - now)
                elif (later := max((quota.free_at for quota in self._quotas), default=now)) > now:
                    await asyncio.sleep(later - now)
                else:
                    break
            self._go(now, paced)
            if self._requests:
                self._requests.use(1.0, now)
            if self._tokens:
                self._tokens.use(cost, now)

    def leave(self) -> None:
        """A call is over."""
        self._flying -= 1
        self._changed.set()

    def correct(self, difference: float) -> None:
        """A call used so much of the token quota beyond its `cost`."""
        if self._tokens:
            self._tokens.use(difference, _now())

    def answered(self, sent_at: float) -> None:
        """The server answered a call that was sent then."""
        if self._rate is None:
            self._places = min(self._places + 1, self._ceiling)
        if sent_at > self._refused_at:  # what it accepted before does not show that it accepts again
            self._pause, self._refusing_since = 0.0, None
            if self._rate is not None:
                self._next_at = min(self._next_at, max(self._sent_at + 1 / self._rate, _now()))

    def refused(self, sent_at: float) -> None:
        """The server had no room for a call: make a pause, and go on more slowly."""
        if sent_at <= self._refused_at:
            return  # of the same moment as the last refusal
        now = self._refused_at = _now()
        self._refusing_since = now if self._refusing_since is None else self._refusing_since
        rate = self._cut(now)
        self._pause = min(max(2 * self._pause, 1 / rate), LONGEST_PAUSE)
        self._next_at = max(self._next_at, now + self._pause)

    def timed_out(self, sent_at: float) -> None:
        """No reply came in time, perhaps because the server has too much to do: go on more slowly."""
        if sent_at > self._cut_at:
            self._cut(_now())

    def refusing_for(self) -> float:
        """Seconds for which the server has refused every call; 0 when the last one was answered."""
        return 0.0 if self._refusing_since is None else _now() - self._refusing_since

    def _go(self, now: float, paced: bool) -> None:
        """Count a call that goes now, and set the time of the next. `paced`: it would have gone sooner but for that."""
        self._flying += 1
        self._sent += 1
        self._started_at = now if self._started_at is None else self._started_at
        self._times.append(now)
        if self._rate is None:
            return
        if self._sent_at > self._refused_at:  # the call before this one was not refused
            self._untouched = False
            self._pause /= 2
            if paced:
                self._rate += max((self._goal - self._rate) * APPROACH, self._goal * STEP)
        self._sent_at = now
        interval = max(1 / self._rate, self._pause)
        self._next_at = max(self._next_at, now - interval) + interval

    def _cut(self, now: float) -> float:
        """Lower the rate, unless nothing got through since the last cut; returns it."""
        self._places = self._ceiling
        if self._rate is None:
            self._rate = self._goal = max(self._rate_so_far(now), 1 / LONGEST_PAUSE)
        elif not self._untouched:
            self._goal = max(RETURN * self._rate, 1 / LONGEST_PAUSE)
            self._rate = max(CUT * self._rate, 1 / LONGEST_PAUSE)
        self._untouched = True
        self._cut_at = now
        return self._rate

    def _rate_so_far(self, now: float) -> float:
        """Calls per second since the first call or, where answers take long, since the first of those in flight."""
        started = now if self._started_at is None else self._started_at
        since_start = max(self._sent, 1) / max(now - started, 1.0)
        if not self._flying:
            return since_start
        return max(since_start, self._flying / max(now - self._times[-self._flying], 1.0))

    async def _change(self) -> None:
        self._changed = asyncio.Event()
        await self._changed.wait()


def _now() -> float:
    return asyncio.get_running_loop().time()
