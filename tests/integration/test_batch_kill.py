"""A run on batch jobs is killed with SIGKILL around every call that it makes; it ends as if it had not been."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Literal

from tests.integration.servers.batches import BatchService, Fate, answer, batch_service, expired

REQUESTS = 5

RUNNER = '''
"""Ask for everything once per line of standard input, in a forked process that may be killed."""
import os, sys, traceback
from pathlib import Path
from tunalm.engines.batch.engine import BatchEngine
from tunalm.calls.asking import complete
from tunalm.engines.base import Request
from tunalm.records import Message
from tunalm.recipe import BatchSettings

asked = [Request(key=str(n), messages=[Message(role="user", content=f"Say {n}.")]) for n in range(int(sys.argv[1]))]
for line in sys.stdin:
    url, ledger = line.split()
    child = os.fork()
    if child == 0:
        status = 1
        try:
            settings = BatchSettings(base_url=url, model="m", poll_seconds=0.01, requests_per_job=3, max_duplicates=0)
            answers = complete(BatchEngine(settings), asked, Path(ledger), "asking")
            texts = {key: answer.text for key, answer in answers.items()}
            status = 0 if texts == {str(n): f"Say {n}. 0" for n in range(len(asked))} else 3
        except BaseException:
            traceback.print_exc()
        os._exit(status)
    print(child, flush=True)
    print(os.waitpid(child, 0)[1], flush=True)
'''


class Runner:
    """Starts runs, one after the other."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process
        self.child = 0

    def run(self, url: str, ledger: Path) -> int:
        """Run to the end, whatever that is; returns the status."""
        assert self._process.stdin is not None
        self._process.stdin.write(f"{url} {ledger}\n")
        self._process.stdin.flush()
        self.child = self._line()
        return self._line()

    def _line(self) -> int:
        assert self._process.stdout is not None
        return int(self._process.stdout.readline())


@contextmanager
def runner() -> Iterator[Runner]:
    command = [sys.executable, "-c", RUNNER, str(REQUESTS)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        yield Runner(process)


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


def kill_at(server: BatchService, runs: Runner, number: int, moment: Literal["before", "after"]) -> None:
    """End the process at the given call: the server has not seen it yet, or has done what it says."""

    def kill(call: str) -> None:
        if len(server.books.log) == number:
            os.kill(runs.child, signal.SIGKILL)

    setattr(server, moment, kill)


def test_every_request_is_carried_out_once_whenever_the_run_is_killed(tmp_path: Path) -> None:
    with runner() as runs:
        with service() as server:
            assert runs.run(server.url, tmp_path / "whole.sqlite") == 0
            calls = len(server.books.log)
        assert calls >= 15
        for number in range(1, calls + 1):
            for moment in ("before", "after"):
                ledger = tmp_path / f"{number}-{moment}.sqlite"
                with service() as server:
                    kill_at(server, runs, number, moment)
                    status = runs.run(server.url, ledger)
                    assert status == signal.SIGKILL, f"call {number} of {calls}: {status}"
                    assert runs.run(server.url, ledger) == 0
                    done = server.books.carried_out
                    assert set(done.values()) == {1}, f"killed {moment} call {number} of {calls}"
                    assert len(done) == REQUESTS
                    assert len(server.books.jobs) == 3
                with closing(sqlite3.connect(ledger)) as link:
                    assert link.execute("SELECT DISTINCT state FROM requests").fetchall() == [("ok",)]
                    assert link.execute("SELECT count(*) FROM calls WHERE ended IS NULL").fetchone() == (0,)
    print(f"{2 * calls} kills: {REQUESTS} requests carried out once each, every time")
