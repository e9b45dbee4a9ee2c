"""The file in which every request to a language model, and every answer, is kept: one SQLite file per run.

A request has one row, filed under the SHA-256 of the engine's identity and the whole request, key and seed included.
Beside it there is a row per call, with what it could cost at most and what it has cost:

                   sending                answered
    (no row) -------------------> sent -------------------> ok
       ^                         |   \\
       |         refused         |    `-------------------> failed ---> asked by the next call
       +-------------------------+
                                 |  lost, or open when another process takes over
                                 v
                              unknown ----> sent, a second time, if `max_duplicates` allows it

`ok` is answered for good, `failed` has a reason. `unknown` was sent, and may have been carried out and paid for, but
its answer never came. A model in this process makes no calls: its rows are `ok` or `failed` at once.

What is filed survives a kill at once. It survives a power cut when the change that it is part of is `durable`, or the
next one is, because SQLite's log reaches the disk in order; the last is made when the ledger is closed.
"""

from __future__ import annotations

import shutil
import sqlite3
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from threading import RLock
from typing import Any

from tunalm.calls.prices import Usage
from tunalm.engines.base import Completion, Request
from tunalm.errors import StoreError
from tunalm.redaction import without_secrets
from tunalm.store import canonical, digest, locked, replacing

VERSION = 3
TABLES = f"""
PRAGMA synchronous = OFF;            -- the whole file is waited for
PRAGMA journal_mode = WAL;
BEGIN IMMEDIATE;
CREATE TABLE requests (
    address TEXT PRIMARY KEY,        -- SHA-256 of engine and request
    engine TEXT NOT NULL,
    key TEXT NOT NULL,               -- of the request, for people
    state TEXT NOT NULL CHECK (state IN ('sent', 'ok', 'failed', 'unknown')),
    completion TEXT,                 -- as JSON; of 'ok' and 'failed'
    call INTEGER REFERENCES calls,   -- the last one
    lost INTEGER NOT NULL DEFAULT 0  -- calls that nobody knows the outcome of
);
CREATE INDEX requests_by_call ON requests (call) WHERE call IS NOT NULL;
CREATE TABLE calls (
    id INTEGER PRIMARY KEY,
    engine TEXT NOT NULL,
    duplicates INTEGER NOT NULL,     -- how many of its requests were of unknown outcome before
    sent REAL NOT NULL,              -- seconds since 1970
    ended REAL,
    reason TEXT,                     -- why there is no answer
    reserved REAL,                   -- dollars that it could cost at most; NULL if nobody knows the price
    cost REAL,                       -- dollars that it has cost; likewise
    prompt_tokens INTEGER,
    completion_tokens INTEGER,
    cached_tokens INTEGER,           -- of the prompt tokens
    reasoning_tokens INTEGER         -- of the completion tokens
);
CREATE INDEX open_calls ON calls (engine) WHERE ended IS NULL;
CREATE TABLE facts (
    engine TEXT NOT NULL,
    name TEXT NOT NULL,
    value TEXT NOT NULL,
    PRIMARY KEY (engine, name)
) WITHOUT ROWID;
PRAGMA user_version = {VERSION};
COMMIT;
"""
SECONDS_TO_WAIT = 60.0
"""For somebody who is reading the file."""
RESERVE = 32 << 20
"""Bytes that must be free for a call to be made, so that the answers to all calls in flight can still be kept."""
AMONG = "address IN (SELECT value FROM json_each(?))"


def address(identity: str, request: Request) -> str:
    """SHA-256, in hex, of an engine's identity and a request.

    Fields that requests got after the first ledgers had been written count only where they are set.
    """
    content = request.model_dump()
    if not request.raw:
        del content["raw"]
    if request.given is None:
        del content["given"]
    if not request.presence_penalty:
        del content["presence_penalty"]
    return digest([identity, content])


class Ledger:
    """The ledger of a run, as one engine sees it; see `open_ledger`. All methods may be called from any thread."""

    def __init__(self, link: sqlite3.Connection, path: Path, identity: str) -> None:
        self._link, self._path, self._identity = link, path, identity
        self._using = RLock()
        self.loose = False
        """Something is filed that may not be on the disk."""
        self.spent: float = self.ask("SELECT total(cost) FROM calls WHERE ended IS NOT NULL")[0][0]
        """Dollars that all calls of the run have cost, whoever was asked."""
        self.reserved: float = self.ask("SELECT total(reserved) FROM calls WHERE ended IS NULL")[0][0]
        """Dollars that those which are open may cost."""

    def ask(self, query: str, *values: Any) -> list[tuple[Any, ...]]:
        """All rows that a query gives."""
        with self._using, explained(self._path):
            return self._link.execute(query, values).fetchall()

    def find(self, addresses: Sequence[str]) -> Iterator[tuple[str, tuple[str, Completion | None]]]:
        """State and answer of requests, by address; those that the ledger does not know are left out."""
        query = f"SELECT address, state, completion FROM requests WHERE {AMONG}"
        for place, state, completion in self.ask(query, canonical(addresses)):
            yield place, (state, None if completion is None else Completion.model_validate_json(completion))

    def take_over(self, *, resumes: bool) -> None:
        """Settle what an earlier process left open.

        Args:
            resumes: the engine will find out what became of these calls, and file them anew; else nobody ever will.
        """
        for (call,) in self.ask("SELECT id FROM calls WHERE engine = ? AND ended IS NULL", self._identity):
            if resumes:
                self.refuse(call, "taken up by a later process")
            else:
                self.lose(call, "the process that made the call is gone")

    def send(self, requests: Mapping[str, str], reserved: float | None, max_cost: float | None) -> int | None:
        """File that a call for some requests, by their address with their key, is about to be made.

        Args:
            requests: what it asks.
            reserved: dollars that it may cost; None if nobody knows.
            max_cost: dollars that all calls of the run may cost.

        Returns:
            The number of the call; None if it could cost too much.

        Raises:
            StoreError: so little room is left that its answer might not be kept.
        """
        if (free := shutil.disk_usage(self._path.parent).free) < RESERVE:
            raise unusable(self._path, f"{free >> 20} MB of free space, too little to keep what is paid for")
        rows = [(place, self._identity, key) for place, key in requests.items()]
        with self.changing(durable=True) as link:
            total = self.spent + self.reserved + (reserved or 0.0)
            if max_cost is not None and total > max_cost + 1e-9:  # which is what rounding leaves
                return None
            call = link.execute(
                "INSERT INTO calls (engine, sent, reserved, duplicates) SELECT ?, ?, ?, count(*) FROM requests"
                f" WHERE state = 'unknown' AND {AMONG}",
                [self._identity, time.time(), reserved, canonical([*requests])],
            ).lastrowid
            link.executemany(
                f"INSERT INTO requests (address, engine, key, state, call) VALUES (?, ?, ?, 'sent', {call})"
                " ON CONFLICT DO UPDATE SET state = 'sent', call = excluded.call WHERE state <> 'ok'",
                rows,
            )
            self.reserved += reserved or 0.0
        return call

    def lose(self, call: int, reason: str) -> None:
        """File that nobody knows what became of a call. It counts as paid, with the most that it could cost."""
        with self.changing() as link:
            self._end(link, call, None, reason)
            link.execute("UPDATE requests SET state = 'unknown', lost = lost + 1 WHERE call = ?", [call])

    def refuse(self, call: int, reason: str) -> None:
        """File that a call was surely not carried out."""
        with self.changing() as link:
            self._end(link, call, 0.0, reason)
            link.execute("UPDATE calls SET duplicates = 0 WHERE id = ?", [call])
            link.execute("UPDATE requests SET state = 'unknown' WHERE call = ? AND lost > 0", [call])
            link.execute("DELETE FROM requests WHERE call = ? AND lost = 0", [call])

    def file(self, answers: Mapping[str, Completion]) -> None:
        """File what became of some requests, by their address. A request that is `ok` stays as it is."""
        with self.changing() as link:
            self._file(link, answers)

    def settle(self, call: int, answers: Mapping[str, Completion], usage: Usage | None, cost: float | None) -> None:
        """File the answers that a call gave and what it has cost (None: the most that it could), all or nothing."""
        with self.changing() as link:
            self._file(link, answers)
            self._end(link, call, cost, None, usage)

    def duplicates(self) -> int:
        """Requests of unknown outcome that were sent again to this engine."""
        return int(self.ask("SELECT total(duplicates) FROM calls WHERE engine = ?", self._identity)[0][0])

    def remember(self, name: str, value: str) -> None:
        """Keep a small fact about the engine."""
        with self.changing(durable=True) as link:
            link.execute("INSERT OR REPLACE INTO facts VALUES (?, ?, ?)", [self._identity, name, value])

    def recall(self, name: str) -> str | None:
        """A fact that was kept, or None."""
        found = self.ask("SELECT value FROM facts WHERE engine = ? AND name = ?", self._identity, name)
        return found[0][0] if found else None

    def _file(self, link: sqlite3.Connection, answers: Mapping[str, Completion]) -> None:
        rows = [
            (
                place,
                self._identity,
                answer.key,
                "ok" if answer.failure is None else "failed",
                without_secrets(canonical(answer.model_dump(exclude_defaults=True))),  # pydantic's JSON would lose NaN
            )
            for place, answer in answers.items()
        ]
        link.executemany(
            "INSERT INTO requests (address, engine, key, state, completion) VALUES (?, ?, ?, ?, ?) ON CONFLICT DO"
            " UPDATE SET state = excluded.state, completion = excluded.completion WHERE state <> 'ok'",
            rows,
        )

    def _end(
        self, link: sqlite3.Connection, call: int, cost: float | None, reason: str | None, usage: Usage | None = None
    ) -> None:
        """End a call; without a `cost` it has cost what was reserved for it."""
        reserved, cost = link.execute(
            "UPDATE calls SET ended = ?, reason = ?, cost = coalesce(?, reserved), prompt_tokens = ?,"
            " completion_tokens = ?, cached_tokens = ?, reasoning_tokens = ? WHERE id = ? RETURNING reserved, cost",
            [time.time(), reason and without_secrets(reason), cost, *(usage or (None,) * 4), call],
        ).fetchone()
        self.reserved = max(0.0, self.reserved - (reserved or 0.0))
        self.spent += cost or 0.0

    @contextmanager
    def changing(self, *, durable: bool = False) -> Iterator[sqlite3.Connection]:
        """One change, of one thread at a time; changes within it are part of it.

        Args:
            durable: it is on the disk when the block ends, and so is all that was filed before.
        """
        with self._using, explained(self._path):
            link, before = self._link, (self.spent, self.reserved)
            if link.in_transaction:
                try:
                    yield link
                except sqlite3.Error:
                    link.rollback()
                    raise
                return
            link.execute(f"PRAGMA synchronous = {'FULL' if durable else 'NORMAL'}")
            link.execute("BEGIN IMMEDIATE")
            try:
                yield link
                link.execute("COMMIT")
                self.loose = not durable
            except BaseException:
                self.spent, self.reserved = before
                if link.in_transaction:
                    link.execute("ROLLBACK")
                raise


@contextmanager
def open_ledger(path: Path, identity: str) -> Iterator[Ledger]:
    """Hold a ledger for this process; it is made when there is none. All that is filed is on the disk at the end.

    Args:
        path: the file.
        identity: of the engine that is asked.

    Raises:
        StoreError: the file is no ledger, is that of another version, is in use, or cannot be read or written.
    """
    fix = "Wait for the other process, stop it, or give another --run-dir."
    with locked(path.with_name(f".{path.name}.lock"), path, "a ledger in use", fix):
        with explained(path):
            if not path.exists() or not path.stat().st_size:
                with replacing(path) as draft, closing(sqlite3.connect(draft, isolation_level=None)) as link:
                    link.executescript(TABLES)
            link = sqlite3.connect(path, timeout=SECONDS_TO_WAIT, isolation_level=None, check_same_thread=False)
        with closing(link):
            with explained(path):
                if link.execute("PRAGMA user_version").fetchone() != (VERSION,):
                    raise unusable(path, f"an SQLite file that is no ledger of version {VERSION}")
                link.execute("PRAGMA journal_mode = WAL").fetchall()
            kept = Ledger(link, path, identity)
            yield kept
            if kept.loose:
                kept.remember("closed", f"{time.time():.0f}")


@contextmanager
def explained(path: Path) -> Iterator[None]:
    """Turn what SQLite raises (disk full, not a database, locked, read-only ...) into the one line for users."""
    try:
        yield
    except sqlite3.Error as error:
        raise unusable(path, f"'{error}'") from error


def unusable(path: Path, found: str) -> StoreError:
    """The one line for users; `found` says why."""
    return StoreError(
        path,
        found=found,
        expected="a ledger that can be read and written",
        fix="Free some space or choose another --run-dir, then run the same command again: it resumes from here.",
    )
