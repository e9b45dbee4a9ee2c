"""An honest server in a process of its own that writes down every call: what it was asked, and that it has answered.

`python -m tests.integration.servers.witness LOG SECONDS` prints its address. It answers with random words, or with
random marks where it is asked to judge. A reply depends on the request alone, but for the tokens that it counts in the
prompt: they are the number of the call in the log. It comes after SECONDS, give or take a half. A line of the log is
JSON: `{"call": 7, "asked": DIGEST, "prompt": TEXT}` when the request is here, and `{"call": 7, "answered": true}` when
the whole reply has been handed to the kernel. It is the client that is killed: what the server wrote stays written.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import math
import os
import random
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.judges import marking, responses_shown

WORDS = ["the", "old", "cat", "runs", "here", "a", "new", "dog", "sleeps", "there", "one", "big", "bird", "eats", "now"]


@dataclass(frozen=True)
class Call:
    """A call, as the server saw it."""

    number: int
    asked: str
    """Digest of the body of the request; equal for equal requests."""
    prompt: str
    answered: bool


def read_log(log: Path) -> Iterator[Call]:
    """Calls in the order in which they came."""
    lines = [json.loads(line) for line in log.read_text(encoding="utf-8").splitlines()] if log.exists() else []
    answered = {line["call"] for line in lines if "answered" in line}
    for line in lines:
        if "asked" in line:
            yield Call(line["call"], line["asked"], line["prompt"], line["call"] in answered)


def reply(number: int, asked: str, body: dict[str, Any]) -> dict[str, Any]:
    """What is answered to a request."""
    choices, count = [], 0
    for index in range(body.get("n") or 1):
        dice = random.Random(f"{asked}/{index}")
        words = _judgement(prompt_of(body), dice) or [dice.choice(WORDS) for _ in range(dice.randint(3, 9))]
        tokens = [{"token": f"{word} ", "logprob": math.log(dice.uniform(0.01, 1.0))} for word in words]
        tokens.append({"token": "", "logprob": math.log(dice.uniform(0.5, 1.0))})
        choices.append(
            {
                "index": index,
                "message": {"role": "assistant", "content": " ".join(words)},
                "finish_reason": "stop",
                "logprobs": {"content": tokens} if body.get("logprobs") else None,
            }
        )
        count += len(tokens)
    usage = {"prompt_tokens": number, "completion_tokens": count}
    return {"id": str(number), "model": "witness", "choices": choices, "usage": usage}


def _judgement(prompt: str, dice: random.Random) -> list[str]:
    """Random marks as a judge gives them, in words; none if the prompt does not ask for any."""
    if "--- begin response " not in prompt:
        return []
    return marking({label: [dice.randint(0, 5) for _ in range(3)] for label in responses_shown(prompt)}).split(" ")


def prompt_of(body: dict[str, Any]) -> str:
    """The text that is to be answered."""
    return str(body["messages"][-1]["content"] if "messages" in body else body["prompt"])


class Witness:
    """The server."""

    def __init__(self, log: Path, seconds: float) -> None:
        self._log = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        self._seconds = seconds
        self._calls = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer calls on one connection until the client leaves."""
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower()
                length = next(line for line in head.splitlines() if line.startswith("content-length:"))
                await self._answer(await reader.readexactly(int(length.partition(":")[2])), writer)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    async def _answer(self, request: bytes, writer: asyncio.StreamWriter) -> None:
        self._calls += 1
        number, asked, body = self._calls, hashlib.sha256(request).hexdigest(), json.loads(request)
        self._note({"call": number, "asked": asked, "prompt": prompt_of(body)})
        await asyncio.sleep(self._seconds * (0.5 + int(asked[:4], 16) / 0xFFFF))
        data = json.dumps(reply(number, asked, body)).encode()
        head = f"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {len(data)}\r\n\r\n"
        writer.write(head.encode() + data)
        await writer.drain()
        self._note({"call": number, "answered": True})

    def _note(self, line: dict[str, Any]) -> None:
        os.write(self._log, json.dumps(line).encode() + b"\n")


async def main(log: Path, seconds: float) -> None:
    """Serve until killed."""
    server = await asyncio.start_server(Witness(log, seconds).serve, "127.0.0.1", 0)
    print(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1", flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), float(sys.argv[2])))
