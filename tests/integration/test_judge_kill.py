"""A judge's ranking is killed at random moments, and ends with the ranks of one that was not."""

from __future__ import annotations

from pathlib import Path

from tests.integration.killing import judging, kill_and_compare


def test_no_judgement_that_was_paid_for_is_lost_or_asked_for_again(tmp_path: Path) -> None:
    print(kill_and_compare(tmp_path, kills=3, prompts=40, in_flight=16, seconds=0.02, opening=judging))
