"""Property tests do not fail because a machine is busy, and try the same examples every time."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, settings

settings.register_profile("steady", deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("steady")


@pytest.fixture(autouse=True)
def speaking() -> Iterator[None]:
    """`--quiet` of one test does not silence the next."""
    yield
    os.environ.pop("TUNALM_QUIET", None)
