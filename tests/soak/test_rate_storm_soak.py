"""The whole of what is promised about a server that allows five calls a second."""

from __future__ import annotations

import pytest

from tests.integration.servers.storm import Weather
from tests.integration.storming import weather_report


@pytest.mark.soak
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("latency", [0.05, 1.0])
def test_five_calls_a_second(latency: float) -> None:
    weather = Weather(rate=5, pauses=(0.2, 1.0, 3.0, 60.0), every=30.0, outage=2.0, broken=0.03, latency=latency)
    assert weather_report(weather, requests=1500, concurrency=32, seed=2) >= 0.8
