"""A checker that the user wrote: the function behind `FILE.py:FUNCTION`.

It is run because the user names it, and nothing else of its file is looked at. Before a run begins the file is read,
not run, so that a misspelt name shows then and not after hours of sampling.
"""

from __future__ import annotations

import importlib.util
import math
import signal
import symtable
import sys
import threading
from collections.abc import Callable
from inspect import iscoroutinefunction
from pathlib import Path
from types import ModuleType
from typing import Any, SupportsFloat, TypeVar

from tunalm.errors import DataError
from tunalm.records import Instruction
from tunalm.store import digest, file_digest

Value = TypeVar("Value")
Checker = Callable[[Instruction, str], Any]
EXAMPLE = "FILE.py:FUNCTION, for instance checks.py:is_short"
_SHOWN = (str, bytes, list, tuple, dict, type(None))
"""What a reason shows as it is; the text of other values may hold an address, and differ from call to call."""
MOST_CHARACTERS = 200
"""Of an exception's message in a reason."""


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


def checker_identity(text: str) -> str:
    """Names a checker with the content of its file, which is not run.

    Args:
        text: `FILE.py:FUNCTION`.

    Raises:
        DataError: there is no such file, it is not Python, or it defines no such name.
    """
    path, name = _split(text)
    try:
        table = symtable.symtable(path.read_text(encoding="utf-8"), str(path), "exec")
    except SyntaxError as error:
        raise _unusable(f"{path}:{error.lineno}", str(error.msg), "Correct the line.") from error
    except (OSError, ValueError) as error:
        found = str(getattr(error, "strerror", None) or error)
        raise _unusable(str(path), found, "Check the path; it is seen from the folder that tunalm runs in.") from error
    if name not in table.get_identifiers() and "import *" not in path.read_text(encoding="utf-8"):
        raise _unusable(str(path), f"no '{name}' in it", "Define the function there, or correct its name.")
    return digest([name, file_digest(path)])


def load_checker(text: str) -> Checker:
    """Run the file of a checker and return the function.

    Args:
        text: `FILE.py:FUNCTION`.

    Raises:
        DataError: as `checker_identity`; or the file raises an error, or what it defines is no function.
    """
    checker_identity(text)
    path, name = _split(text)
    try:
        function = getattr(_run(path), name)
    except (Exception, SystemExit) as error:
        raise _unusable(str(path), _said(error), "Run the file by itself to see where.") from error
    if not callable(function):
        raise _unusable(text, f"a {type(function).__name__}", "Name a function of the file.")
    if iscoroutinefunction(function):
        raise _unusable(text, "an async function", "Name a plain one.")
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
        return f"the verifier failed: {_said(error)}"
    if score is None:
        shown = repr(value)[:80] if isinstance(value, _SHOWN) else type(value).__name__
        return f"the verifier returned {shown} and no number"
    if not 0 <= score <= 1 or math.isnan(score):
        return f"the verifier returned {score:g}, which is not between 0 and 1"
    return score


def _split(text: str) -> tuple[Path, str]:
    path, colon, name = text.rpartition(":")
    if not colon or not name.isidentifier() or not path.endswith(".py"):
        raise _unusable("verifier", f"'{text}'", "Name a file and a function in it.", EXAMPLE)
    return Path(path).expanduser(), name


def _run(path: Path) -> ModuleType:
    """A module from a file, under a name that no other module has."""
    name = f"tunalm_verifier_{file_digest(path)[:16]}"
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None  # the name ends in .py
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses and pickle look their module up there
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module


def _said(error: BaseException) -> str:
    message = " ".join(str(error).split())[:MOST_CHARACTERS]
    return f"{type(error).__name__}: {message}" if message else type(error).__name__


def _unusable(where: str, found: str, fix: str, expected: str = "a Python file with the verifier") -> DataError:
    return DataError(where, found=found, expected=expected, fix=fix)
