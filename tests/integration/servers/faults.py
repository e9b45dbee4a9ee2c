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
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from typing import Any

Answer = Callable[[socket.socket, dict[str, Any], "FaultServer"], None]
MEBIBYTE = 1 << 20
OK = "Green."


@dataclass(frozen=True)
class Kind:
    """One way of getting it wrong."""

    answer: Answer
    comes_to: Sequence[str]
    """Of each request of a unit its text or its kind of failure; of a call without a whole reply one of these kinds; of
    what ends the run, words of the error."""
    told: str
    """What the journal is told: `answered`; `lost`, when the model may have done the work; `refused`, when it has not;
    `stops`, when the whole run ends."""


FAULTS: dict[str, Kind] = {}
"""By name. A number after `#` is a public report of it."""


def fault(*kinds: str, told: str = "lost") -> Callable[[Answer], Answer]:
    def named(answer: Answer) -> Answer:
        FAULTS[answer.__name__.replace("_", "-")] = Kind(answer, kinds, told)
        return answer

    return named


def choice(index: Any = 0, text: Any = "Green.", **changes: Any) -> dict[str, Any]:
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


def token(text: str, logprob: float = -1.0) -> dict[str, Any]:
    return {"token": text, "logprob": logprob}


def error(message: object, **more: object) -> dict[str, Any]:
    return {"error": {"message": message, **more}}


def head(status: int, **headers: object) -> bytes:
    lines = [f"HTTP/1.1 {status} Some reason", *(f"{name.replace('_', '-')}: {headers[name]}" for name in headers)]
    return "\r\n".join([*lines, "", ""]).encode()


def send(connection: socket.socket, body: object, status: int = 200, **headers: object) -> None:
    """Send a whole, correct HTTP response."""
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    kind = {"Content_Type": "application/json", "Content_Length": len(data), **headers}
    connection.sendall(head(status, **kind) + data)


def always(
    name: str, comes_to: str | Sequence[str], body: object, status: int = 200, told: str = "answered", **headers: object
) -> None:
    def answer(connection: socket.socket, request: dict[str, Any], server: FaultServer) -> None:
        send(connection, body, status, **headers)

    FAULTS[name] = Kind(answer, [comes_to] if isinstance(comes_to, str) else comes_to, told)


PACKED = gzip.compress(json.dumps(reply()).encode())

# What is not even JSON
always("truncated-json", "truncated", b'{"choices": [{"mess')  # deepseek-ai/DeepSeek-V3#407
always("not-utf8", "not-utf8", json.dumps(reply(choice(text="Gr\u00fcn.")), ensure_ascii=False).encode("latin-1"))
# ... ggml-org/llama.cpp#26325
always("utf-16", "not-utf8", json.dumps(reply()).encode("utf-16"))
always("byte-order-mark", OK, b"\xef\xbb\xbf" + json.dumps(reply()).encode())
always("html", "html", b"<!doctype html><html>Welcome to the portal</html>", Content_Type="text/html")
always("plain-text", "bad-json", b"upstream said hello")
always("empty-body", "empty-body", b"")  # deepseek-ai/DeepSeek-V3#599
always("blank-lines-alone", "empty-body", b"\n" * 60)  # AstrBotDevs/AstrBot#403
always("blank-lines-before", OK, b"\n" * 60 + json.dumps(reply()).encode())  # langgenius/dify#13068
always("no-content", "empty-body", b"", 204)
always("event-stream", "bad-json", b'data: {"choices": [{"delta": {}}]}\n\ndata: [DONE]\n')  # quangdang46/openproxy#306
always("json-then-done", "bad-json", json.dumps(reply()).encode() + b"\n\ndata: [DONE]\n")  # decolua/9router#3492
always("comment-lines", "bad-json", b": OPENROUTER PROCESSING\n\n" + json.dumps(reply()).encode())  # symfony/ai#909
always("two-documents", "bad-json", json.dumps(reply()).encode() * 2)
always("zeros-behind", "bad-json", json.dumps(reply()).encode() + bytes(512))
always("lone-surrogate", "bad-json", b'{"choices": [{"message": {"content": "\\ud800"}, "finish_reason": "stop"}]}')
always("deep-nesting", "bad-json", b'{"choices": ' + b"[" * 100_000)

# JSON, and no reply
always("json-array", "wrong-schema", [{"generated_text": "Green."}])
always("json-string", "wrong-schema", "Green.")
always("json-null", "wrong-schema", b"null")
always("empty-object", "wrong-schema", {})
always("shape-of-ollama", "wrong-schema", {"model": "tiny", "message": {"content": "Green."}, "done": True})
always("shape-of-anthropic", "wrong-schema", {"type": "message", "content": [{"type": "text", "text": "Green."}]})
always("shape-of-responses", "wrong-schema", {"object": "response", "output": [{"type": "message"}]})
always("error-with-200", "error-reply", error("out of\x1b[31m memory"))  # vllm-project/vllm#49181
always("vllm-error-with-200", "error-reply", {"object": "error", "message": "too long", "code": 400})
# ... vllm-project/vllm#23981
always("llama-error-with-200", "error-reply", error("too long", type="exceed_context_size_error", n_ctx=256))
# ... oobabooga/textgen#7257
always("detail-with-200", "error-reply", {"detail": "Upstream[decode] error"})  # vllm-project/vllm#34340

# Choices
always("one-choice", [OK, "missing-choices"], reply())  # abetlen/llama-cpp-python#1906
always("three-choices", [OK, "Blue."], reply(choice(0), choice(1, "Blue."), choice(2, "Red.")))
always("same-index", ["duplicate-index", "missing-choices"], reply(choice(0), choice(0, "Blue.")))
# ... tenstorrent/tt-inference-server#2322
always("index-from-one", "missing-choices", reply(choice(1)))
always("index-as-text", "missing-choices", reply(choice("0")))
always("one-choice-broken", [OK, "wrong-schema"], reply(choice(0), choice(1, {"deep": 1})))
always("no-choices", "missing-choices", reply(choices=[]))  # ogx-ai/ogx#1424
always("null-choices", "wrong-schema", reply(choices=None))  # langchain-ai/langchain#32252
always("null-choice", "wrong-schema", reply(choices=[None]))
always("delta-choice", "wrong-schema", reply({"index": 0, "delta": {"content": "Green."}, "finish_reason": "stop"}))
# ... owndev/Open-WebUI-Functions#54
always("error-in-choice", "error-reply", reply(choice(text="Gre", finish_reason="error", **error("no provider"))))
# ... genkit-ai/genkit#6259
always("aborted", "unknown-end", reply(choice(finish_reason="abort")))  # vllm-project/vllm#57082, radixark/miles#3337
always("ends-in-error", "unknown-end", reply(choice(finish_reason="error")))  # gethouston/houston#1211
always("no-resources", "unknown-end", reply(choice(finish_reason="insufficient_system_resource")))
always("no-finish-reason", OK, reply(choice(finish_reason=None)))  # sgl-project/sglang#4550
always("no-finish-reason-nor-usage", "unknown-end", reply(choice(finish_reason=None), usage=None))
always("end-in-capitals", OK, reply(choice(finish_reason="STOP")))
always("no-usage", OK, reply(usage=None))
always("negative-usage", OK, reply(usage={"prompt_tokens": -5, "completion_tokens": -3}))
always("usage-as-text", OK, reply(usage={"prompt_tokens": "5", "completion_tokens": None}))

# Texts
always("null-message", "null-content", reply(choice(message=None)))
always("null-content", "null-content", reply(choice(text=None)))  # vllm-project/vllm#41902
always("text-parts", OK, reply(choice(text=[{"type": "text", "text": "Gre"}, {"type": "text", "text": "en."}])))
always("no-parts", "empty-text", reply(choice(text=[])))
always("image-part", "wrong-schema", reply(choice(text=[{"type": "image_url", "image_url": {"url": "x"}}])))
always("number-content", "wrong-schema", reply(choice(text=7)))
always("blank-text", "empty-text", reply(choice(text=" \n")))  # vllm-project/vllm#3765
always("thoughts", OK, reply(choice(text="<think>\nA colour.\n</think>\n\nGreen.")))  # vllm-project/vllm#13375
always("unopened-thoughts", OK, reply(choice(text="A colour.\n</think>\n\nGreen.")))
always("thoughts-apart", OK, reply(thinking("A colour.")))
always(
    "thought-parts",
    OK,
    reply(choice(text=[{"type": "thinking", "thinking": [{"text": "Hm."}]}, {"type": "text", "text": "Green."}])),
)
always("cut-thoughts", "cut-thoughts", reply(choice(text="<think>\nA colour", finish_reason="length")))
always("cut-thoughts-apart", "cut-thoughts", reply(thinking("A colour", text=None, finish_reason="length")))
# ... vllm-project/vllm#52640, mindcraft-bots/mindcraft#789
always("thoughts-alone", "empty-text", reply(thinking("A colour.", text="")))  # vllm-project/vllm#17357
always("tool-call", "tool-call", reply(choice(message={"content": None, "tool_calls": [{"function": {"name": "a"}}]})))
always("function-call", "tool-call", reply(choice(message={"content": None, "function_call": {"name": "a"}})))
always("refusal", "refusal", reply(choice(message={"content": None, "refusal": "I will\nnot."})))
always("content-filter", "content-filter", reply(choice(text="Half", finish_reason="content_filter")))
always("sensitive", "content-filter", reply(choice(text="Half", finish_reason="sensitive")))  # genkit-ai/genkit#6259

# Log-probabilities
always("nan-logprob", "nan-logprob", reply(choice(logprobs=logprobs(-1.0, float("nan"), -1.0))))
always("positive-logprob", "nan-logprob", reply(choice(logprobs=logprobs(-1.0, 1.0, -1.0))))
always("infinite-logprob", "nan-logprob", reply(choice(logprobs=logprobs(-1.0, float("-inf"), -1.0))))
# ... sgl-project/sglang#20323, dphnAI/sonar#183
always("null-logprob", "nan-logprob", reply(choice(logprobs=logprobs(-1.0, None, -1.0))))
always("placeholder-logprob", "nan-logprob", reply(choice(logprobs=logprobs(-1.0, -9999.0, -1.0))))
# ... vllm-project/vllm#7739
always("too-few-logprobs", "wrong-logprobs", reply(choice(logprobs=logprobs(-1.0, text="Gree"))))
# ... vllm-project/vllm#27477
always("too-many-logprobs", "wrong-logprobs", reply(choice(logprobs=logprobs(-1.0, -1.0, -1.0, text="Green. It is."))))
always("other-logprobs", "wrong-logprobs", reply(choice(logprobs=logprobs(-1.0, -1.0, text="Blue!!"))))
always("tokenless-logprobs", "wrong-logprobs", reply(choice(logprobs={"content": [{"logprob": -1.0}] * 3})))
always("byte-level-logprobs", "wrong-logprobs", reply(choice(0, "æĺ¯", logprobs={"content": [token("\u662f")]})))
# ... vllm-project/vllm#19177
always("empty-token-logprobs", "wrong-logprobs", reply(choice(logprobs={"content": [token("Green"), token("")]})))
# ... vllm-project/vllm#34875, vllm-project/vllm#9463
always("completion-logprobs", OK, reply(choice(logprobs={"tokens": ["Green", "."], "token_logprobs": [-1.0, -2.0]})))
# ... vllm-project/vllm#3179
always("thought-logprobs", "wrong-logprobs", reply(thinking("Hm.", logprobs=logprobs(-1.0, -1.0, text="Hm.Green."))))
always(
    "split-logprobs",
    "split-token",
    reply(choice(0, "<think>Hm.</think>Green.", logprobs=logprobs(*[-1.0] * 3, text="<think>Hm.</think>Green."))),
)

# Packed in ways that cannot be unpacked
always("corrupt-gzip", "bad-encoding", b"\x1f\x8b" + b"\x55" * 99, Content_Encoding="gzip")
always("cut-gzip", "bad-encoding", PACKED[:-20], Content_Encoding="gzip")
always("packed-unasked", "bad-encoding", json.dumps(reply()).encode(), Content_Encoding="br")
# ... aio-libs/aiohttp#4491, sseshachala/conductai#1320
always("packed-twice", "bad-encoding", gzip.compress(PACKED), Content_Encoding="gzip, gzip")
always("packed-and-more", "bad-encoding", PACKED + b"and more", Content_Encoding="gzip")
always("raw-deflate", "bad-encoding", zlib.compress(json.dumps(reply()).encode())[2:-4], Content_Encoding="deflate")
# ... aio-libs/aiohttp#1918
always("good-gzip", OK, PACKED, Content_Encoding="gzip")
always(
    "gzip-of-two-members",
    OK,
    b"".join(gzip.compress(part) for part in (json.dumps(reply())[:20].encode(), json.dumps(reply())[20:].encode())),
    Content_Encoding="gzip",
)

# Statuses that speak of one request
always("bad-request", "http-400", error("too\x1b[31m long"), 400)
always("bad-request-without-a-word", "http-400", b"", 400)  # huggingface/chat-ui#1343
always("context-of-vllm", "http-400", error("This model's maximum context length is 64 tokens.", code=400), 400)
# ... vllm-project/vllm#37011
always("context-of-llama", "http-400", error("request exceeds the available context size", n_ctx=64), 400)
# ... ggml-org/llama.cpp#17284
always("request-too-large", "http-413", b"<html>413</html>", 413)
always("unprocessable", "http-422", {"detail": [{"loc": ["body", "n"], "msg": "not permitted"}]}, 422)
always("headers-too-large", "http-431", b"", 431)
always("odd-status", "http-999", b"Request denied", 999, "refused")
always("server-error", "http-500", {"error": "broken"}, 500, "refused")
always("context-as-500", "http-500", error("Context size has been exceeded."), 500, "refused")
# ... ggml-org/llama.cpp#19774, kserve/kserve#3886
always("logprobs-as-500", "http-500", b"Internal Server Error", 500, "refused")  # sgl-project/sglang#5984
always("not-implemented", "http-501", b"", 501)
always("bad-gateway", "http-502", b"<html>nginx</html>", 502, "refused", Content_Type="text/html")
always("cloudflare-520", "http-520", b"<!DOCTYPE html>520", 520, "refused")  # anthropics/claude-code#3197
always("request-timeout", "http-408", b"", 408, "refused")
always("conflict", "http-409", error("slot in use"), 409, "refused")
always("gateway-timeout", "http-504", b"", 504, "lost")
always("cloudflare-524", "http-524", b"<!DOCTYPE html>524", 524, "lost")  # anthropics/claude-code#16737

# Statuses, and an answer, that end the run
always("wrong-key", "Name the variable with the key: api_key_env", error("Incorrect API key provided"), 401, "stops")
always("forbidden", "Name the variable with the key: api_key_env", error("not for you"), 403, "stops")
always("no-credit", "Give the account credit", error("Insufficient credits"), 402, "stops")
always("no-quota", "Give the account credit", error("quota exceeded", code="insufficient_quota"), 429, "stops")
# ... langchain-ai/langchainjs#1929, elizaOS/eliza#30752
always("no-such-model", "whether it serves the model 'tiny'", error("The model `tiny` does not exist."), 404, "stops")
# ... vllm-project/vllm#58025
always("no-such-method", "it usually ends in /v1", {"detail": "Method Not Allowed"}, 405, "stops")
# ... open-webui/open-webui#8317
always("redirect", "Give the address that it redirects to", b"", 307, "stops", Location="/elsewhere/")
# ... langchain-ai/langserve#304
always("busy-for-a-year", "no room for 31536000 seconds", error("Rate limit"), 429, "stops", Retry_After=31536000)
always(
    "loading", "Wait, then run the same command again", error("Loading model", code=503), 503, "stops", Retry_After=5
)
# ... mostlygeek/llama-swap#146, containers/ramalama#2343
always("overloaded", "Wait, then run the same command again", error("Overloaded"), 529, "stops", Retry_After=5)
always("no-logprobs", "Choose a model that gives them", reply(), 200, "stops")  # confident-ai/deepeval#2805

always("good", OK, reply())


@fault("reset")
def no_reply(connection: socket.socket, request: dict[str, Any], server: FaultServer) -> None:
    """The connection ends without a byte (vllm-project/vllm-omni#1374, ggml-org/llama.cpp#11738)."""


@fault("reset")
def reset_at_once(connection: socket.socket, request: dict[str, Any], server: FaultServer) -> None:
    reset(connection)


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


@fault("too-slow")
def endless_blank_lines(connection: socket.socket, request: dict[str, Any], server: FaultServer) -> None:
    """What keeps a connection alive while the model is busy, and the model stays busy (deepseek-ai/DeepSeek-R1#91)."""
    connection.sendall(head(200, Transfer_Encoding="chunked"))
    server.drip(connection, b"\n" * 100, b"1\r\n", b"\r\n")


@fault("truncated")
def cut_off(connection: socket.socket, request: dict[str, Any], server: FaultServer) -> None:
    """Also continuedev/continue#503."""
    body = json.dumps(reply()).encode()
    connection.sendall(head(200, Content_Length=len(body)) + body[:20])


@fault("truncated", "reset")
def reset_in_body(connection: socket.socket, request: dict[str, Any], server: FaultServer) -> None:
    cut_off(connection, request, server)
    reset(connection)


@fault(OK, told="answered")
def body_without_length(connection: socket.socket, request: dict[str, Any], server: FaultServer) -> None:
    connection.sendall(b"HTTP/1.0 200 OK\r\n\r\n" + json.dumps(reply()).encode())


@fault("truncated", told="answered")
def cut_body_without_length(connection: socket.socket, request: dict[str, Any], server: FaultServer) -> None:
    connection.sendall(b"HTTP/1.0 200 OK\r\n\r\n" + json.dumps(reply()).encode()[:20])


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


@fault("not-http")
def two_lengths(connection: socket.socket, request: dict[str, Any], server: FaultServer) -> None:
    body = json.dumps(reply()).encode()
    connection.sendall(head(200, Content_Length=f"{len(body)}\r\nContent-Length: 7") + body)


@fault("not-http")
def length_and_chunks(connection: socket.socket, request: dict[str, Any], server: FaultServer) -> None:
    body = json.dumps(reply()).encode()
    connection.sendall(head(200, Content_Length=len(body), Transfer_Encoding="chunked") + body)


@fault(OK, told="answered")
def hints_before_the_head(connection: socket.socket, request: dict[str, Any], server: FaultServer) -> None:
    connection.sendall(head(100) + head(103, Link="</style.css>"))
    send(connection, reply())


@fault("too-slow")
def chunks_without_end(connection: socket.socket, request: dict[str, Any], server: FaultServer) -> None:
    body = json.dumps(reply()).encode()
    connection.sendall(head(200, Transfer_Encoding="chunked") + f"{len(body):x}\r\n".encode() + body + b"\r\n")
    server.over.wait()


@fault("truncated")
def chunks_cut_off(connection: socket.socket, request: dict[str, Any], server: FaultServer) -> None:
    """Also open-webui/pipelines#564, xorbitsai/inference#4889, vllm-project/vllm#6885."""
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


@fault("not-http")
def tls_alert(connection: socket.socket, request: dict[str, Any], server: FaultServer) -> None:
    connection.sendall(b"\x15\x03\x01\x00\x02\x02\x46\r\n")


@fault("not-http")
def http_2(connection: socket.socket, request: dict[str, Any], server: FaultServer) -> None:
    connection.sendall(b"\x00\x00\x12\x04\x00\x00\x00\x00\x00" + bytes(18) + b"\r\n")


@cache
def gzip_bomb_body() -> bytes:
    """One gibibyte in one megabyte."""
    packer = zlib.compressobj(9, zlib.DEFLATED, 31)
    start = packer.compress(b'{"choices": [{"message": {"content": "') + packer.flush(zlib.Z_FULL_FLUSH)
    block = packer.compress(b"0" * 16 * MEBIBYTE) + packer.flush(zlib.Z_FULL_FLUSH)
    return start + block * 64


@fault("too-large", told="answered")
def gzip_bomb(connection: socket.socket, request: dict[str, Any], server: FaultServer) -> None:
    send(connection, gzip_bomb_body(), Content_Encoding="gzip")


@fault("too-large", told="answered")
def endless_chunks(connection: socket.socket, request: dict[str, Any], server: FaultServer) -> None:
    connection.sendall(head(200, Transfer_Encoding="chunked"))
    server.flood(connection, b"100000\r\n" + b" " * MEBIBYTE + b"\r\n")


@fault("too-large", told="answered")
def huge_body(connection: socket.socket, request: dict[str, Any], server: FaultServer) -> None:
    connection.sendall(head(200, Content_Length=1 << 34))
    server.flood(connection, b" " * MEBIBYTE)


@fault("too-large", told="answered")
def huge_error(connection: socket.socket, request: dict[str, Any], server: FaultServer) -> None:
    """An error that repeats the request once for each thing that is wrong (vllm-project/vllm#49239)."""
    connection.sendall(head(400, Transfer_Encoding="chunked"))
    server.flood(connection, b"100000\r\n" + b"x" * MEBIBYTE + b"\r\n")


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

    def drip(self, connection: socket.socket, data: bytes, before: bytes = b"", after: bytes = b"") -> None:
        """Send twenty bytes a second, one by one."""
        for at in range(len(data)):
            connection.sendall(before + data[at : at + 1] + after)
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
            FAULTS[head.split("/")[1]].answer(connection, json.loads(body), self)


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
