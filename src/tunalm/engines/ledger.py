"""Every answer of every language model of a run, in one SQLite file, so that no answer is asked for twice or lost.

An answer is filed under the SHA-256 of the engine's identity and the whole request, key and seed included. A unit (see
`Engine.batches`) is committed in one durable transaction as soon as it is answered: what was committed survives a kill
and, on a local disk, a power cut; what was in flight is asked again. Failures are filed as attempts, for people to look
at, and never served as answers.

Units are always formed from all requests of a call, and those with nothing missing are left out, so a run that goes on
after a kill asks in exactly the units that it would have had. A unit can be answered in part, after a failure or when
the requests of an earlier call were others. An engine that is seeded is then asked the whole unit again, because the
last bits of what a model computes depend on what it computes them together with, and the missing answers shall be those
of an uninterrupted run; every other engine is asked only for what is missing. Either way an answer once filed stays.
"""

from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType

from tunalm.engines.base import Completion, Engine, Request
from tunalm.errors import StoreError
from tunalm.progress import progress
from tunalm.store import canonical, digest

VERSION = 1
SECONDS_TO_WAIT = 60.0
"""For another process that is writing."""

SCHEMA = f"""
BEGIN IMMEDIATE;
CREATE TABLE IF NOT EXISTS attempts (
    id INTEGER PRIMARY KEY,
    address TEXT NOT NULL,      -- SHA-256 of engine and request
    engine TEXT NOT NULL,
    key TEXT NOT NULL,          -- of the request, for people
    failure TEXT,               -- NULL: this is the answer
    completion TEXT NOT NULL,   -- as JSON
    recorded TEXT NOT NULL DEFAULT CURRENT_TIMESTAMP
);
CREATE UNIQUE INDEX IF NOT EXISTS answers ON attempts (address) WHERE failure IS NULL;
PRAGMA user_version = {VERSION};
COMMIT;
"""


def complete(engine: Engine, requests: Sequence[Request], ledger: Path, description: str) -> dict[str, Completion]:
    """Answer requests, from the ledger where it has the answer and else by asking the engine.

    Args:
        engine: who is asked.
        requests: each with a key of its own.
        ledger: the file; it is made when there is none.
        description: what the progress bar says.

    Returns:
        One completion per request by its key, in the order of the requests. Those with `failure` are asked for again
        by the next call.

    Raises:
        ValueError: two requests have the same key.
        StoreError: the file is no ledger, or cannot be read or written. What was filed stays filed.
        EngineError: the engine cannot answer any request; likewise.
    """
    by_key = {request.key: request for request in requests}
    if len(by_key) < len(requests):
        raise ValueError(f"{len(requests) - len(by_key)} of {len(requests)} requests have the key of another one")
    answers: dict[str, Completion] = {}
    with Ledger(ledger, engine.identity) as kept, progress(description, len(requests)) as advance:
        for request in requests:
            if (answer := kept.find(request)) is not None:
                answers[request.key] = answer
                advance(1)
        with _generating(engine, _open_units(engine, requests, answers)) as finished:
            for unit in finished:
                new = [completion for completion in unit if completion.key not in answers]
                kept.add([(by_key[completion.key], completion) for completion in new])
                answers.update((completion.key, completion) for completion in new)
                advance(len(new))
    unanswered = Completion(key="", failure="the engine gave no answer")
    return {key: answers.get(key) or unanswered.model_copy(update={"key": key}) for key in by_key}


def _open_units(engine: Engine, requests: Sequence[Request], answers: dict[str, Completion]) -> list[list[Request]]:
    """Those units of all requests that lack an answer: whole for a seeded engine, else what is missing of them."""
    units = engine.batches(requests)
    missing = [[request for request in unit if request.key not in answers] for unit in units]
    asked = units if engine.capabilities.seeded else missing
    return [unit for unit, lacking in zip(asked, missing, strict=True) if lacking]


@contextmanager
def _generating(engine: Engine, units: Sequence[Sequence[Request]]) -> Iterator[Iterator[list[Completion]]]:
    """Let an engine that is left early, by an error or Ctrl-C, end what it has in flight."""
    finished = engine.generate(units) if units else iter(())
    try:
        yield finished
    finally:
        if isinstance(finished, Generator):
            finished.close()


class Ledger:
    """The answers of one engine in a ledger file. Several processes may use the file at once.

    Raises:
        StoreError: the file is no ledger, is one of another version of tunalm, or cannot be read or written.
    """

    def __init__(self, path: Path, identity: str) -> None:
        self._path = path
        self._identity = identity
        with self._explained():
            self._connection = sqlite3.connect(path, timeout=SECONDS_TO_WAIT)
        try:
            self._prepare()
        except BaseException:
            self._connection.close()
            raise

    def __enter__(self) -> Ledger:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._connection.close()

    def find(self, request: Request) -> Completion | None:
        """Return the answer to a request, or None if there is none but perhaps failures."""
        with self._explained():
            row = self._connection.execute(
                "SELECT completion FROM attempts WHERE address = ? AND failure IS NULL", [self._address(request)]
            ).fetchone()
        return None if row is None else Completion.model_validate_json(row[0])

    def add(self, attempts: Sequence[tuple[Request, Completion]]) -> None:
        """File what became of some requests, all or nothing, durably. An answer that is there already stays."""
        rows = [
            (
                self._address(request),
                self._identity,
                request.key,
                completion.failure,
                canonical(completion.model_dump()),  # pydantic's own JSON would lose NaN
            )
            for request, completion in attempts
        ]
        with self._explained(), self._connection:
            self._connection.executemany(
                "INSERT INTO attempts (address, engine, key, failure, completion) VALUES (?, ?, ?, ?, ?)"
                " ON CONFLICT DO NOTHING",
                rows,
            )

    def _address(self, request: Request) -> str:
        return digest([self._identity, request.model_dump()])

    def _prepare(self) -> None:
        with self._explained():
            # One statement, so that a ledger which another process is making is seen whole or not at all.
            version, names = self._connection.execute(
                "SELECT user_version, (SELECT json_group_array(name) FROM sqlite_master) FROM pragma_user_version"
            ).fetchone()
            tables = json.loads(names)
            if tables and (version != VERSION or "attempts" not in tables):
                raise self._unusable(f"an SQLite file that is no ledger of version {VERSION}")
            self._use_wal()
            self._connection.execute("PRAGMA synchronous = FULL")
            if not tables:
                self._connection.executescript(SCHEMA)

    def _use_wal(self) -> None:
        """Switch to WAL mode, waiting for another process that does so: SQLite itself would not wait here."""
        deadline = time.monotonic() + SECONDS_TO_WAIT
        while True:
            try:
                self._connection.execute("PRAGMA journal_mode = WAL")
                return
            except sqlite3.OperationalError as error:
                if error.sqlite_errorcode != sqlite3.SQLITE_BUSY or time.monotonic() > deadline:
                    raise
                time.sleep(0.01)

    @contextmanager
    def _explained(self) -> Iterator[None]:
        """Turn what SQLite raises (disk full, not a database, locked, read-only ...) into the one line for users."""
        try:
            yield
        except sqlite3.Error as error:
            raise self._unusable(f"'{error}'") from error

    def _unusable(self, found: str) -> StoreError:
        return StoreError(
            self._path,
            found=found,
            expected="a ledger that can be read and written, on a disk with free space",
            fix="Free some space or choose another --run-dir, then run the same command again: it goes on from here.",
        )
