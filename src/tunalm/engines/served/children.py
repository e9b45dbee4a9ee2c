"""Server programs as child processes on loopback: started, waited for, and ended with this process."""

from __future__ import annotations

import json
import os
import shlex
import socket
import subprocess
import sys
import tempfile
import time
import weakref
from collections.abc import Sequence
from http.client import HTTPException
from pathlib import Path
from typing import IO
from urllib.error import HTTPError
from urllib.request import ProxyHandler, build_opener

from tunalm.engines.served import watchdog
from tunalm.errors import EngineError
from tunalm.redaction import without_keys

LOOK_EVERY = 0.25
"""Seconds between two looks at a server that starts."""
LAST_LINES = 3
"""Of what a server printed, for an error."""

_opener = build_opener(ProxyHandler({}))


class Children:
    """Servers that run one command each, on ports of their own.

    Args:
        where: names the engine in errors.
        commands: one for each server; `{port}` is where it must listen.
        environments: what each sees beyond the environment of this process.
        patience: seconds in which all must answer.

    Raises:
        EngineError: one did not start; the others are ended.
    """

    def __init__(
        self, where: str, commands: Sequence[str], environments: Sequence[dict[str, str]], patience: float
    ) -> None:
        self._where = where
        self._servers: list[_Server] = []
        self._end = weakref.finalize(self, _end_all, self._servers)
        try:
            for command, environment in zip(commands, environments, strict=True):
                self._servers.append(_Server(command, environment))
            deadline = time.monotonic() + patience
            for server in self._servers:
                self._wait(server, deadline, patience)
        except BaseException:
            self.end()
            raise

    @property
    def addresses(self) -> list[str]:
        """Base address of each server, up to and including `/v1`."""
        return [server.url for server in self._servers]

    @property
    def model(self) -> str | None:
        """What the servers call their model, if they say it."""
        return self._servers[0].model

    @property
    def longest(self) -> int | None:
        """Most tokens of a prompt and its response, if the servers say it."""
        return self._servers[0].longest

    def check(self) -> None:
        """Raise the reason if a server has ended.

        Raises:
            EngineError: with the last lines that it printed.
        """
        for server in self._servers:
            if server.process.poll() is not None:
                raise self._error(f"the server ended with status {server.process.returncode}", server)

    def end(self) -> None:
        """End all servers, and wait until they have ended."""
        self._end()

    def _wait(self, server: _Server, deadline: float, patience: float) -> None:
        while not server.answers():
            self.check()
            if time.monotonic() > deadline:
                raise self._error(f"the server did not answer in {patience:g} seconds", server)
            time.sleep(LOOK_EVERY)

    def _error(self, found: str, server: _Server) -> EngineError:
        said = without_keys(server.last_lines())
        return EngineError(
            self._where,
            found=f"{found} ({said or 'it printed nothing'})",
            fix=f"Try its command by hand: {without_keys(server.command)}",
        )


class _Server:
    """One server, and what it prints."""

    def __init__(self, command: str, environment: dict[str, str]) -> None:
        port = _free_port()
        self.command = command.replace("{port}", str(port))
        self.url = f"http://127.0.0.1:{port}/v1"
        self.model: str | None = None
        """As the server calls it."""
        self.longest: int | None = None
        self.output: IO[bytes] = tempfile.TemporaryFile(prefix="tunalm-server-")  # noqa: SIM115  # closed with the server
        self.process = subprocess.Popen(
            [sys.executable, str(Path(watchdog.__file__)), *shlex.split(self.command)],
            stdin=subprocess.PIPE,
            stdout=self.output,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # Ctrl-C is for us alone
            env={**os.environ, **environment},
        )

    def answers(self) -> bool:
        """Whether it serves a model by now: a server that loads one refuses connections, or answers 503."""
        try:
            with _opener.open(f"{self.url}/models", timeout=5) as reply:
                listed = json.load(reply)["data"]
        except HTTPError as error:
            return error.code in (404, 405)  # it answers, only not this
        except (OSError, HTTPException, ValueError, LookupError, TypeError):
            return False
        for model in listed[:1]:
            self.model, longest = str(model["id"]), model.get("max_model_len")
            self.longest = longest if isinstance(longest, int) else None
        return True

    def last_lines(self) -> str:
        """The end of what it printed."""
        size = os.fstat(self.output.fileno()).st_size
        end = os.pread(self.output.fileno(), 4096, max(size - 4096, 0))
        lines = [line.strip() for line in end.decode(errors="replace").splitlines()]
        return " | ".join([line for line in lines if line][-LAST_LINES:])


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _end_all(servers: list[_Server]) -> None:
    for server in servers:
        if server.process.stdin is not None:
            server.process.stdin.close()
    for server in servers:
        try:
            server.process.wait(watchdog.PATIENCE + 5)
        except subprocess.TimeoutExpired:
            server.process.kill()
        server.output.close()
