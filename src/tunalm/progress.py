"""Progress of long work: a bar with an ETA on a terminal, a line now and then in a log, silence on all but one rank."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import TypeVar

from rich import control
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

# rich takes a few control characters out of every text that it prints, and leaves the one that begins a command to the
# terminal. Texts come from data files, models and servers: none of these gets to speak to the terminal.
control._CONTROL_STRIP_TRANSLATE.update(dict.fromkeys([*range(9), *range(11, 32), *range(127, 160)]))
SECONDS_BETWEEN_LINES = 15.0
Item = TypeVar("Item")

_shown: Progress | None = None
"""The bars on the terminal, while there are any: work within work adds a bar to them."""


def is_main_process() -> bool:
    """Whether this process is the one that speaks (rank 0 of a multi-process launch, or the only one)."""
    return os.environ.get("RANK", "0") == "0"


def console() -> Console:
    """Where messages to the user go: standard error, so that standard output stays data."""
    if _shown is not None:
        return _shown.console
    quiet = not is_main_process() or os.environ.get("TUNALM_QUIET") == "1"
    return Console(stderr=True, quiet=quiet, highlight=False, force_jupyter=False)  # in a notebook, lines as in a log


def tracked(items: Sequence[Item], description: str) -> Iterator[Item]:
    """The items one by one, and how far they have come; each is done when the next is taken.

    It is for a `for` statement, which lets go of it when an error ends the loop. A comprehension does not, as long as
    somebody holds the traceback, and the bar would stay.
    """
    with progress(description, len(items)) as advance:
        for item in items:
            yield item
            advance(1)


@contextmanager
def progress(description: str, total: int | None) -> Iterator[Callable[[int], None]]:
    """Show how far long work has come; call the yielded function with the number of items just finished.

    A total of None: nobody knows how many items there are.
    """
    global _shown
    if _shown is not None:
        bars = _shown
        inner = bars.add_task(description, total=total)
        try:
            yield partial(bars.advance, inner)
        finally:
            bars.remove_task(inner)
        return
    screen = console()
    if screen.is_terminal:
        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
        )
        with Progress(*columns, console=screen, transient=True) as bar:
            task = bar.add_task(description, total=total)
            _shown = bar
            try:
                yield partial(bar.advance, task)
            finally:
                _shown = None
        return
    started = last = time.monotonic()
    done = 0

    def advance(count: int = 1) -> None:
        nonlocal done, last
        done += count
        now = time.monotonic()
        if now - last >= SECONDS_BETWEEN_LINES and (total is None or done < total):
            last = now
            each = (now - started) / max(done, 1)
            rest = "" if total is None else f"/{total}, about {each * (total - done):.0f} s left"
            screen.print(f"  {description}: {done}{rest}", markup=False)
            sys.stderr.flush()

    yield advance
