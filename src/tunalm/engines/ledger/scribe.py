"""Tells a journal what happens on an event loop: many calls wait for the disk once and not one after the other."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from types import TracebackType
from typing import Any, TypeVar

from tunalm.engines.base import Journal
from tunalm.errors import TunaError

Value = TypeVar("Value")
News = tuple[Callable[..., Any], tuple[Any, ...], asyncio.Future[Any]]
"""A method of the journal, its arguments, and who waits for what it returns."""


class Scribe:
    """Calls the methods of a journal in a thread of its own, and together what comes while that is busy."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="journal")
        self._news: list[News] = []
        self._busy: asyncio.Future[None] | None = None

    def __enter__(self) -> Scribe:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._thread.shutdown()

    async def tell(self, method: Callable[..., Value], *what: Any) -> Value:
        """What a method of the journal returns, or raises, once what it was told is safe."""
        told: asyncio.Future[Value] = asyncio.get_running_loop().create_future()
        self._news.append((method, what, told))
        if self._busy is None or self._busy.done():
            self._busy = asyncio.ensure_future(self._tell_all())
        return await told

    async def _tell_all(self) -> None:
        while self._news:
            news, self._news = self._news, []
            results = await asyncio.get_running_loop().run_in_executor(self._thread, self._write, news)
            for (_, _, told), result in zip(news, results, strict=True):
                if told.cancelled():
                    continue
                if isinstance(result, Exception):
                    told.set_exception(result)
                else:
                    told.set_result(result)

    def _write(self, news: Sequence[News]) -> list[Any]:
        """What each method returned, or the error that it raised."""
        results: list[Any] = []
        try:
            with self._journal.together():
                for method, what, _ in news:
                    try:
                        results.append(method(*what))
                    except TunaError as error:
                        results.append(error)
        except Exception as error:
            return [error] * len(news)
        return results
