"""Tells a journal what happens on an event loop: many calls wait for the disk once and not one after the other.

The journal is written on the loop itself, which takes microseconds, and a thread waits for the disk. Two threads that
both write would take turns at the interpreter, which costs more than the writing.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from types import TracebackType
from typing import Any, TypeVar

from tunalm.engines.base import Journal
from tunalm.errors import TunaError

Value = TypeVar("Value")
News = tuple[Callable[..., Any], tuple[Any, ...], asyncio.Future[Any]]
"""A method of the journal, its arguments, and who waits for what it returns."""


class Scribe:
    """Calls the methods of a journal in the order in which it is told, and together what comes while the disk is busy.

    Used on one event loop.
    """

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="journal")
        self._news: list[News] = []
        self._busy = False

    def __enter__(self) -> Scribe:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._thread.shutdown()

    def tell(self, method: Callable[..., Value], *what: Any) -> asyncio.Future[Value]:
        """What a method of the journal returns, or raises, once what it was told is safe."""
        loop = asyncio.get_running_loop()
        told: asyncio.Future[Value] = loop.create_future()
        self._news.append((method, what, told))
        if not self._busy:
            self._busy = True
            loop.call_soon(self._write, loop)
        return told

    def _write(self, loop: asyncio.AbstractEventLoop) -> None:
        """Write what there is, and let the thread wait until it is safe."""
        news, self._news = self._news, []
        try:
            with ExitStack() as opened:
                opened.enter_context(self._journal.together())
                results = [_outcome(method, what) for method, what, _ in news]
                page = opened.pop_all()
        except Exception as error:
            self._deliver(loop, news, [error] * len(news))
        else:
            self._thread.submit(self._close, loop, page, news, results)

    def _close(
        self, loop: asyncio.AbstractEventLoop, page: ExitStack, news: Sequence[News], results: Sequence[Any]
    ) -> None:
        try:
            page.close()
        except Exception as error:
            results = [error] * len(news)
        loop.call_soon_threadsafe(self._deliver, loop, news, results)

    def _deliver(self, loop: asyncio.AbstractEventLoop, news: Sequence[News], results: Sequence[Any]) -> None:
        """Answer who waits, once what came in the meantime is on its way to the disk."""
        for (_, _, told), result in zip(news, results, strict=True):
            if told.cancelled():
                continue
            if isinstance(result, Exception):
                told.set_exception(result)
            else:
                told.set_result(result)
        self._busy = bool(self._news)
        if self._busy:
            self._write(loop)


def _outcome(method: Callable[..., Any], what: Sequence[Any]) -> Any:
    """What a method of the journal returns, or the error that is for its caller alone."""
    try:
        return method(*what)
    except TunaError as error:
        return error
