"""An SQLite file that one process at a time uses, with as many threads as it likes.

What is committed is on the disk (`synchronous = FULL`). One thread makes the changes of all others, and those that come
while it waits for the disk go into one transaction, so that thirty-two threads do not wait thirty-two times. A thread
that has several changes to make can also have a transaction of its own (`together`). Changes that nobody waits for go
into the next transaction, whosever it is.
"""

from __future__ import annotations

import fcntl
import os
import sqlite3
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from pathlib import Path
from queue import Empty, SimpleQueue
from threading import Lock, Thread, get_ident
from typing import Any, TypeVar

from tunalm.calls.disks import is_on_network
from tunalm.calls.schema import VERSION, migrate
from tunalm.errors import StoreError

Value = TypeVar("Value")
Change = Callable[[sqlite3.Connection], Value]
"""Executes statements inside a transaction."""

SECONDS_TO_WAIT = 60.0
"""For somebody who is reading the file."""
LATER = 1.0
"""Seconds after which what was to be written later is written, if there was no transaction till then."""


class Database:
    """The file of a ledger, held for this process.

    Its journal is a write-ahead log, which needs memory that all who use the file share; on a network file system,
    where there is none, it is a rollback journal.

    Raises:
        StoreError: the file is no ledger, is that of a newer tunalm, is in use, or cannot be read or written.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._queue: SimpleQueue[tuple[Change[Any], Future[Any]] | None] = SimpleQueue()
        self._later: deque[Change[None]] = deque()
        self._using = Lock()
        self._together: int | None = None
        """The thread that has a transaction of its own."""
        self._held = self._hold()
        try:
            with self._explained():
                self._link = sqlite3.connect(
                    path, timeout=SECONDS_TO_WAIT, isolation_level=None, check_same_thread=False
                )
        except BaseException:
            os.close(self._held)
            raise
        self._writer = Thread(target=self._write, name="ledger", daemon=True)
        self._writer.start()
        try:
            with self._explained():
                self._prepare()
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Let another process use the file, once everything is on the disk.

        Raises:
            StoreError: something that was to be written later could not be.
        """
        self._queue.put(None)
        self._writer.join()
        try:
            self._write_later()
        finally:
            self._link.close()
            os.close(self._held)

    def ask(self, query: str, *values: Any) -> list[tuple[Any, ...]]:
        """All rows that a query gives."""
        return self.commit(lambda link: link.execute(query, values).fetchall())

    def commit(self, change: Change[Value]) -> Value:
        """Make a change and return what it returns, once it is on the disk (or, inside `together`, will be)."""
        if self._together == get_ident():
            return change(self._link)
        done: Future[Value] = Future()
        self._queue.put((change, done))
        return done.result()

    @contextmanager
    def together(self) -> Iterator[None]:
        """Make all changes that this thread commits inside the block in one transaction, at its end.

        Another thread may leave the block, and so wait for the disk.
        """
        with self._explained(), self._transaction():
            self._together = get_ident()
            try:
                yield
            finally:
                self._together = None

    def commit_later(self, change: Change[None]) -> None:
        """Make a change in the next transaction, without waiting for it. Where it cannot be made, that one fails."""
        self._later.append(change)

    def _write(self) -> None:
        """Make the changes that wait, all that are there in one transaction."""
        closing = False
        while not closing:
            batch = []
            with suppress(Empty):
                batch.append(self._queue.get(timeout=LATER))
                while True:
                    batch.append(self._queue.get_nowait())
            closing = None in batch
            if changes := [item for item in batch if item is not None]:
                self._commit(changes)
            elif not closing:
                with suppress(StoreError):  # the next transaction meets with the same
                    self._write_later()

    def _write_later(self) -> None:
        if self._later:
            with self._explained(), self._transaction():
                pass

    def _commit(self, changes: Sequence[tuple[Change[Any], Future[Any]]]) -> None:
        try:
            with self._explained(), self._transaction():
                results = [change(self._link) for change, _ in changes]
        except BaseException as error:
            for _, done in changes:
                done.set_exception(error)
        else:
            for (_, done), result in zip(changes, results, strict=True):
                done.set_result(result)

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        with self._using:
            self._link.execute("BEGIN IMMEDIATE")
            try:
                later = [*self._later]
                for change in later:
                    change(self._link)
                yield
                self._link.execute("COMMIT")
            except BaseException:
                if self._link.in_transaction:
                    self._link.execute("ROLLBACK")
                raise
            for _ in later:
                self._later.popleft()

    def _prepare(self) -> None:
        self._link.execute("PRAGMA synchronous = FULL")
        if (found := migrate(self._link)) is not None:
            raise self.unusable(found)
        self._link.execute(f"PRAGMA journal_mode = {'DELETE' if is_on_network(self._path) else 'WAL'}")

    def _hold(self) -> int:
        """Keep other processes out: what two asked at the same time would be paid twice."""
        beside = self._path.with_name(f".{self._path.name}.lock")
        try:
            handle = os.open(beside, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        except OSError as error:
            raise self.unusable(f"'{error.strerror}'") from error
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(handle)
            raise StoreError(
                self._path,
                found="a ledger in use",
                expected="one process per ledger",
                fix="Wait for the other one, stop it, or give another --run-dir.",
            ) from error
        return handle

    @contextmanager
    def _explained(self) -> Iterator[None]:
        """Turn what SQLite raises (disk full, not a database, locked, read-only ...) into the one line for users."""
        try:
            yield
        except sqlite3.Error as error:
            raise self.unusable(f"'{error}'") from error

    def unusable(self, found: str) -> StoreError:
        """The one line for users; `found` says why."""
        return StoreError(
            self._path,
            found=found,
            expected=f"a ledger of version {VERSION} that can be read and written, on a disk with free space",
            fix="Free some space or choose another --run-dir, then run the same command again: it goes on from here.",
        )
