"""A program that serves a model which is none: `child.py PORT MODEL [how]`, with a worker process of its own.

It answers with its port and the seed, and echoes token ids with minus themselves as log-probabilities. `how` is `dies`
(it says why), `deaf` (it never answers), `mortal` (it ends with the third request), or how many tokens it takes.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

PORT, MODEL, HOW = int(sys.argv[1]), sys.argv[2], sys.argv[3] if len(sys.argv) > 3 else ""
asked: list[dict[str, Any]] = []


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: object) -> None:
        """Say nothing."""

    def do_GET(self) -> None:
        longest = {"max_model_len": int(HOW)} if HOW.isdigit() else {}
        self._send({"data": [{"id": f"served/{MODEL}", **longest}]})

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        asked.append(body)
        if HOW == "mortal" and len(asked) == 3:
            print("CUDA out of memory", flush=True)
            os._exit(7)
        if body.get("echo"):
            values = [None, *(-float(token) for token in body["prompt"][1:]), -1.0]
            logprobs = {"token_logprobs": values, "text_offset": [0] * len(values)}
            choice = {"index": 0, "text": "", "finish_reason": "length", "logprobs": logprobs}
        else:
            gpus = os.environ.get("CUDA_VISIBLE_DEVICES", "")
            text = json.dumps([PORT, body["seed"], body["max_tokens"], gpus, body["stop_token_ids"]])
            logprobs = {"tokens": [text, "<end>"], "token_logprobs": [-1.0, -2.0], "text_offset": [0, len(text)]}
            choice = {"index": 0, "text": text, "finish_reason": "stop", "logprobs": logprobs}
        self._send({"model": body["model"], "choices": [choice]})

    def _send(self, body: object) -> None:
        data = json.dumps(body).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)


if __name__ == "__main__":
    worker = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    print(f"pids {os.getpid()} {worker.pid}", flush=True)
    if HOW == "dies":
        sys.exit("ValueError: no such model: sk-abcdef0123456789abcdef")
    if HOW == "deaf":
        time.sleep(600)
    ThreadingHTTPServer(("127.0.0.1", PORT), Handler).serve_forever()
