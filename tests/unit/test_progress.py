"""Bars on a terminal: one, one within another, and messages above them."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from tunalm import progress as module
from tunalm.progress import console, progress, tracked


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> io.StringIO:
    """What a user sees, with its escape sequences."""
    screen = io.StringIO()
    made = Console(file=screen, force_terminal=True, width=100, highlight=False)
    monkeypatch.setattr(module, "Console", lambda **_: made)
    return screen


def test_work_within_work_has_a_bar_of_its_own(terminal: io.StringIO) -> None:
    with progress("outer", 4) as outer:
        outer(1)
        with progress("inner", 2) as inner:
            inner(2)
            console().print("a message")
        outer(3)
    shown = terminal.getvalue()
    assert "outer" in shown
    assert "a message" in shown
    with progress("next", 1) as advance:
        advance(1)


def test_an_error_within_leaves_no_bar_behind(terminal: io.StringIO) -> None:
    with pytest.raises(ValueError, match="broken"), progress("outer", 1), progress("inner", 1):
        raise ValueError("broken")
    assert module._shown is None

    def loop() -> None:
        for word in tracked(["1", "x"], "words"):
            int(word)

    with pytest.raises(ValueError, match="invalid literal") as kept:
        loop()
    assert module._shown is None, "also while somebody holds the traceback"
    assert kept.value.__traceback__ is not None


def test_a_log_gets_a_line_now_and_then(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "SECONDS_BETWEEN_LINES", 0.0)
    with progress("work", 3) as advance, progress("more", 2) as other:
        advance(1)
        other(1)
        advance(2)
    lines = capsys.readouterr().err.splitlines()
    assert [line.split(",")[0].strip() for line in lines] == ["work: 1/3", "more: 1/2"]


def test_a_log_of_work_without_an_end_says_how_much_is_done(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "SECONDS_BETWEEN_LINES", 0.0)
    with progress("reading", None) as advance:
        advance(3)
    assert capsys.readouterr().err.splitlines() == ["  reading: 3"]
