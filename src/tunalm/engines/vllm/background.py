"""An event loop in a thread of its own, for engines that answer many requests at once and outlive a single call."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable, Iterator, Sequence
from queue import SimpleQueue
from typing import TypeVar

Item = TypeVar("Item")
Answer = TypeVar("Answer")


class Background:
    """Works on items while the caller waits for the next one that is done."""

    def __init__(self, name: str) -> None:
        self._loop = asyncio.new_event_loop()
        threading.Thread(target=self._loop.run_forever, name=name, daemon=True).start()

    def each(
        self, items: Sequence[tuple[Item, int]], answer: Callable[[Item], Awaitable[Answer]], room: int
    ) -> Iterator[Answer]:
        """Yield the answer to every item as soon as it is there. Leaving the loop cancels those under way.

        Args:
            items: each with the room that it takes, at most `room`.
            answer: called in the thread; what it raises ends the work and is raised here.
            room: that items under way may take together.
        """
        done: SimpleQueue[Answer | Exception] = SimpleQueue()
        work = asyncio.run_coroutine_threadsafe(_work(items, answer, room, done), self._loop)
        try:
            for _ in items:
                answered = done.get()
                if isinstance(answered, Exception):
                    raise answered
                yield answered
        finally:
            work.cancel()

    def stop(self) -> None:
        """End the thread."""
        self._loop.call_soon_threadsafe(self._loop.stop)


async def _work(
    items: Sequence[tuple[Item, int]],
    answer: Callable[[Item], Awaitable[Answer]],
    room: int,
    done: SimpleQueue[Answer | Exception],
) -> None:
    free = asyncio.Semaphore(room)

    async def work(item: Item, size: int) -> None:
        try:
            done.put(await answer(item))
        except Exception as error:
            done.put(error)
        finally:
            for _ in range(size):
                free.release()

    async with asyncio.TaskGroup() as group:
        for item, size in items:
            for _ in range(size):
                await free.acquire()
            group.create_task(work(item, size))
