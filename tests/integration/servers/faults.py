"""A server that gets it wrong in as many ways as servers do, over plain sockets; the fault is part of the address.

`http://127.0.0.1:PORT/FAULT/v1` answers every call with the fault of that name. `log` holds the head of every request,
written down before anything is sent back.
"""

from __future__ import annotations

import gzip
import json
import socket
import struct
import threading
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import cache
from itertools import pairwise
from typing import Any

Answer = Callable[[socket.socket, dict[str, Any], "FaultServer"], None]
OK = ["Green."]
FAULTS: dict[str, Answer] = {}
OUTCOMES: dict[str, list[str]] = {}
"""What the requests of a unit come to: their texts, or their kinds of failure (of a lost call, one of these kinds)."""
MEBIBYTE = 1 << 20


def fault(*kinds: str) -> Callable[[Answer], Answer]:
    def named(answer: Answer) -> Answer:
        name = answer.__name__.replace("_", "-")
        FAULTS[name], OUTCOMES[name] = answer, [*kinds]
        return answer

    return named


def choice(index: int = 0, text: Any = "Green.", **changes: Any) -> dict[str, Any]:
    values = {"index": index, "finish_reason": "stop", "message": {"role": "assistant", "content": text}}
    return {**values, **changes}


def thinking(thoughts: str, text: str | None = "Green.", **changes: Any) -> dict[str, Any]:
    """A choice whose thoughts the server keeps apart."""
    return choice(message={"content": text, "reasoning_content": thoughts}, **changes)


def reply(*choices: dict[str, Any], **changes: Any) -> dict[str, Any]:
    usage = {"prompt_tokens": 5, "completion_tokens": 3}
    return {"model": "tiny", "choices": list(choices) or [choice()], "usage": usage, **changes}


def logprobs(*values: float | None, text: str = "Green.") -> dict[str, Any]:
    """Of tokens that spell a text together."""
    ends = [len(text) * number // len(values) for number in range(len(values) + 1)]
    pieces = [text[start:end] for start, end in pairwise(ends)]
    return {"content": [{"token": piece, "logprob": value} for piece, value in zip(pieces, values, strict=True)]}


def head(status: int, **headers: object) -> bytes:
    lines = [f"HTTP/1.1 {status} Some reason", *(f"{name.replace('_', '-')}: {headers[name]}" for name in headers)]
    return "\r\n".join([*lines, "", ""]).encode()


def send(connection: socket.socket, body: object, status: int = 200, **headers: object) -> None:
    """Send a whole, correct HTTP response."""
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    kind = {"Content_Type": "application/json", "Content_Length": len(data), **headers}
    connection.sendall(head(status, **kind) + data)


def always(name: str, outcome: list[str], body: object, status: int = 200, **headers: object) -> None:
    OUTCOMES[name] = outcome
    FAULTS[name] = lambda connection, request, server: send(connection, body, status, **headers)


always("truncated-json", ["truncated"], b'{"choices": [{"mess')
always("not-utf8", ["not-utf8"], json.dumps(reply(choice(text="Gr\u00fcn.")), ensure_ascii=False).encode("latin-1"))
always("byte-order-mark", OK, b"\xef\xbb\xbf" + json.dumps(reply()).encode())
always("html", ["html"], b"<!doctype html><html>Welcome to the portal</html>", Content_Type="text/html")
always("plain-text", ["bad-json"], b"upstream said hello")
always("empty-body", ["empty-body"], b"")
always("no-content", ["empty-body"], b"", 204)
always("json-array", ["wrong-schema"], [reply()])
always("json-string", ["wrong-schema"], "Green.")
always("error-with-200", ["error-reply"], {"error": {"message": "out of\x1b[31m memory"}})
always("one-choice", ["Green.", "missing-choices"], reply())
always("three-choices", ["Green.", "Blue."], reply(choice(0), choice(1, "Blue."), choice(2, "Red.")))
always("same-index", ["duplicate-index", "missing-choices"], reply(choice(0), choice(0, "Blue.")))
always("one-choice-broken", ["Green.", "wrong-schema"], reply(choice(0), choice(1, {"deep": 1})))
always("no-choices", ["missing-choices"], reply(choices=[]))
always("null-choices", ["wrong-schema"], reply(choices=None))
always("null-content", ["null-content"], reply(choice(text=None)))
always("text-parts", OK, reply(choice(text=[{"type": "text", "text": "Gre"}, {"type": "text", "text": "en."}])))
always("image-part", ["wrong-schema"], reply(choice(text=[{"type": "image_url", "image_url": {"url": "x"}}])))
always("number-content", ["wrong-schema"], reply(choice(text=7)))
always("blank-text", ["empty-text"], reply(choice(text=" \n")))
always("aborted", ["unknown-end"], reply(choice(finish_reason="abort")))
always("no-finish-reason", OK, reply(choice(finish_reason=None)))
always("no-finish-reason-nor-usage", ["unknown-end"], reply(choice(finish_reason=None), usage=None))
always("end-in-capitals", OK, reply(choice(finish_reason="STOP")))
always("nan-logprob", ["nan-logprob"], reply(choice(logprobs=logprobs(-1.0, float("nan"), -1.0))))
always("positive-logprob", ["nan-logprob"], reply(choice(logprobs=logprobs(-1.0, 1.0, -1.0))))
always("infinite-logprob", ["nan-logprob"], reply(choice(logprobs=logprobs(-1.0, float("-inf"), -1.0))))
always("null-logprob", ["nan-logprob"], reply(choice(logprobs=logprobs(-1.0, None, -1.0))))
always("placeholder-logprob", ["nan-logprob"], reply(choice(logprobs=logprobs(-1.0, -9999.0, -1.0))))
always("too-few-logprobs", ["wrong-logprobs"], reply(choice(logprobs=logprobs(-1.0, text="Gree"))))
always(
    "too-many-logprobs", ["wrong-logprobs"], reply(choice(logprobs=logprobs(-1.0, -1.0, -1.0, text="Green. It is.")))
)
always("other-logprobs", ["wrong-logprobs"], reply(choice(logprobs=logprobs(-1.0, -1.0, text="Blue!!"))))
always("tokenless-logprobs", ["wrong-logprobs"], reply(choice(logprobs={"content": [{"logprob": -1.0}] * 3})))
always("thought-logprobs", ["wrong-logprobs"], reply(thinking("Hm.", logprobs=logprobs(-1.0, -1.0, text="Hm.Green."))))
always("thoughts", OK, reply(choice(text="<think>\nA colour.\n</think>\n\nGreen.")))
always("unopened-thoughts", OK, reply(choice(text="A colour.\n</think>\n\nGreen.")))
always("thoughts-apart", OK, reply(thinking("A colour.")))
always(
    "thought-parts",
    OK,
    reply(choice(text=[{"type": "thinking", "thinking": [{"text": "Hm."}]}, {"type": "text", "text": "Green."}])),
)
always("cut-thoughts", ["cut-thoughts"], reply(choice(text="<think>\nA colour", finish_reason="length")))
always("cut-thoughts-apart", ["cut-thoughts"], reply(thinking("A colour", text=None, finish_reason="length")))
always("thoughts-alone", ["empty-text"], reply(thinking("A colour.", text="")))
always("no-usage", OK, reply(usage=None))
always("negative-usage", OK, reply(usage={"prompt_tokens": -5, "completion_tokens": -3}))
always(
    "tool-call",
    ["tool-call"],
    reply(choice(message={"content": None, "tool_calls": [{"function": {"name": "paint"}}]})),
)
always("refusal", ["refusal"], reply(choice(message={"content": None, "refusal": "I will\nnot."})))
always("content-filter", ["content-filter"], reply(choice(text="Half", finish_reason="content_filter")))
always("lone-surrogate", ["bad-json"], b'{"choices": [{"message": {"content": "\\ud800"}, "finish_reason": "stop"}]}')
always("deep-nesting", ["bad-json"], b'{"choices": ' + b"[" * 100_000)
always("corrupt-gzip", ["bad-encoding"], b"\x1f\x8b" + b"\x55" * 99, Content_Encoding="gzip")
always("cut-gzip", ["bad-encoding"], gzip.compress(json.dumps(reply()).encode())[:-20], Content_Encoding="gzip")
always("packed-unasked", ["bad-encoding"], json.dumps(reply()).encode(), Content_Encoding="br")
always(
    "packed-twice",
    ["bad-encoding"],
    gzip.compress(gzip.compress(json.dumps(reply()).encode())),
    Content_Encoding="gzip, gzip",
)
always("good-gzip", OK, gzip.compress(json.dumps(reply()).encode()), Content_Encoding="gzip")
always("bad-request", ["http-400"], {"error": {"message": "too\x1b[31m long"}}, 400)
always("request-too-large", ["http-413"], b"<html>413</html>", 413)
always("server-error", ["http-500"], {"error": "broken"}, 500)
always("gateway-timeout", ["http-504"], b"", 504)
always("good", OK, reply())


@fault("reset")
def no_reply(connection: socket.socket, request: dict[str, Any], server: FaultServer) -> None:
    """The connection ends without a byte."""


@fault("timeout")
def silence(connection: socket.socket, request: dict[str, Any], server: FaultServer) -> None:
    server.over.wait()


@fault("timeout")
def slow_head(connection: socket.socket, request: dict[str, Any], server: FaultServer) -> None:
    server.drip(connection, head(200, Content_Type="application/json"))


@fault("too-slow")
def drip(connection: socket.socket, request: dict[str, Any], server: FaultServer) -> None:
    body = json.dumps(reply()).encode()
    connection.sendall(head(200, Content_Length=len(body)))
    server.drip(connection, body)


@fault("truncated")
def cut_off(connection: socket.socket, request: dict[str, Any], server: FaultServer) -> None:
    body = json.dumps(reply()).encode()
    connection.sendall(head(200, Content_Length=len(body)) + body[:20])


@fault("truncated", "reset")
def reset_in_body(connection: socket.socket, request: dict[str, Any], server: FaultServer) -> None:
    cut_off(connection, request, server)
    reset(connection)


@fault("not-http", "truncated")
def length_too_small(connection: socket.socket, request: dict[str, Any], server: FaultServer) -> None:
    connection.sendall(head(200, Content_Length=20) + json.dumps(reply()).encode())


@fault("truncated")
def length_too_large(connection: socket.socket, request: dict[str, Any], server: FaultServer) -> None:
    body = json.dumps(reply()).encode()
    connection.sendall(head(200, Content_Length=len(body) + 1) + body)


@fault("not-http")
def length_is_no_number(connection: socket.socket, request: dict[str, Any], server: FaultServer) -> None:
    connection.sendall(head(200, Content_Length="many") + json.dumps(reply()).encode())


@fault("too-slow")
def chunks_without_end(connection: socket.socket, request: dict[str, Any], server: FaultServer) -> None:
    body = json.dumps(reply()).encode()
    connection.sendall(head(200, Transfer_Encoding="chunked") + f"{len(body):x}\r\n".encode() + body + b"\r\n")
    server.over.wait()


@fault("truncated")
def chunks_cut_off(connection: socket.socket, request: dict[str, Any], server: FaultServer) -> None:
    connection.sendall(head(200, Transfer_Encoding="chunked") + b"ffff\r\n{")


@fault("not-http")
def huge_header(connection: socket.socket, request: dict[str, Any], server: FaultServer) -> None:
    connection.sendall(b"HTTP/1.1 200 OK\r\nX-Huge: ")
    server.flood(connection, b"x" * MEBIBYTE)


@fault("not-http")
def endless_headers(connection: socket.socket, request: dict[str, Any], server: FaultServer) -> None:
    connection.sendall(b"HTTP/1.1 200 OK\r\n")
    server.flood(connection, b"X-More: of the same\r\n" * 50_000)


@fault("not-http")
def not_http(connection: socket.socket, request: dict[str, Any], server: FaultServer) -> None:
    connection.sendall(b"SSH-2.0-OpenSSH_9.9\r\n")


@cache
def gzip_bomb_body() -> bytes:
    """One gibibyte in one megabyte."""
    packer = zlib.compressobj(9, zlib.DEFLATED, 31)
    start = packer.compress(b'{"choices": [{"message": {"content": "') + packer.flush(zlib.Z_FULL_FLUSH)
    block = packer.compress(b"0" * 16 * MEBIBYTE) + packer.flush(zlib.Z_FULL_FLUSH)
    return start + block * 64


@fault("too-large")
def gzip_bomb(connection: socket.socket, request: dict[str, Any], server: FaultServer) -> None:
    send(connection, gzip_bomb_body(), Content_Encoding="gzip")


@fault("too-large")
def endless_chunks(connection: socket.socket, request: dict[str, Any], server: FaultServer) -> None:
    connection.sendall(head(200, Transfer_Encoding="chunked"))
    server.flood(connection, b"100000\r\n" + b" " * MEBIBYTE + b"\r\n")


@fault("too-large")
def huge_body(connection: socket.socket, request: dict[str, Any], server: FaultServer) -> None:
    connection.sendall(head(200, Content_Length=1 << 34))
    server.flood(connection, b" " * MEBIBYTE)


def reset(connection: socket.socket) -> None:
    """Close so that the other side sees a reset and not an end."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


class FaultServer:
    """Answers every connection with one fault, each in a thread of its own."""

    def __init__(self) -> None:
        self.log: list[str] = []
        self.over = threading.Event()
        self._listener = socket.create_server(("127.0.0.1", 0))
        threading.Thread(target=self._accept, daemon=True).start()

    def url(self, name: str) -> str:
        return f"http://127.0.0.1:{self._listener.getsockname()[1]}/{name}/v1"

    def drip(self, connection: socket.socket, data: bytes) -> None:
        """Send twenty bytes a second, one by one."""
        for at in range(len(data)):
            connection.sendall(data[at : at + 1])
            if self.over.wait(0.05):
                return

    def flood(self, connection: socket.socket, data: bytes) -> None:
        """Send the same for as long as it is taken."""
        while not self.over.is_set():
            connection.sendall(data)

    def close(self) -> None:
        self.over.set()
        self._listener.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                connection, _ = self._listener.accept()
                threading.Thread(target=self._serve, args=[connection], daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        with suppress(OSError, ValueError), connection:
            head, body = read_request(connection)
            self.log.append(head)
            FAULTS[head.split("/")[1]](connection, json.loads(body), self)


def read_request(connection: socket.socket) -> tuple[str, bytes]:
    """Head and body of an HTTP request; ValueError if the connection ends before."""
    data = b""
    while b"\r\n\r\n" not in data:
        data += received(connection)
    head, _, body = data.partition(b"\r\n\r\n")
    lengths = [line.split(b":")[1] for line in head.split(b"\r\n") if line.lower().startswith(b"content-length:")]
    while len(body) < int(lengths[0]):
        body += received(connection)
    return head.decode(), body


def received(connection: socket.socket) -> bytes:
    data = connection.recv(65536)
    if not data:
        raise ValueError("no request")
    return data


@contextmanager
def fault_server() -> Iterator[FaultServer]:
    gzip_bomb_body()  # takes a while to make
    server = FaultServer()
    try:
        yield server
    finally:
        server.close()
