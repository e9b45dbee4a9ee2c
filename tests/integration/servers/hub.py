"""A model hub on this machine: repositories, small files inside a commit, large ones by Git LFS beside it."""

from __future__ import annotations

import base64
import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlsplit

TOKEN = "hf_" + "aTokenOfATest0123456789"
OWNER = "researcher"
LARGE = 10_000
"""Bytes from which on a file is sent beside the commit."""


@dataclass
class Repository:
    """What a repository holds."""

    private: bool
    files: dict[str, bytes] = field(default_factory=dict)
    commits: int = 0


@dataclass
class Shelves:
    """What the hub keeps over its life."""

    repositories: dict[str, Repository] = field(default_factory=dict)
    """By `models/OWNER/NAME` or `datasets/OWNER/NAME`."""
    objects: dict[str, bytes] = field(default_factory=dict)
    """Large files by the hash of their bytes."""
    arrivals: list[str] = field(default_factory=list)
    """Hashes of large files, as often as they were sent to their end."""
    log: list[str] = field(default_factory=list)
    holds: int = 0
    """Uploads of large files to come that are never answered."""
    held: threading.Event = field(default_factory=threading.Event)
    """One of these has begun."""
    released: threading.Event = field(default_factory=threading.Event)


class Handler(BaseHTTPRequestHandler):
    """Answers one connection."""

    protocol_version = "HTTP/1.1"
    shelves: Shelves

    def do_GET(self) -> None:
        """Tell about a repository."""
        self._dispatch(b"")

    def do_POST(self) -> None:
        """Create, plan an upload, commit."""
        self._dispatch(self.rfile.read(int(self.headers.get("content-length") or 0)))

    def do_PUT(self) -> None:
        """Take a large file."""
        self.shelves.log.append(f"PUT {self.path}")
        if self.shelves.holds:
            self.shelves.holds -= 1
            self.shelves.held.set()
            self.shelves.released.wait(60)
            self.close_connection = True
            return
        oid, content = self.path.rpartition("/")[2], self._body()
        if hashlib.sha256(content).hexdigest() != oid:
            self._reply(400, {"error": "other bytes than announced"})
            return
        self.shelves.objects[oid] = content
        self.shelves.arrivals.append(oid)
        self._reply(200, {})

    def _body(self) -> bytes:
        if "content-length" in self.headers:
            return self.rfile.read(int(self.headers["content-length"]))
        body = b""
        while size := int(self.rfile.readline(), 16):
            body += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return body

    def _dispatch(self, body: bytes) -> None:
        path = urlsplit(self.path).path
        self.shelves.log.append(f"{self.command} {path}")
        if self.headers.get("authorization") != f"Bearer {TOKEN}":
            self._reply(401, {"error": "Invalid credentials in Authorization header"})
        elif path == "/api/validate-yaml":
            self._reply(200, {"errors": [], "warnings": []})
        elif path == "/api/repos/create":
            self._create(json.loads(body))
        elif path.endswith(".git/info/lfs/objects/batch"):
            offers = [self._offer(each) for each in json.loads(body)["objects"]]
            self._reply(200, {"transfer": "basic", "objects": offers})
        else:
            self._speak_of(path.removeprefix("/api/").split("/"), body)

    def _create(self, wanted: dict[str, Any]) -> None:
        owner = wanted.get("organization") or OWNER
        name = f"{wanted.get('type') or 'model'}s/{owner}/{wanted['name']}"
        url = f"http://{self.headers['host']}/{name.removeprefix('models/')}"
        if owner != OWNER:
            self._reply(403, {"error": "You don't have the rights to create a model under this namespace"})
        elif name in self.shelves.repositories:
            self._reply(409, {"error": "You already created this repo", "url": url})
        else:
            private = wanted.get("private") or wanted.get("visibility") == "private"
            self.shelves.repositories[name] = Repository(bool(private))
            self._reply(200, {"url": url})

    def _offer(self, announced: dict[str, Any]) -> dict[str, Any]:
        if announced["oid"] in self.shelves.objects:
            return announced
        upload = {"href": f"http://{self.headers['host']}/storage/{announced['oid']}"}
        return {**announced, "actions": {"upload": upload}}

    def _speak_of(self, parts: list[str], body: bytes) -> None:
        name, action = "/".join(parts[:3]), "/".join(parts[3:])
        repository = self.shelves.repositories.get(name)
        if repository is None:
            self._reply(404, {"error": "Repository not found"}, {"X-Error-Code": "RepoNotFound"})
        elif action.startswith("preupload/"):
            files = json.loads(body)["files"]
            self._reply(200, {"files": [self._mode(each) for each in files]})
        elif action.startswith("commit/"):
            self._commit(repository, [json.loads(line) for line in body.splitlines()])
            self._reply(200, {"commitUrl": f"http://{self.headers['host']}/{name}/commit/1", "commitOid": "1" * 40})
        elif action:
            self._reply(404, {"error": "Not found"})
        else:
            self._reply(200, {"id": "/".join(parts[1:3]), "private": repository.private, "sha": "1" * 40})

    @staticmethod
    def _mode(file: dict[str, Any]) -> dict[str, Any]:
        mode = "lfs" if file["size"] >= LARGE else "regular"
        return {"path": file["path"], "uploadMode": mode, "shouldIgnore": False, "oid": None}

    def _commit(self, repository: Repository, lines: list[dict[str, Any]]) -> None:
        for line in lines:
            value = line["value"]
            if line["key"] == "file":
                repository.files[value["path"]] = base64.b64decode(value["content"])
            elif line["key"] == "lfsFile":
                repository.files[value["path"]] = self.shelves.objects[value["oid"]]
        repository.commits += 1

    def _reply(self, status: int, body: dict[str, Any], headers: dict[str, str] | None = None) -> None:
        content = json.dumps(body).encode()
        self.send_response(status)
        for name, value in {"Content-Type": "application/json", **(headers or {})}.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *arguments: object) -> None:
        """Say nothing."""


@contextmanager
def serving() -> Iterator[tuple[str, Shelves]]:
    """A hub while the block lasts: its address and what it keeps."""
    shelves = Shelves()
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("OwnHandler", (Handler,), {"shelves": shelves}))
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}", shelves
    finally:
        shelves.released.set()
        server.shutdown()
        thread.join()
        server.server_close()
