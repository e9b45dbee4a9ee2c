"""A server that refuses most calls for want of room gets all it can take, no more, and answers every request once."""

from __future__ import annotations

import pytest

from tests.integration.servers.storm import Weather
from tests.integration.storming import weather_report


@pytest.mark.soak
def test_a_short_storm() -> None:
    weather = Weather(rate=25, pauses=(0.1, 0.3, 0.2), every=3.0, outage=0.3, broken=0.03)
    assert weather_report(weather, requests=250, concurrency=32, seed=1) >= 0.8
