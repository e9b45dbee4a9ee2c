"""A run that asks a server is killed at random moments, and loses and repeats nothing that was finished."""

from __future__ import annotations

from pathlib import Path

from tests.integration.killing import kill_and_compare


def test_nothing_that_was_paid_for_is_lost_or_paid_for_again(tmp_path: Path) -> None:
    print(kill_and_compare(tmp_path, kills=3, prompts=60, in_flight=32, seconds=0.02))
