"""What a ledger knows of answers and costs, for those who only read it: nothing is locked, changed or made.

It may be asked while a run is going on.
"""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tunalm.calls.ledger import AMONG, VERSION, address, explained
from tunalm.engines.base import Completion, Request
from tunalm.records import UNKNOWN, CallAccount
from tunalm.store import canonical

Ask = Callable[..., list[tuple[Any, ...]]]
"""A query and its values to rows."""


def accounts(ledger: Path) -> dict[str, CallAccount]:
    """The account of every engine that a ledger knows; none if there is no such file.

    Calls that were surely not carried out are left out. A call that was lost or not counted stands with the most that
    it could cost.

    Raises:
        StoreError: it cannot be read.
    """
    with _reading(ledger) as ask:
        requests = ask("SELECT engine, sum(state = 'ok'), sum(state = 'unknown') FROM requests GROUP BY engine")
        calls = ask(
            "SELECT engine, count(*), coalesce(sum(prompt_tokens), 0), coalesce(sum(completion_tokens), 0),"
            " coalesce(sum(cached_tokens), 0), coalesce(sum(reasoning_tokens), 0),"
            " total(coalesce(cost, reserved)), sum(cost IS NULL AND ended IS NOT NULL) FROM calls"
            " WHERE NOT (reason IS NOT NULL AND cost = 0) GROUP BY engine"
        )
    names = ("calls", "prompt_tokens", "completion_tokens", "cached_tokens", "reasoning_tokens", "cost", "unpriced")
    paid = {engine: dict(zip(names, figures, strict=True)) for engine, *figures in calls}
    nothing = dict.fromkeys(names, 0)
    return {
        engine: CallAccount(answered=ok, unknown=unknown, **paid.get(engine, nothing))
        for engine, ok, unknown in requests
    }


def accounts_since(
    earlier: Mapping[str, CallAccount], now: Mapping[str, CallAccount], answers: Mapping[str, int]
) -> dict[str, dict[str, Any]]:
    """What a stage has added to the accounts, by engine, for its record.

    Args:
        earlier: the accounts when it began.
        now: the accounts when it has ended.
        answers: requests of the stage that have an answer, by engine; those that had it before are `from_ledger`.

    Returns:
        The fields of `CallAccount`, with None for a `cost` that nobody knows.
    """
    record = {}
    for engine, account in now.items():
        before = earlier[engine].model_dump() if engine in earlier else {}
        added = {name: figure - before.get(name, 0) for name, figure in account.model_dump().items()}
        found = max(0, answers.get(engine, 0) - added["answered"])
        if found or any(added.values()):
            cost = None if added["unpriced"] else round(added["cost"], 9)
            record[engine] = added | {"from_ledger": found, "cost": cost}
    return record


def answers_in(ledger: Path, identity: str, requests: Sequence[Request]) -> dict[str, Completion]:
    """Answers to some requests to the engine with this identity, by key; those that are not there are left out.

    Raises:
        StoreError: the file cannot be read.
    """
    key_of = {address(identity, request): request.key for request in requests}
    query = f"SELECT address, completion FROM requests WHERE state = 'ok' AND {AMONG}"
    with _reading(ledger) as ask:
        found = ask(query, canonical([*key_of]))
    return {key_of[place]: Completion.model_validate_json(completion) for place, completion in found}


def failures_in(ledger: Path) -> Counter[str]:
    """Why requests failed, or why their outcome is unknown, and how many of each.

    Raises:
        StoreError: the file cannot be read.
    """
    query = "SELECT completion, reason FROM requests LEFT JOIN calls ON id = call WHERE state <> 'ok'"
    with _reading(ledger) as ask:
        rows = ask(query)
    return Counter(
        UNKNOWN + (reason or "") if completion is None else Completion.model_validate_json(completion).failure or ""
        for completion, reason in rows
    )


@dataclass(frozen=True)
class Asked:
    """A request as a ledger keeps it, for people."""

    key: str
    engine: str
    state: str
    """`sent`, `ok`, `failed` or `unknown`."""
    text: str
    """The answer, if there is one."""
    failure: str | None


def requests_in(ledger: Path) -> Iterator[Asked]:
    """Every request of a ledger with what became of it, in the order in which they were filed.

    Raises:
        StoreError: the file cannot be read.
    """
    query = (
        "SELECT key, requests.engine, state, completion, reason FROM requests LEFT JOIN calls ON id = call"
        " ORDER BY requests.rowid"
    )
    with _reading(ledger) as ask:
        rows = ask(query)
    for key, engine, state, completion, reason in rows:
        answer = None if completion is None else Completion.model_validate_json(completion)
        failure = answer.failure if answer else UNKNOWN + (reason or "") if state == "unknown" else None
        yield Asked(key, engine, state, answer.text if answer else "", failure)


@contextmanager
def _reading(ledger: Path) -> Iterator[Ask]:
    """A way to query a ledger that is opened for reading; one of another version is empty."""
    if not ledger.is_file():
        yield lambda query, *values: []
        return
    with explained(ledger), closing(sqlite3.connect(f"{ledger.absolute().as_uri()}?mode=ro", uri=True)) as link:
        current = link.execute("PRAGMA user_version").fetchone() == (VERSION,)
        yield lambda query, *values: link.execute(query, values).fetchall() if current else []
