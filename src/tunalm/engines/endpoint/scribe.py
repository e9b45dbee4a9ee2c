"""Tells a journal what happens on an event loop: many calls wait for the disk once and not one after the other."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from queue import Empty, SimpleQueue
from types import TracebackType
from typing import Any, TypeVar

from tunalm.engines.base import Journal
from tunalm.errors import TunaError

Value = TypeVar("Value")
News = tuple[Callable[..., Any], tuple[Any, ...], asyncio.Future[Any]]
"""A method of the journal, its arguments, and who waits for what it returns."""


class Scribe:
    """A thread that calls the methods of a journal in the order in which it is told.

    What it is told while the disk is busy is one transaction. Used from one event loop.
    """

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self._news: SimpleQueue[News | None] = SimpleQueue()
        self._thread = threading.Thread(target=self._write, name="journal", daemon=True)

    def __enter__(self) -> Scribe:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._news.put(None)
        self._thread.join()

    def tell(self, method: Callable[..., Value], *what: Any) -> asyncio.Future[Value]:
        """What a method of the journal returns, or raises, once what it was told is safe."""
        told: asyncio.Future[Value] = asyncio.get_running_loop().create_future()
        self._news.put((method, what, told))
        return told

    def _write(self) -> None:
        while (first := self._news.get()) is not None:
            page = [first, *self._waiting()]
            try:
                with self._journal.together():
                    results = [_outcome(method, what) for method, what, _ in page]
            except Exception as error:
                results = [error] * len(page)
            page[0][2].get_loop().call_soon_threadsafe(_deliver, page, results)

    def _waiting(self) -> list[News]:
        """What has been told in the meantime; the end is left where it is."""
        waiting: list[News] = []
        while True:
            try:
                news = self._news.get_nowait()
            except Empty:
                return waiting
            if news is None:
                self._news.put(None)
                return waiting
            waiting.append(news)


def _outcome(method: Callable[..., Any], what: tuple[Any, ...]) -> Any:
    """What a method of the journal returns, or the error that is for its caller alone."""
    try:
        return method(*what)
    except TunaError as error:
        return error


def _deliver(page: list[News], results: list[Any]) -> None:
    for (_, _, told), result in zip(page, results, strict=True):
        if told.cancelled():
            continue
        if isinstance(result, Exception):
            told.set_exception(result)
        else:
            told.set_result(result)
