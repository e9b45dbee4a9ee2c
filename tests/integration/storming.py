"""Asking in a storm, and comparing what came of it with what the server saw."""

from __future__ import annotations

from collections import Counter, defaultdict
from itertools import pairwise

from tests.integration.servers.storm import Call, Weather, storm_server
from tunalm.engines.base import Completion, Journal, Request
from tunalm.engines.endpoint.engine import EndpointEngine
from tunalm.recipe import EndpointSettings
from tunalm.records import Message

TOLERANCE = 0.01
"""Seconds that the two clocks and the log may differ by."""


def weather_report(weather: Weather, requests: int, concurrency: int, seed: int) -> float:
    """Ask in a storm, check all that the witness knows, and return the share of the allowed rate that was used."""
    asked = [Request(key=f"{n}", messages=[Message(role="user", content=f"Call {n}.")]) for n in range(requests)]
    with storm_server(weather, seed) as server:
        settings = EndpointSettings(base_url=server.url, model="tiny", concurrency=concurrency, timeout=10)
        engine = EndpointEngine(settings)
        units = engine.generate(engine.batches(asked), Journal())
        completions = {completion.key: completion for unit in units for completion in unit}
    nothing_is_lost(completions, server.log, asked)
    pauses_are_kept(server.log)
    counts = Counter(call.outcome for call in server.log)
    carried_out = counts["answered"] + counts["broken off"]
    used = carried_out / server.allowed()
    seconds = server.log[-1].at - server.log[0].at
    late = [call.outcome == "refused" for call in server.log if call.at > server.log[0].at + 60]
    print(f"{requests} requests in {seconds:.0f} s: {dict(counts)}; {used:.0%} of the allowed rate")
    print(f"after a minute {sum(late)} of {len(late)} calls were refused")
    assert counts["refused"] > 0, "the storm must be felt"
    assert counts["out of order"] > 0
    assert counts["broken off"] > 0
    return used


def nothing_is_lost(completions: dict[str, Completion], log: list[Call], asked: list[Request]) -> None:
    assert [completion.failure for completion in completions.values()] == [None] * len(asked)
    answered = Counter(call.prompt for call in log if call.outcome == "answered")
    assert answered == Counter(request.messages[0].content for request in asked), "answered once each"


def pauses_are_kept(log: list[Call]) -> None:
    calls = defaultdict(list)
    for call in log:
        calls[call.prompt].append(call)
    for same in calls.values():
        for first, second in pairwise(same):
            assert second.at >= first.at + first.asked - TOLERANCE, f"{first} was followed by {second}"
