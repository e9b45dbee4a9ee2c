"""A checker that the user wrote: what it may return, and how long it may take."""

from __future__ import annotations

import math
import signal
import threading
from collections.abc import Callable
from inspect import iscoroutinefunction
from typing import Any, SupportsFloat, TypeVar

from tunalm.errors import RecipeError
from tunalm.extensions import load_object, said
from tunalm.records import Instruction

Value = TypeVar("Value")
Checker = Callable[[Instruction, str], Any]
_SHOWN = (str, bytes, list, tuple, dict, type(None))
"""What a reason shows as it is; the text of other values may hold an address, and differ from call to call."""


class OutOfTime(BaseException):
    """Code of a user's ran too long; no `except Exception` of theirs catches it."""


def within(seconds: float | None, work: Callable[[], Value]) -> Value:
    """Do some work, and stop it when it takes too long.

    The signal that stops it exists on Unix, comes to the main thread only, and interrupts Python code and waiting, but
    no library that stays in its own code. Where there is no such signal there is no limit.

    Args:
        seconds: what it may take; None sets no limit.
        work: what to do.

    Raises:
        OutOfTime: it took longer. It is raised within the work, and again until that gives way.
    """
    if seconds is None or not hasattr(signal, "setitimer") or threading.current_thread() != threading.main_thread():
        return work()
    working = True

    def stop(number: int, frame: object) -> None:
        if working:
            raise OutOfTime

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


def load_checker(text: str) -> Checker:
    """Run the module of a checker and return the function.

    Args:
        text: `FILE.py:FUNCTION` or `package.module:FUNCTION`.

    Raises:
        RecipeError: as `load_object`; or what the name stands for is no plain function.
    """
    function = load_object(text, "verifier")
    if not callable(function):
        raise RecipeError(text, found=f"it is a {type(function).__name__}", fix="Name a function of the module.")
    if iscoroutinefunction(function):
        raise RecipeError(text, found="it is an async function", fix="Name a plain one.")
    checker: Checker = function
    return checker


def score_of(checker: Checker, instruction: Instruction, text: str, seconds: float | None = None) -> float | str:
    """What a checker makes of a response: its score, or why there is none.

    Args:
        checker: asked.
        instruction: what the response answers.
        text: the response.
        seconds: what it may take; None sets no limit.
    """
    try:
        value = within(seconds, lambda: checker(instruction, text))
        score = float(value) if isinstance(value, SupportsFloat) else None
    except OutOfTime:
        return f"the verifier took more than {seconds:g} seconds"
    except (Exception, SystemExit) as error:
        return f"the verifier failed: {said(error)}"
    if score is None:
        shown = repr(value)[:80] if isinstance(value, _SHOWN) else type(value).__name__
        return f"the verifier returned {shown} and no number"
    if not 0 <= score <= 1 or math.isnan(score):
        return f"the verifier returned {score:g}, which is not between 0 and 1"
    return score
