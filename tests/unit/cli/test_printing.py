"""What the command line prints: help texts as they are written, on any terminal."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from tunalm.redaction import without_keys


def shown(*words: str, **environment: str) -> str:
    command = [sys.executable, "-m", "tunalm", *words]
    done = subprocess.run(command, capture_output=True, env={**os.environ, **environment}, timeout=120, check=False)
    return (done.stdout + done.stderr).decode("ascii" if environment else "utf-8")


@pytest.mark.parametrize("command", ["run", "sample"])
def test_help_shows_how_a_knob_is_given(command: str) -> None:
    text = shown(command, "--help")
    assert "key=value" in text
    assert "[key]" not in text


def test_a_key_in_a_command_is_still_no_text_to_show() -> None:
    assert without_keys("api_key=abcdef token=valued key=value") == "api_key=[key] token=[key] key=value"


def test_what_a_terminal_cannot_show_is_spelled_out() -> None:
    text = shown("run", "r\u00e9cette.yaml", PYTHONIOENCODING="ascii")
    assert "r\\xe9cette.yaml" in text
    assert "Traceback" not in text
