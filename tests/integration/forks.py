"""A process that works once per line that it is told, each time in a forked child that may be killed.

So that not every child has to import everything: a program begins with its imports and ends with `work(line)`.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

LOOP = """
import os, sys, traceback
for line in sys.stdin:
    child = os.fork()
    if child == 0:
        status = 1
        try:
            status = work(line.rstrip("\\n")) or 0
        except SystemExit as error:
            status = error.code or 0
        except BaseException:
            traceback.print_exc()
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(status)
    print(child, flush=True)
    print(os.waitpid(child, 0)[1], flush=True)
"""


class Forks:
    """The process, as seen from outside."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process
        self.child = 0
        """The last one."""

    def start(self, line: str) -> int:
        """Begin a piece of work; returns the child that does it."""
        assert self._process.stdin is not None
        self._process.stdin.write(f"{line}\n")
        self._process.stdin.flush()
        self.child = self._number()
        return self.child

    def status(self) -> int:
        """Wait for the child; returns its status as `os.waitpid` does."""
        return self._number()

    def run(self, line: str) -> int:
        """Both."""
        self.start(line)
        return self.status()

    def _number(self) -> int:
        assert self._process.stdout is not None
        return int(self._process.stdout.readline())


@contextmanager
def forks(program: str, *arguments: object) -> Iterator[Forks]:
    """Start a program."""
    command = [sys.executable, "-c", program + LOOP, *map(str, arguments)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True, env=environment) as process:
        yield Forks(process)
