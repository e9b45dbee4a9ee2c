"""What happens on an event loop reaches the journal in few transactions, and the answers reach who asked."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path

import pytest

from tunalm.calls.ledger import Ledger
from tunalm.engines.base import NoJournal
from tunalm.engines.endpoint.scribe import Scribe
from tunalm.errors import EngineError


class Book(NoJournal):
    """Counts transactions, and the numbers written in each; the first waits until it is allowed to end."""

    def __init__(self) -> None:
        self.pages: list[list[int]] = []
        self.safe: list[int] = []
        self.open = threading.Event()
        self.disk_full = False

    @contextmanager
    def together(self) -> Iterator[None]:
        self.pages.append([])
        yield
        assert self.open.wait(10)
        if self.disk_full:
            raise OSError("disk full")
        self.safe += self.pages[-1]

    def write(self, number: int) -> int:
        self.pages[-1].append(number)
        if number < 0:
            raise EngineError("the book", found="a negative number", expected="another", fix="Think.")
        return 2 * number


def test_what_comes_while_the_disk_is_busy_is_one_transaction() -> None:
    book = Book()

    async def tell(scribe: Scribe, number: int) -> int:
        answer = await scribe.tell(book.write, number)
        assert number in book.safe
        return answer

    async def main() -> None:
        with Scribe(book) as scribe:
            tasks = [asyncio.create_task(tell(scribe, 0))]
            while not book.pages or not book.pages[0]:
                await asyncio.sleep(0)
            tasks += [asyncio.create_task(tell(scribe, number)) for number in range(1, 50)]
            await asyncio.sleep(0)
            book.open.set()
            assert await asyncio.gather(*tasks) == [2 * number for number in range(50)]

    asyncio.run(main())
    assert book.pages == [[0], [*range(1, 50)]]


def test_an_error_of_one_is_its_own_and_a_failed_transaction_that_of_all() -> None:
    book = Book()
    book.open.set()

    async def main() -> None:
        with Scribe(book) as scribe:
            good, bad = await asyncio.gather(
                scribe.tell(book.write, 1), scribe.tell(book.write, -1), return_exceptions=True
            )
            assert good == 2
            assert isinstance(bad, EngineError)
            book.disk_full = True
            both = await asyncio.gather(scribe.tell(book.write, 3), scribe.tell(book.write, 4), return_exceptions=True)
            assert [type(error) for error in both] == [OSError, OSError]

    asyncio.run(main())
    assert book.safe == [1, -1]


def test_who_does_not_wait_any_more_does_not_disturb_the_others() -> None:
    book = Book()

    async def main() -> None:
        with Scribe(book) as scribe:
            gone, stays = scribe.tell(book.write, 1), scribe.tell(book.write, 2)
            while not book.pages:
                await asyncio.sleep(0)
            gone.cancel()
            book.open.set()
            assert await stays == 4
            with pytest.raises(asyncio.CancelledError):
                await gone

    asyncio.run(main())
    assert book.safe == [1, 2]


def test_a_transaction_of_the_ledger_is_whole_or_not_there(tmp_path: Path) -> None:
    path = tmp_path / "ledger.sqlite"

    def states() -> dict[str, str]:
        with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as reader:
            return dict(reader.execute("SELECT key, state FROM requests"))

    with Ledger(path, "engine") as ledger:
        ledger.plan({"a": "first", "b": "second"})
        with suppress(EngineError), ledger.together():
            ledger.send(["a"], 0.0)
            raise EngineError("here", found="a kill", expected="none", fix="Go on.")
        assert states() == {"first": "planned", "second": "planned"}
        with ledger.together():
            ledger.send(["a"], 0.0)
            ledger.send(["b"], 0.0)
            assert states() == {"first": "planned", "second": "planned"}
        assert states() == {"first": "sent", "second": "sent"}
