"""A time limit for code of the user's that runs in this process."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable
from types import FrameType
from typing import TypeVar

Value = TypeVar("Value")


class OutOfTimeError(BaseException):
    """Code of the user's ran too long; no `except Exception` of theirs catches it."""


def within(seconds: float | None, work: Callable[[], Value]) -> Value:
    """Do some work, and stop it when it takes too long.

    The signal that stops it exists on Unix, comes to the main thread only, and interrupts Python code and waiting, but
    no library that stays in its own code. Where there is no such signal there is no limit.

    An import is never interrupted, because a module that was left half imported breaks every later use of it, and can
    end the process. The time that imports take does not count: the work has all its seconds again after a slow one.

    Args:
        seconds: what it may take; None sets no limit.
        work: what to do.

    Raises:
        OutOfTimeError: it took longer. It is raised within the work, and again until that gives way.
    """
    if seconds is None or not hasattr(signal, "setitimer") or threading.current_thread() != threading.main_thread():
        return work()
    working, imported = True, False

    def stop(number: int, frame: FrameType | None) -> None:
        nonlocal imported
        if _is_importing(frame):
            imported = True
        elif imported:
            imported = False
            signal.setitimer(signal.ITIMER_REAL, seconds, seconds / 10)
        elif working:
            raise OutOfTimeError

    handler = signal.signal(signal.SIGALRM, stop)
    timer = signal.setitimer(signal.ITIMER_REAL, seconds, seconds / 10)
    try:
        try:
            return work()
        finally:
            working = False
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, handler)
        if timer[0]:
            signal.setitimer(signal.ITIMER_REAL, *timer)


def _is_importing(frame: FrameType | None) -> bool:
    while frame is not None:
        if frame.f_code.co_filename.startswith("<frozen importlib"):
            return True
        frame = frame.f_back
    return False
