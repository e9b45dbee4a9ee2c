"""Runs a command and ends it, with all that it started, when the process that asked for it is gone.

Started as a program of its own, with nothing but the standard library: `watchdog.py COMMAND ...`. Standard input is a
pipe that nobody writes to; it ends when its other end does, however that came about (kill -9 included).
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from contextlib import suppress

PATIENCE = 10.0
"""Seconds between asking a program to end and ending it."""


def main(command: list[str]) -> int:
    """Run the command until it ends or the pipe does; returns its exit status."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the process at the other end, which then ends us
    child = subprocess.Popen(command, stdin=subprocess.DEVNULL, start_new_session=True)

    def end() -> None:
        while os.read(0, 1):  # not through sys.stdin, whose lock would keep this program from ending
            pass
        _signal(child.pid, signal.SIGTERM)
        deadline = time.monotonic() + PATIENCE
        while child.poll() is None and time.monotonic() < deadline:
            time.sleep(0.05)
        _signal(child.pid, signal.SIGKILL)

    threading.Thread(target=end, daemon=True).start()
    signal.signal(signal.SIGTERM, lambda *_: _signal(child.pid, signal.SIGKILL))
    status = child.wait()
    _signal(child.pid, signal.SIGKILL)  # workers that outlived it
    return status if status >= 0 else 128 - status


def _signal(group: int, number: int) -> None:
    with suppress(ProcessLookupError):
        os.killpg(group, number)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
