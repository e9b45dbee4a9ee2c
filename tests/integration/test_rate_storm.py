"""A server that refuses most calls for want of room answers every request once, and no pause is cut short.

What share of the allowed rate is used depends on how busy the machine is: `make soak` asks for it here, and
`tests/unit/engines/test_limits.py` on a clock of its own.
"""

from __future__ import annotations

from tests.integration.servers.storm import Weather
from tests.integration.storming import weather_report


def test_a_short_storm() -> None:
    weather = Weather(rate=25, pauses=(0.1, 0.3, 0.2), every=2.0, outage=0.3, broken=0.03)
    assert weather_report(weather, requests=200, concurrency=32, seed=1) > 0
