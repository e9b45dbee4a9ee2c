"""A server with batch jobs that answers as it is told to; its log is the witness of what was asked and carried out."""

from __future__ import annotations

import json
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from email.parser import BytesParser
from email.policy import HTTP
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

Line = dict[str, Any]


def answer(line: Line) -> Line:
    """The line of an output file for a request that went well: as many choices as were asked for."""
    prompt = line["body"]["messages"][-1]["content"]
    choices = [
        {"index": index, "finish_reason": "stop", "message": {"role": "assistant", "content": f"{prompt} {index}"}}
        for index in range(line["body"].get("n", 1))
    ]
    usage = {"prompt_tokens": 5, "completion_tokens": 3}
    body = {"model": "served", "choices": choices, "usage": usage}
    return {
        "id": f"req-{line['custom_id'][:8]}",
        "custom_id": line["custom_id"],
        "response": {"status_code": 200, "request_id": "r", "body": body},
        "error": None,
    }


def expired(line: Line) -> Line:
    """The line of an error file for a request whose turn never came."""
    return {"custom_id": line["custom_id"], "response": None, "error": {"code": "batch_expired", "message": "too late"}}


def refused(line: Line, status: int = 400) -> Line:
    """The line of an error file for a request that the model's server refused."""
    body = {"error": {"message": "no such thing"}}
    return {"custom_id": line["custom_id"], "response": {"status_code": status, "body": body}, "error": None}


@dataclass
class Fate:
    """What becomes of a job; `output` and `errors` make its files from its requests, as lines or as raw bytes."""

    status: str = "completed"
    output: Callable[[list[Line]], list[Line | bytes]] = lambda lines: [answer(line) for line in reversed(lines)]
    errors: Callable[[list[Line]], list[Line | bytes]] = lambda lines: []
    looks: int = 2
    """Looks at it until it has ended."""
    counts: bool = True
    explanation: str = ""


@dataclass
class Job:
    """A job as the server keeps it."""

    record: dict[str, Any]
    fate: Fate
    looks: int = 0


@dataclass
class Books:
    """What the server keeps over its life."""

    fates: list[Fate] = field(default_factory=list)
    """Of the jobs to come; when there is none left, all goes well."""
    files: dict[str, bytes] = field(default_factory=dict)
    jobs: dict[str, Job] = field(default_factory=dict)
    carried_out: Counter[str] = field(default_factory=Counter)
    """How often each request (its body, as text) was carried out, and so charged for."""
    log: list[str] = field(default_factory=list)
    """Method and path of every call."""
    headers: list[dict[str, str]] = field(default_factory=list)


class BatchService(ThreadingHTTPServer):
    """Serves files and jobs on a loopback port."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.url = f"http://127.0.0.1:{self.server_port}/v1"
        self.books = Books()
        self.before: Callable[[str], tuple[int, bytes] | None] = lambda call: None
        """Called with `METHOD /path` before anything is done; may answer in the server's place."""
        self.after: Callable[[str], None] = lambda call: None
        """Called when it is done and the answer is not sent yet."""
        self.guard = threading.Lock()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that goes away is no error."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: BatchService

    def log_message(self, *args: Any) -> None:
        pass

    def do_GET(self) -> None:
        self._serve("GET")

    def do_POST(self) -> None:
        self._serve("POST")

    def _serve(self, method: str) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0))) if method == "POST" else b""
        if self.headers.get("Transfer-Encoding") == "chunked":
            body = self._chunks()
        parts = urlsplit(self.path)
        call = f"{method} {parts.path.removeprefix('/v1')}"
        with self.server.guard:
            self.server.books.log.append(call)
            self.server.books.headers.append(dict(self.headers))
            status, data = self.server.before(call) or self._answer(call, parse_qs(parts.query), body)
            self.server.after(call)
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def _chunks(self) -> bytes:
        body = b""
        while size := int(self.rfile.readline(), 16):
            body += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return body

    def _answer(self, call: str, query: dict[str, list[str]], body: bytes) -> tuple[int, bytes]:
        books = self.server.books
        path = call.split()[1]
        name = path.split("/")[2] if path.count("/") > 1 else ""
        if call == "POST /files":
            head = b"Content-Type: " + self.headers["Content-Type"].encode() + b"\r\n\r\n"
            parts = BytesParser(policy=HTTP).parsebytes(head + body).get_payload()
            content = {part.get_param("name", header="content-disposition"): part for part in parts}  # type: ignore[union-attr]
            assert content["purpose"].get_payload() == "batch"  # type: ignore[union-attr]
            name = f"file-in-{len(books.files)}"
            books.files[name] = content["file"].get_payload(decode=True)  # type: ignore[union-attr,assignment]
            return 200, json.dumps({"id": name, "object": "file", "purpose": "batch"}).encode()
        if call == "POST /batches":
            return 200, json.dumps(self._new_job(json.loads(body))).encode()
        if call == "GET /batches":
            newest = list(reversed(books.jobs))
            start = newest.index(query["after"][0]) + 1 if "after" in query else 0
            page = newest[start : start + min(2, int(query["limit"][0]))]
            data = [books.jobs[job].record for job in page]
            return 200, json.dumps({"data": data, "has_more": start + len(page) < len(newest)}).encode()
        if path.startswith("/batches/") and name in books.jobs:
            return 200, json.dumps(self._look(books.jobs[name])).encode()
        if path.endswith("/content") and name in books.files:
            return 200, books.files[name]
        return 404, b'{"error": {"message": "not found"}}'

    def _new_job(self, wanted: dict[str, Any]) -> dict[str, Any]:
        books = self.server.books
        assert wanted["completion_window"] == "24h"
        lines = [json.loads(line) for line in books.files[wanted["input_file_id"]].splitlines()]
        assert {line["url"] for line in lines} == {wanted["endpoint"]}
        name = f"batch-{len(books.jobs)}"
        fate = books.fates.pop(0) if books.fates else Fate()
        made = {"id": name, "status": "validating", "created_at": 2e9, **wanted}
        books.jobs[name] = Job(made, fate)
        return made

    def _look(self, job: Job) -> dict[str, Any]:
        books, record, fate = self.server.books, job.record, job.fate
        job.looks += 1
        if job.looks < fate.looks:
            return record | {"status": "in_progress"}
        if "output_file_id" not in record:
            lines = [json.loads(line) for line in books.files[record["input_file_id"]].splitlines()]
            for kind in ("output", "errors"):
                replies = getattr(fate, kind)(lines) if fate.status != "failed" else []
                raw = [line if isinstance(line, bytes) else json.dumps(line).encode() for line in replies]
                name = f"file-{kind}-{record['id']}"
                books.files[name] = b"".join(line + b"\n" for line in raw)
                record["output_file_id" if kind == "output" else "error_file_id"] = name if raw else None
                done = {line.get("custom_id") for line in replies if isinstance(line, dict) and line.get("response")}
                books.carried_out.update(json.dumps(line["body"]) for line in lines if line["custom_id"] in done)
            if fate.counts:
                done_count = sum(1 for _ in filter(None, books.files[f"file-output-{record['id']}"].splitlines()))
                record["request_counts"] = {"total": len(lines), "completed": done_count, "failed": 0}
            record |= {"status": fate.status, "errors": {"data": [{"message": fate.explanation}]}}
        return record


@contextmanager
def batch_service() -> Iterator[BatchService]:
    """Run a server in a thread of its own."""
    with BatchService() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()
