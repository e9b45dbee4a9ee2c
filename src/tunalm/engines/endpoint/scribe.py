"""Tells a journal, in one thread, what the calls of an event loop in another have to tell it.

What gathers while the journal waits for the disk is told together, and waits for the disk once. No call waits for it in
the event loop's thread.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from typing import Any

from tunalm.engines.base import Completion, Journal


@dataclass
class Note:
    """Something to be told, and who waits for it to be kept."""

    tell: Callable[[], Any]
    waiting: asyncio.Future[Any] | None = None
    reply: Any = None
    error: Exception | None = None

    def answer(self) -> None:
        """Let who waits go on, in the event loop."""
        if self.waiting and not self.waiting.done():
            if self.error:
                self.waiting.set_exception(self.error)
            else:
                self.waiting.set_result(self.reply)


class Scribe:
    """Between the calls of one run and its journal.

    Args:
        journal: what is told.
    """

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self._inbox: SimpleQueue[Note | list[Completion] | None] = SimpleQueue()

    # In the event loop

    async def tell(self, tell: Callable[[], Any]) -> Any:
        """Have something told; returns what it returns, or raises what it raises, once it is kept."""
        waiting = asyncio.get_running_loop().create_future()
        self._inbox.put(Note(tell, waiting))
        return await waiting

    def mention(self, tell: Callable[[], Any]) -> None:
        """Have something told, before whatever is told later."""
        self._inbox.put(Note(tell))

    def hand_over(self, completions: list[Completion] | None) -> None:
        """Give completions to the other thread; None is the end."""
        self._inbox.put(completions)

    # In the thread that takes the completions

    def completions(self) -> Iterator[list[Completion]]:
        """Keep the journal until the end, yielding what is handed over."""
        ended = False
        while not ended:
            news = [self._inbox.get(), *self.left()]
            messages = [each for each in news if isinstance(each, Note)]
            self.keep(messages)
            for each in messages:
                if each.waiting:
                    each.waiting.get_loop().call_soon_threadsafe(each.answer)
            yield from (each for each in news if isinstance(each, list))
            ended = None in news

    def left(self) -> Iterator[Note | list[Completion] | None]:
        """What has come since, without waiting."""
        with suppress(Empty):
            while True:
                yield self._inbox.get_nowait()

    def keep(self, messages: Sequence[Note]) -> None:
        """Tell the journal.

        Raises:
            StoreError: it cannot be kept, and nobody waits who would hear of it.
        """
        if not messages:
            return
        try:
            with self._journal.together():
                for message in messages:
                    try:
                        message.reply = message.tell()
                    except Exception as error:
                        message.error = error
        except Exception as error:
            for message in messages:
                message.error = error
            if not any(message.waiting for message in messages):
                raise

    def close(self) -> None:
        """Tell the journal what has come since the calls were left."""
        self.keep([each for each in self.left() if isinstance(each, Note)])
