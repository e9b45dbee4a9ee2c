"""An event loop whose clock only moves when nothing else is left to do: hours of waiting take no time."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

ROUNDS = 1000
"""Of the loop, in which so much is done that some time has passed."""


class DeadlockError(BaseException):
    """Everybody waits, and nothing will ever happen."""


class JumpingLoop(asyncio.SelectorEventLoop):
    """An event loop whose time jumps to the next thing that is due."""

    def __init__(self) -> None:
        super().__init__()
        self._now = 0.0
        self._rounds = 0
        selector: Any = self._selector  # type: ignore[attr-defined]
        self._really_select: Callable[[float], list[Any]] = selector.select
        selector.select = self._select

    def time(self) -> float:
        return self._now

    def _select(self, timeout: float | None) -> list[Any]:
        events = self._really_select(0)
        if not events and timeout is None:
            raise DeadlockError
        self._rounds = self._rounds + 1 if not timeout else 0
        if not events and timeout:
            self._now += timeout
        elif self._rounds > ROUNDS:  # no clock stands still, and asyncio wakes up to a nanosecond early
            self._now += 1e-9
        return events


def run(work: Callable[[], Awaitable[None]]) -> None:
    """Do something on such a clock."""

    async def main() -> None:
        await work()

    with asyncio.Runner(loop_factory=JumpingLoop) as runner:
        runner.run(main())
