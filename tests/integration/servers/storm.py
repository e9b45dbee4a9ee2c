"""A server that allows so many calls a second and refuses, breaks off or is out of order otherwise; it keeps a log.

The log is the witness of what a client really did: every call with its time, what was asked and what came of it.
"""

from __future__ import annotations

import json
import random
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Literal

from tests.integration.servers.faults import reply, reset


@dataclass(frozen=True)
class Call:
    """One line of the log; `asked` is the pause that the answer asked for, in seconds."""

    at: float
    prompt: str
    outcome: Literal["answered", "refused", "out of order", "broken off"]
    asked: float = 0.0


@dataclass(frozen=True)
class Weather:
    """What the server does. Times in seconds."""

    rate: float
    """Calls allowed per second, as many as that at once after a quiet second."""
    pauses: tuple[float, ...]
    """What refusals ask for, in turn, in turning spellings."""
    every: float
    outage: float
    """From time to time, and for so long, every call is answered with 503."""
    broken: float
    """Share of the calls that are carried out, and the connection reset in the middle of the reply."""
    latency: float = 0.02


class StormServer(ThreadingHTTPServer):
    """Serves chat completions on a loopback port."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(self, weather: Weather, seed: int) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.weather = weather
        self.log: list[Call] = []
        self.url = f"http://127.0.0.1:{self.server_port}/v1"
        self._random = random.Random(seed)
        self._guard = threading.Lock()
        self._started = self._filled_at = time.monotonic()
        self._room = weather.rate

    def decide(self, prompt: str) -> tuple[Call, dict[str, str]]:
        """What becomes of a call, with headers; the log has it before the client does."""
        with self._guard:
            call, headers = self._decide(prompt, time.monotonic())
            self.log.append(call)
            return call, headers

    def allowed(self) -> float:
        """Calls that could have been carried out: not in an outage, nor when it had sent everybody away for a while."""
        ends = {call.prompt: call.at for call in self.log}
        last_new = max({call.prompt: call.at for call in reversed(self.log)}.values())
        left = [call for call in self.log if ends[call.prompt] > last_new]
        first, last = self.log[0].at, self.log[-1].at
        ticks = [first + 0.01 * number for number in range(int((last - first) / 0.01))]
        open_ticks = sum(not self._out_of_order(at) and (at <= last_new or self._has_work(left, at)) for at in ticks)
        return self.weather.rate * (1 + 0.01 * open_ticks)

    @staticmethod
    def _has_work(calls: list[Call], at: float) -> bool:
        """Whether a call could have been made at a time: one that is not answered and was not told to wait."""
        state = {call.prompt: call for call in calls if call.at <= at}
        return any(call.outcome != "answered" and at >= call.at + call.asked for call in state.values())

    def _decide(self, prompt: str, now: float) -> tuple[Call, dict[str, str]]:
        if self._out_of_order(now):
            return Call(now, prompt, "out of order"), {}
        self._room = min(self.weather.rate, self._room + (now - self._filled_at) * self.weather.rate)
        self._filled_at = now
        if self._room < 1:
            pause, headers = self._pause()
            return Call(now, prompt, "refused", pause), headers
        self._room -= 1
        return Call(now, prompt, "broken off" if self._random.random() < self.weather.broken else "answered"), {}

    def _out_of_order(self, at: float) -> bool:
        return (at - self._started) % self.weather.every > self.weather.every - self.weather.outage

    def _pause(self) -> tuple[float, dict[str, str]]:
        number = sum(call.outcome == "refused" for call in self.log)
        seconds = self.weather.pauses[number % len(self.weather.pauses)]
        whole = max(round(seconds), 1)
        spellings: list[tuple[float, dict[str, str]]] = [
            (0.0, {}),
            (0.0, {"Retry-After": "0"}),
            (0.0, {"Retry-After": "later"}),
            (seconds, {"Retry-After": f"{seconds:.3f}"}),
            (whole, {"Retry-After": f"{whole}"}),
            (whole - 1.0, {"Retry-After": formatdate(time.time() + whole, usegmt=True)}),  # a date has whole seconds
            (seconds, {"Retry-After-Ms": f"{seconds * 1000:.0f}"}),
            (seconds, {"X-RateLimit-Reset-Requests": f"{seconds * 1000:.0f}ms"}),
            (seconds, {"X-RateLimit-Reset-Requests": f"0m{seconds:.3f}s"}),
        ]
        return spellings[number % len(spellings)]


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1
    server: StormServer

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        call, headers = self.server.decide(body["messages"][-1]["content"])
        if call.outcome in ("refused", "out of order"):
            self._answer(429 if call.outcome == "refused" else 503, b"{}", headers)
            return
        time.sleep(self.server.weather.latency)
        data = json.dumps(reply()).encode()
        if call.outcome == "broken off":
            self._answer(200, data[:30], {}, length=len(data))
            reset(self.connection)
            self.close_connection = True
            return
        self._answer(200, data, {})

    def _answer(self, status: int, data: bytes, headers: dict[str, str], length: int | None = None) -> None:
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(length or len(data))}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(data)
        self.wfile.flush()

    def log_message(self, *_: object) -> None:
        """The server has a log of its own."""


@contextmanager
def storm_server(weather: Weather, seed: int) -> Iterator[StormServer]:
    with StormServer(weather, seed) as server:
        threading.Thread(target=server.serve_forever, args=[0.05], daemon=True).start()
        try:
            yield server
        finally:
            server.shutdown()
