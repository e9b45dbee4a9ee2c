"""A judge on loopback that marks a list by length, in either protocol, and calls the answers of a pair equal."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from tests.judges import FENCED, by_length, paper_reply, responses_shown

PAIR, PUBLISHED_PAIR, AUDITED = "[[A]] if A is better", "scores for Assistant 1 and 2", "JSON object"


@contextmanager
def length_judge() -> Iterator[str]:
    """Serve it; gives its `base_url`."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/v1"
    finally:
        server.shutdown()
        server.server_close()


def reply_to(prompt: str) -> str:
    """What the judge says."""
    if PAIR in prompt:
        return "Both were read.\n[[C]]"
    if "Which response is better?" in prompt:
        return "1"
    if PUBLISHED_PAIR in " ".join(prompt.split()):
        return "8 8\nBoth were read."
    if not FENCED.search(prompt):
        return "{}"  # a question that only tries the server out
    return (by_length if AUDITED in prompt else paper_reply)(responses_shown(prompt))


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        asked: dict[str, Any] = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        message = {"role": "assistant", "content": reply_to(asked["messages"][-1]["content"])}
        usage = {"prompt_tokens": 10, "completion_tokens": 10}
        body = json.dumps({"choices": [{"index": 0, "message": message, "finish_reason": "stop"}], "usage": usage})
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body.encode())

    def log_message(self, *args: Any) -> None:
        pass
