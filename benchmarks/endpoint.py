"""Calls to a server with latency: many in flight against one after the other, and a run that is repeated.

`python -m benchmarks.endpoint [--requests 1000] [--serial 200] [--in-flight 64] [--latency 0.05] [--rounds 3]
[--json PATH]`. The server is a process of its own that answers every call after a fixed time and counts the calls. Each
variant goes through the ledger as a stage does, with a new ledger file; the last one has the ledger of the one before.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmarks.measure import Spread, ratios, show, write_json
from tunalm.calls.asking import complete
from tunalm.engines.base import Journal, Request
from tunalm.engines.endpoint.engine import EndpointEngine
from tunalm.recipe import EndpointSettings
from tunalm.records import Message

REPLY = json.dumps(
    {
        "model": "fixed",
        "choices": [{"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": "Green."}}],
        "usage": {"prompt_tokens": 40, "completion_tokens": 3},
    }
).encode()
COLUMNS = ["", "requests", "in flight", "seconds", "requests/s", "times serial", "calls at the server"]


class LatencyServer(asyncio.Protocol):
    """Answers every POST after a fixed time and every GET with the number of POSTs so far."""

    calls = 0

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._data = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the connection."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        """Answer when a request is whole."""
        self._data += data
        head, found, body = self._data.partition(b"\r\n\r\n")
        if head.startswith(b"GET") and found:
            self._data = b""
            self._answer(str(LatencyServer.calls).encode())
        elif found and len(body) >= int(head.lower().partition(b"content-length:")[2].split(b"\r\n")[0]):
            self._data = b""
            LatencyServer.calls += 1
            asyncio.get_running_loop().call_later(self._seconds, self._answer, REPLY)

    def _answer(self, body: bytes) -> None:
        self._transport.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body)


async def serve(seconds: float) -> None:
    """Print the address and answer until killed."""
    server = await asyncio.get_running_loop().create_server(lambda: LatencyServer(seconds), "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


@contextmanager
def latency_server(seconds: float) -> Iterator[str]:
    """Base address of a server in another process."""
    command = [sys.executable, "-m", "benchmarks.endpoint", "--serve", str(seconds)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            yield f"http://127.0.0.1:{int(process.stdout.readline())}/v1"
        finally:
            process.kill()


def ask(url: str, count: int, in_flight: int, ledger: Path | None) -> tuple[float, int]:
    """Seconds that `count` requests take, and how many calls the server saw."""
    settings = EndpointSettings(base_url=url, model="fixed", concurrency=in_flight)
    engine = EndpointEngine(settings)
    requests = [
        Request(key=f"row-{number}", messages=[Message(role="user", content=f"Name a colour ({number}). " * 5)])
        for number in range(count)
    ]
    gc.collect()  # of what the variant before has left
    before, start = _calls(url), time.perf_counter()
    if ledger is None:
        answers = [each for unit in engine.generate(engine.batches(requests), Journal()) for each in unit]
    else:
        answers = [*complete(engine, requests, ledger, "asking").values()]
    seconds = time.perf_counter() - start
    if [answer.text for answer in answers] != ["Green."] * count:
        raise RuntimeError("a request was not answered")
    return seconds, _calls(url) - before


def _calls(url: str) -> int:
    with urllib.request.urlopen(url) as reply:
        return int(reply.read())


def main() -> None:
    """Measure, print one table and write it as JSON."""
    asked = _parse()
    variants = {
        "serial": (asked.serial, 1),
        "many in flight": (asked.requests, asked.in_flight),
        "the same again": (asked.requests, asked.in_flight),
        "many in flight, no ledger": (asked.requests, asked.in_flight),
    }
    seconds: dict[str, list[float]] = {name: [] for name in variants}
    calls: dict[str, list[int]] = {name: [] for name in variants}
    with latency_server(asked.latency) as url, tempfile.TemporaryDirectory() as folder:
        ask(url, 2 * asked.in_flight, asked.in_flight, None)  # warms up
        for number in range(asked.rounds):
            for name, (count, in_flight) in variants.items():
                file = "serial" if name == "serial" else "many"
                ledger = None if name.endswith("no ledger") else Path(folder, f"{file}-{number}.sqlite")
                taken, seen = ask(url, count, in_flight, ledger)
                seconds[name].append(taken)
                calls[name].append(seen)
    rates = {name: [count / taken for taken in seconds[name]] for name, (count, _) in variants.items()}
    results = []
    for name, (count, in_flight) in variants.items():
        times = ratios(rates[name], rates["serial"])
        row = {"variant": name, "requests": count, "in_flight": in_flight, "seconds": seconds[name]}
        results.append({**row, "requests_per_second": rates[name], "times_serial": vars(times), "calls": calls[name]})
    rows = [
        [
            name,
            str(count),
            str(in_flight),
            f"{statistics.median(seconds[name]):.2f}",
            str(Spread.of(rates[name])),
            "" if name == "the same again" else str(ratios(rates[name], rates["serial"])),
            ", ".join(map(str, calls[name])),
        ]
        for name, (count, in_flight) in variants.items()
    ]
    show(f"{asked.latency * 1000:g} ms latency, {asked.rounds} rounds: median (minimum-maximum)", COLUMNS, rows)
    if asked.json:
        write_json(asked.json, "endpoint", "cpu", results)


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.endpoint", description=main.__doc__)
    parser.add_argument("--requests", type=int, default=1000)
    parser.add_argument("--serial", type=int, default=200)
    parser.add_argument("--in-flight", type=int, default=64)
    parser.add_argument("--latency", type=float, default=0.05, metavar="SECONDS")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", type=Path, metavar="PATH")
    return parser.parse_args()


if __name__ == "__main__":
    if sys.argv[1:2] == ["--serve"]:
        asyncio.run(serve(float(sys.argv[2])))
    else:
        main()
