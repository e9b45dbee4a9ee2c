"""The file in which every request to a language model, and every answer, is kept: one SQLite file per run.

A request has one row, filed under the SHA-256 of the engine's identity and the whole request, key and seed included:

                   sending                received                read, filed
    planned ------------------> sent ------------------> sent ------------------> ok
       ^                         |       (reply kept)                |
       |         refused         |                                   `----------> failed ---> asked by the next call
       +-------------------------+
                                 |  lost, or no reply when another process takes over
                                 v
                              unknown ----> sent, a second time, if `max_duplicates` allows it

`planned` was not sent, `ok` is answered for good, `failed` has a reason. `unknown` was sent, and may have been carried
out and paid for, but the reply never came. A model in this process makes no calls: its rows go from `planned` to `ok`
or `failed` at once.

Beside it there is a row per call, with the reply as it came. A reply is on the disk before anybody reads it, so a
process that is killed in between, or a reader that could not read it, has lost nothing: it is read again, and not
asked for.

What is said to be kept is on the disk: it survives a kill and, where the disk is a local one, a power cut.
"""

from __future__ import annotations

import json
import sqlite3
import time
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

from tunalm.calls.database import Database
from tunalm.calls.disks import free_bytes
from tunalm.engines.base import Completion, Request
from tunalm.redaction import without_secret_bytes, without_secrets
from tunalm.store import canonical, digest

AT_ONCE = 500
"""Requests that are looked up by one query."""
RESERVE = 32 << 20
"""Bytes that must be free for a call to be made, so that the replies of all calls in flight can still be kept."""
AMONG = "address IN (SELECT value FROM json_each(?))"
OPEN = "WHERE engine = ? AND ended IS NULL"
"""Calls that nobody knows the end of."""
COMPRESSION = 1
"""Of replies; higher levels take several times as long for a few per cent."""


@dataclass(frozen=True)
class Row:
    """What the ledger knows of a request."""

    state: str
    completion: Completion | None
    """Of a request that is `ok` or `failed`."""


@dataclass(frozen=True)
class Reply:
    """A reply that was kept but not turned into answers."""

    call: int
    addresses: list[str]
    """Of the requests that the call was to answer, in their order."""
    reserved: float
    """Dollars that the call could cost."""
    status: int
    body: bytes


@dataclass(frozen=True)
class Bill:
    """What a call has cost."""

    call: int
    prompt_tokens: int | None
    completion_tokens: int | None
    cost: float | None
    """Dollars; None if nobody knows."""


def address(identity: str, request: Request) -> str:
    """SHA-256, in hex, of an engine's identity and a request.

    Fields that requests got after the first ledgers had been written count only where they are set.
    """
    content = request.model_dump()
    if not request.raw:
        del content["raw"]
    if request.given is None:
        del content["given"]
    return digest([identity, content])


class Ledger:
    """The ledger of a run, as one engine sees it. All methods may be called from any thread.

    Raises:
        StoreError: the file is no ledger, is that of a newer tunalm, is in use, or cannot be read or written.
    """

    def __init__(self, path: Path, identity: str) -> None:
        self._folder = path.parent
        self._identity = identity
        self._file = Database(path)

    def __enter__(self) -> Ledger:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._file.close()

    def find(self, addresses: Sequence[str]) -> Iterator[tuple[str, Row]]:
        """Look requests up; those that the ledger does not know are left out."""
        query = f"SELECT address, state, completion FROM requests WHERE {AMONG}"
        for some in _portions(addresses):
            for place, state, completion in self._file.ask(query, some):
                yield place, Row(state, None if completion is None else Completion.model_validate_json(completion))

    def plan(self, requests: Mapping[str, str]) -> None:
        """File requests, by their address with their key, that shall be asked; what is filed already stays."""
        rows = [(address, self._identity, key) for address, key in requests.items()]
        self._file.commit(
            lambda link: link.executemany(
                "INSERT INTO requests (address, engine, key) VALUES (?, ?, ?) ON CONFLICT DO NOTHING", rows
            )
        )

    def together(self) -> AbstractContextManager[None]:
        """File what this thread files inside the block in one transaction."""
        return self._file.together()

    def send(self, addresses: Sequence[str], reserved: float) -> int:
        """File that a call for some requests, already planned, is about to be made; returns its number.

        Args:
            addresses: of the requests, in their order.
            reserved: dollars that it may cost.

        Raises:
            StoreError: so little room is left that its reply might not be kept.
        """
        if (free := free_bytes(self._folder)) < RESERVE:
            raise self._file.unusable(f"{free >> 20} MB of free space, too little to keep what is paid for")
        listed = canonical(addresses)
        these, value = ("address = ?", addresses[0]) if len(addresses) == 1 else (AMONG, listed)

        def change(link: sqlite3.Connection) -> int:
            call = link.execute(
                "INSERT INTO calls (engine, addresses, sent, reserved, duplicates) VALUES (?, ?, ?, ?,"
                f" (SELECT count(*) FROM requests WHERE state = 'unknown' AND {these}))",
                [self._identity, listed, time.time(), reserved, value],
            ).lastrowid
            link.execute(
                "UPDATE requests SET state = 'sent', call = ?, before = iif(state = 'unknown', 'unknown', 'planned')"
                f" WHERE {these}",
                [call, value],
            )
            assert call is not None
            return call

        return self._file.commit(change)

    def keep(self, call: int, status: int, body: bytes) -> None:
        """Keep the reply to a call."""
        packed = zlib.compress(without_secret_bytes(body), COMPRESSION)
        values = [status, packed, time.time(), call]
        self._file.commit(
            lambda link: link.execute("UPDATE calls SET status = ?, body = ?, ended = ? WHERE id = ?", values)
        )

    def lose(self, call: int, reason: str, cost: float | None) -> None:
        """File that nobody knows what became of a call."""
        self._file.commit(lambda link: _lose(link, call, reason, cost))

    def take_back(self, call: int, reason: str) -> None:
        """File that a call was surely not carried out."""

        def change(link: sqlite3.Connection) -> None:
            _end(link, call, reason, 0.0)
            link.execute("UPDATE calls SET duplicates = 0 WHERE id = ?", [call])
            link.execute("UPDATE requests SET state = before WHERE call = ?", [call])

        self._file.commit(change)

    def settle(self, answers: Mapping[str, Completion], bill: Bill | None = None) -> None:
        """File what became of some requests, by their address, all or nothing. A request that is `ok` stays as it is.

        Args:
            answers: completions; one that is `unknown` says nothing new.
            bill: for the call that gave them, if one did. Its reply is kept, so nobody waits for the disk here.
        """
        rows = [
            (
                address,
                self._identity,
                answer.key,
                "ok" if answer.failure is None else "failed",
                without_secrets(canonical(answer.model_dump(exclude_defaults=True))),
            )
            for address, answer in answers.items()
            if not answer.unknown
        ]  # pydantic's own JSON would lose NaN

        def change(link: sqlite3.Connection) -> None:
            link.executemany(
                "INSERT INTO requests (address, engine, key, state, completion) VALUES (?, ?, ?, ?, ?)"
                " ON CONFLICT DO UPDATE"
                " SET state = excluded.state, completion = excluded.completion WHERE state <> 'ok'",
                rows,
            )
            if bill is not None:
                link.execute(
                    "UPDATE calls SET prompt_tokens = ?, completion_tokens = ?, cost = ?, ended = coalesce(ended, ?)"
                    " WHERE id = ?",
                    [bill.prompt_tokens, bill.completion_tokens, bill.cost, time.time(), bill.call],
                )

        (self._file.commit if bill is None else self._file.commit_later)(change)

    def replies(self, addresses: Sequence[str]) -> Iterator[Reply]:
        """Replies to the last call for some requests, one in memory at a time; none where no reply was kept."""
        calls: dict[int, None] = {}
        for some in _portions(addresses):
            query = f"SELECT call FROM requests JOIN calls ON calls.id = call WHERE {AMONG} AND status IS NOT NULL"
            calls.update((call, None) for (call,) in self._file.ask(query, some))
        for call in calls:
            query = "SELECT addresses, reserved, status, body FROM calls WHERE id = ?"
            ((asked, reserved, status, body),) = self._file.ask(query, call)
            yield Reply(call, json.loads(asked), reserved, status, zlib.decompress(body))

    def give_up(self, *, priced: bool) -> None:
        """File that nobody waits any more for replies of this engine that are not here.

        Args:
            priced: whether it is known what calls cost; these then cost what was reserved.
        """

        def change(link: sqlite3.Connection) -> None:
            for call, reserved in link.execute(f"SELECT id, reserved FROM calls {OPEN}", [self._identity]).fetchall():
                _lose(link, call, "the process that made the call is gone", reserved if priced else None)

        self._file.commit(change)

    def take_up(self) -> float:
        """File that calls without a reply will be told of anew; returns dollars that were reserved for them."""

        def change(link: sqlite3.Connection) -> float:
            (reserved,) = link.execute(f"SELECT total(reserved) FROM calls {OPEN}", [self._identity]).fetchone()
            values = ["taken up by a later process", time.time(), self._identity]
            link.execute(f"UPDATE calls SET reason = ?, cost = 0, ended = ? {OPEN}", values)
            return float(reserved)

        return self._file.commit(change)

    def duplicates(self) -> int:
        """Requests of unknown outcome that were sent again to this engine."""
        ((count,),) = self._file.ask("SELECT coalesce(sum(duplicates), 0) FROM calls WHERE engine = ?", self._identity)
        return int(count)

    def remember(self, name: str, value: str) -> None:
        """Keep a small fact about the engine."""
        query = "INSERT INTO facts VALUES (?, ?, ?) ON CONFLICT DO UPDATE SET value = excluded.value"
        self._file.commit(lambda link: link.execute(query, [self._identity, name, value]))

    def recall(self, name: str) -> str | None:
        """A fact that was kept, or None."""
        found = self._file.ask("SELECT value FROM facts WHERE engine = ? AND name = ?", self._identity, name)
        return found[0][0] if found else None


def _portions(addresses: Sequence[str]) -> Iterator[str]:
    """Addresses as JSON, a few hundred at a time."""
    for start in range(0, len(addresses), AT_ONCE):
        yield canonical(addresses[start : start + AT_ONCE])


def _lose(link: sqlite3.Connection, call: int, reason: str, cost: float | None) -> None:
    _end(link, call, reason, cost)
    link.execute("UPDATE requests SET state = 'unknown', lost = lost + 1 WHERE call = ?", [call])


def _end(link: sqlite3.Connection, call: int, reason: str, cost: float | None) -> None:
    values = [without_secrets(reason), cost, time.time(), call]
    link.execute("UPDATE calls SET reason = ?, cost = ?, ended = ? WHERE id = ?", values)
