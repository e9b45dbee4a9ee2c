"""A run on batch jobs is killed with SIGKILL around every call that it makes; it ends as if it had not been."""

from __future__ import annotations

import os
import signal
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Literal

from tests.integration.forks import Forks, forks
from tests.integration.servers.batches import BatchService, Fate, answer, batch_service, expired

REQUESTS = 5

ASK = """
import sys
from pathlib import Path
from tunalm.engines.batch.engine import BatchEngine
from tunalm.calls.asking import complete
from tunalm.engines.base import Request
from tunalm.records import Message
from tunalm.recipe import BatchSettings

asked = [Request(key=str(n), messages=[Message(role="user", content=f"Say {n}.")]) for n in range(int(sys.argv[1]))]

def work(line):
    url, ledger = line.split()
    settings = BatchSettings(base_url=url, model="m", poll_seconds=0.01, requests_per_job=3, max_duplicates=0)
    answers = complete(BatchEngine(settings), asked, Path(ledger), "asking")
    texts = {key: answer.text for key, answer in answers.items()}
    return 0 if texts == {str(n): f"Say {n}. 0" for n in range(len(asked))} else 3
"""


@contextmanager
def service() -> Iterator[BatchService]:
    """Two jobs, of which the first leaves one request for a third."""
    with batch_service() as server:
        server.books.fates = [
            Fate(
                "expired",
                output=lambda lines: [answer(line) for line in lines[1:]],
                errors=lambda lines: [expired(lines[0])],
            )
        ]
        yield server


def kill_at(server: BatchService, runs: Forks, number: int, moment: Literal["before", "after"]) -> None:
    """End the process at the given call: the server has not seen it yet, or has done what it says."""

    def kill(call: str) -> None:
        if len(server.books.log) == number:
            os.kill(runs.child, signal.SIGKILL)

    setattr(server, moment, kill)


def test_every_request_is_carried_out_once_whenever_the_run_is_killed(tmp_path: Path) -> None:
    with forks(ASK, REQUESTS) as runs:
        with service() as server:
            assert runs.run(f"{server.url} {tmp_path / 'whole.sqlite'}") == 0
            calls = len(server.books.log)
        assert calls >= 15
        for number in range(1, calls + 1):
            for moment in ("before", "after"):
                ledger = tmp_path / f"{number}-{moment}.sqlite"
                with service() as server:
                    kill_at(server, runs, number, moment)
                    status = runs.run(f"{server.url} {ledger}")
                    assert status == signal.SIGKILL, f"call {number} of {calls}: {status}"
                    assert runs.run(f"{server.url} {ledger}") == 0
                    done = server.books.carried_out
                    assert set(done.values()) == {1}, f"killed {moment} call {number} of {calls}"
                    assert len(done) == REQUESTS
                    assert len(server.books.jobs) == 3
                with closing(sqlite3.connect(ledger)) as link:
                    assert link.execute("SELECT DISTINCT state FROM requests").fetchall() == [("ok",)]
                    assert link.execute("SELECT count(*) FROM calls WHERE ended IS NULL").fetchone() == (0,)
    print(f"{2 * calls} kills: {REQUESTS} requests carried out once each, every time")
