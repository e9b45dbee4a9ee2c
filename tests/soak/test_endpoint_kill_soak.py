"""The whole of what is promised about runs that are killed while they ask a server."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.integration.killing import kill_and_compare


@pytest.mark.soak
@pytest.mark.timeout(3600)
def test_fifty_kills_of_two_thousand_prompts(tmp_path: Path) -> None:
    print(kill_and_compare(tmp_path, kills=50, prompts=2000, in_flight=32, seconds=0.05))
