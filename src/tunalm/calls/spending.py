"""What a ledger knows of answers and costs, for those who only read it: nothing is locked, changed or made.

It may be asked while a run is going on.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from tunalm.calls.ledger import AMONG, VERSION, address, explained
from tunalm.engines.base import COME_AGAIN, Completion, Request
from tunalm.store import canonical

Ask = Callable[..., list[tuple[Any, ...]]]
"""A query and its values to rows."""


@dataclass(frozen=True)
class Account:
    """What has become of the requests to one engine, and what its calls have cost."""

    answered: int = 0
    """Requests."""
    unknown: int = 0
    """Requests that were sent, of which nobody knows whether they were answered, and paid for."""
    calls: int = 0
    """Those that were surely not carried out left out."""
    prompt_tokens: int = 0
    completion_tokens: int = 0
    """As the server counted them."""
    cached_tokens: int = 0
    """Of the prompt tokens: those that the server's prefix cache had."""
    reasoning_tokens: int = 0
    """Of the completion tokens: the model's thoughts."""
    cost: float = 0.0
    """Dollars; a call that was lost or not counted stands with the most that it could cost."""
    unpriced: int = 0
    """Calls of which nobody knows the price."""

    def __sub__(self, earlier: Account) -> Account:
        mine, theirs = asdict(self), asdict(earlier)
        return Account(**{name: mine[name] - theirs[name] for name in mine})


def accounts(ledger: Path) -> dict[str, Account]:
    """The account of every engine that a ledger knows; none if there is no such file.

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
    paid = {engine: figures for engine, *figures in calls}
    return {engine: Account(ok, unknown, *paid.get(engine, ())) for engine, ok, unknown in requests}


def accounts_since(
    earlier: Mapping[str, Account], now: Mapping[str, Account], answers: Mapping[str, int]
) -> dict[str, dict[str, Any]]:
    """What a stage has added to the accounts, by engine, for its record.

    Args:
        earlier: the accounts when it began.
        now: the accounts when it has ended.
        answers: requests of the stage that have an answer, by engine; those that had it before are `from_ledger`.

    Returns:
        The fields of `Account`, with None for a `cost` that nobody knows.
    """
    record = {}
    for engine, account in now.items():
        added = account - earlier.get(engine, Account())
        before = max(0, answers.get(engine, 0) - added.answered)
        if before or added != Account():
            cost = None if added.unpriced else round(added.cost, 9)
            record[engine] = asdict(added) | {"from_ledger": before, "cost": cost}
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


def retry_may_help(ledger: Path) -> bool:
    """Whether asking again may give answers: requests are of unknown outcome, or failed in a way that may pass.

    Raises:
        StoreError: the file cannot be read.
    """
    with _reading(ledger) as ask:
        failed = ask("SELECT completion FROM requests WHERE state = 'failed'")
        unknown = ask("SELECT 1 FROM requests WHERE state IN ('unknown', 'sent') LIMIT 1")
    reasons = [Completion.model_validate_json(completion).failure or "" for (completion,) in failed]
    return bool(unknown) or not all(reason.startswith(COME_AGAIN) for reason in reasons)


@contextmanager
def _reading(ledger: Path) -> Iterator[Ask]:
    """A way to query a ledger that is opened for reading; one of another version is empty."""
    if not ledger.is_file():
        yield lambda query, *values: []
        return
    with explained(ledger), closing(sqlite3.connect(f"{ledger.absolute().as_uri()}?mode=ro", uri=True)) as link:
        current = link.execute("PRAGMA user_version").fetchone() == (VERSION,)
        yield lambda query, *values: link.execute(query, values).fetchall() if current else []
