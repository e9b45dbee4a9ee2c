"""Secrets are planted wherever one can get in; then everything that is shown, kept or sent is searched for them."""

from __future__ import annotations

import json
import os
import sqlite3
import subprocess
import sys
import zlib
from collections.abc import Callable, Iterator
from contextlib import closing
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

from tests.integration.servers.batches import Fate, Line, answer, batch_service, refused
from tunalm import redaction
from tunalm.cli.app import main

OURS = "key-of-this-address-7f3a9c1e5b2d"
"""In the variable that the recipe names; it has no shape that gives it away."""
OPENAI = "sk-proj-0123456789abcdefABCDEF"
"""In OPENAI_API_KEY, for another address."""
IN_USERINFO = "hunter2-9d8c7b6a5f4e"
IN_QUERY = "query-1a2b3c4d5e6f7a8b"
TYPED = "hf_AbCdEfGhIjKlMnOpQrStUvWxYz0123"
IN_NETRC = "netrc-5d6e7f8a9b0c1d2e"
"""Of 127.0.0.1, in the user's .netrc."""
IN_RECIPE = "sk-ant-api03-0123456789abcdef"
SECRETS = (IN_NETRC, IN_RECIPE, OURS, OPENAI, IN_USERINFO, IN_QUERY, TYPED)
ENVIRONMENT = {"MY_KEY": OURS, "OPENAI_API_KEY": OPENAI}


class Echo(ThreadingHTTPServer):
    """A server that says back the key that it was given, in every place where it can."""

    daemon_threads = True
    status = 200
    redirect = ""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.url = f"http://127.0.0.1:{self.server_port}/v1"
        self.received: list[str] = []


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: Echo

    def log_message(self, *args: Any) -> None:
        pass

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"])).decode()
        self.server.received.append(f"{self.path} {self.headers} {body}")
        key = (self.headers.get("Authorization") or "Bearer nothing").removeprefix("Bearer ")
        escaped = "".join(f"\\u{ord(char):04x}" for char in key)
        said = f"Your key is {key}, that is ESCAPED."
        if self.server.status != 200:
            value: dict[str, Any] = {"error": {"message": said, "code": key, "type": key}}
        else:
            choice = {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": said}}
            value = {
                "model": f"model-{key}",
                "choices": [choice],
                "usage": {"completion_tokens": 5, "prompt_tokens": 5},
            }
        data = json.dumps(value).replace("ESCAPED", escaped).encode()
        self.send_response(self.server.status, f"Status {key}")
        self.send_header("Content-Length", str(len(data)))
        self.send_header("X-Key", key)
        if self.server.redirect:
            self.send_header("Location", f"{self.server.redirect}?key={key}")
        self.end_headers()
        self.wfile.write(data)


@pytest.fixture
def echo() -> Iterator[Echo]:
    with Echo() as server:
        thread = Thread(target=server.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def tunalm(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> Callable[..., tuple[int, str]]:
    """Runs the command line; returns its exit code and all that it said."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(redaction, "_known", {})
    for name, key in ENVIRONMENT.items():
        monkeypatch.setenv(name, key)

    def run(*words: str) -> tuple[int, str]:
        with monkeypatch.context() as patch:
            patch.setattr(sys, "argv", ["tunalm", *words])
            for stream in ("stdout", "stderr"):
                patch.setattr(sys, stream, getattr(sys, stream))
            try:
                main()
                code = 0
            except SystemExit as end:
                code = int(end.code or 0)
            except Exception:
                sys.excepthook(*sys.exc_info())
                code = 1
        return code, "".join(capfd.readouterr())

    return run


def in_a_process_of_its_own(folder: Path, *words: str) -> tuple[int, str]:
    """The same, with nothing of this process in it."""
    command, environment = [sys.executable, "-m", "tunalm", *words], {**os.environ, **ENVIRONMENT}
    done = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, timeout=120, check=False
    )
    return done.returncode, done.stdout + done.stderr


def sample(base_url: str, *more: str) -> list[str]:
    engine = f"engine={{base_url: '{base_url}', model: tiny, api_key_env: MY_KEY, max_retries: 0}}"
    return ["sample", engine, "data=rows.jsonl", "num_responses=1", "--run-dir", "run", *more]


@pytest.fixture(autouse=True)
def _rows(tmp_path: Path) -> None:
    rows = [{"instruction": f"Say {number}.", "output": "Yes."} for number in range(3)]
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


def kept(folder: Path) -> dict[str, bytes]:
    """Everything in the files of a folder, what a ledger has packed included."""
    found = {}
    for path in folder.rglob("*"):
        if path.is_file():
            found[path.name] = path.read_bytes()
        if path.suffix == ".sqlite":
            with closing(sqlite3.connect(path)) as link:
                tables = [name for (name,) in link.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
                for table in tables:
                    for number, row in enumerate(link.execute(f"SELECT * FROM {table}")):
                        cells = [
                            zlib.decompress(cell) if isinstance(cell, bytes) else str(cell).encode() for cell in row
                        ]
                        found[f"{path.name}, {table} {number}"] = b" ".join(cells)
    return found


def assert_clean(said: str, folder: Path) -> None:
    """No secret in what was said or kept."""
    for secret in SECRETS:
        assert secret not in said
        assert not [name for name, content in kept(folder).items() if secret.encode() in content], secret


def test_a_key_that_comes_back_in_answers_is_not_kept(echo: Echo, tunalm: Any, tmp_path: Path) -> None:
    code, said = tunalm(*sample(echo.url))
    assert code == 0, said
    assert_clean(said, tmp_path)
    assert len(echo.received) == 3
    assert all(f"Authorization: Bearer {OURS}" in each for each in echo.received)
    (text, *_) = {json.loads(line)["responses"][0]["text"] for line in (tmp_path / "run/sample/responses.jsonl").open()}
    assert text == "Your key is [key], that is [key]."
    assert {"manifest.json", "config.yaml", "report.html", "ledger.sqlite"} <= kept(tmp_path).keys()


@pytest.mark.parametrize("status", [400, 500])
def test_a_key_that_comes_back_in_failures_is_not_kept(echo: Echo, tunalm: Any, tmp_path: Path, status: int) -> None:
    echo.status = status
    code, said = tunalm(*sample(echo.url))
    assert code == 3, said
    assert "Your key is [key]" in (tmp_path / "run/sample/responses.jsonl").read_text(encoding="utf-8")
    assert_clean(said, tmp_path)


def test_a_key_that_comes_back_in_an_error_is_not_in_its_traceback(echo: Echo, tmp_path: Path) -> None:
    echo.status = 401
    code, said = in_a_process_of_its_own(tmp_path, *sample(echo.url), "--debug")
    assert code == 1
    assert "Traceback" in said
    assert "Your key is [key]" in said
    assert_clean(said, tmp_path)


def test_five_planted_keys_are_in_nothing_that_is_left_behind(
    echo: Echo, tunalm: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In the environment, an address, a header of the replies, a recipe, and .netrc; calls fail, a run ends early."""
    home = tmp_path.with_name(f"{tmp_path.name}-home")
    home.mkdir()
    (home / ".netrc").write_text(f"machine 127.0.0.1 login me password {IN_NETRC}\n", encoding="utf-8")
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("NETRC", str(home / ".netrc"))
    engine = f"engine: {{base_url: '{echo.url}', model: tiny}}"
    text = f"name: r\ndescription: {IN_RECIPE}\nstages: {{s: {{kind: sample, {engine}, data: rows.jsonl}}}}\n"
    recipe = tmp_path.with_name(f"{tmp_path.name}-r.yaml")
    recipe.write_text(text, encoding="utf-8")
    everything = []
    for status in (200, 500, 401):
        echo.status = status
        everything.append(tunalm(*sample(echo.url, "--run-dir", f"run-{status}")))
        everything.append(tunalm(*sample(echo.url, "--run-dir", f"run-{status}", "--debug", "--retry-failed")))
    everything.append(tunalm(*sample(f"http://me:{IN_USERINFO}@127.0.0.1:9/v1?key={IN_QUERY}"), "--debug"))
    everything.append(tunalm("run", str(recipe), "--debug"))
    everything.append(tunalm("report", "run-200"))
    assert [code for code, _ in everything] == [0, 0, 3, 3, 2, 1, 1, 1, 0]
    assert_clean("".join(said for _, said in everything), tmp_path)
    assert not [each for each in echo.received if IN_NETRC in each or "Basic" in each]
    assert {"report.html", "manifest.json", "ledger.sqlite", "README.md"} <= kept(tmp_path).keys()


def test_a_redirect_takes_no_key_along(echo: Echo, tunalm: Any, tmp_path: Path) -> None:
    with Echo() as thief:
        Thread(target=thief.serve_forever, args=(0.01,), daemon=True).start()
        echo.status, echo.redirect = 307, thief.url
        code, said = tunalm(*sample(echo.url))
        thief.shutdown()
        assert not thief.received
    assert code == 2
    assert_clean(said, tmp_path)


def test_the_openai_key_goes_nowhere_else(echo: Echo, tunalm: Any, tmp_path: Path) -> None:
    engine = f"engine={{base_url: '{echo.url}', model: tiny}}"
    code, said = tunalm("sample", engine, "data=rows.jsonl", "num_responses=1", "--run-dir", "run")
    assert code == 0, said
    assert len(echo.received) == 3
    assert not [each for each in echo.received if OPENAI in each or "Authorization" in each]
    named = engine.replace("tiny}", "tiny, api_key_env: OPENAI_API_KEY}")
    code, said = tunalm("sample", named, "data=rows.jsonl", "--run-dir", "other")
    assert code == 2
    assert "api.openai.com only" in said
    assert len(echo.received) == 3
    assert_clean(said, tmp_path)


@pytest.mark.parametrize("debug", [[], ["--debug"]], ids=["line", "traceback"])
@pytest.mark.parametrize(
    "words",
    [
        sample(f"https://user:{IN_USERINFO}@example.org/v1"),
        sample(f"https://example.org/v1?api-version={IN_QUERY}"),
        sample("http://127.0.0.1:9/v1", f"engine.model={TYPED}"),
        sample("http://127.0.0.1:9/v1", f"engine.api_key_env={TYPED}"),
        sample("http://127.0.0.1:9/v1", f"engine.api_key={TYPED}"),
        sample("http://127.0.0.1:9/v1", f"engine.api_key={IN_QUERY}"),
        sample("http://127.0.0.1:9/v1", "--api-key", TYPED),
        ["sample", TYPED],
        ["run", TYPED],
        ["run", "recipe.yaml", f"--key={TYPED}"],
        ["doctor", "http://127.0.0.1:9/v1", "--api-key-env", IN_QUERY],
        ["doctor", f"http://user:{IN_USERINFO}@127.0.0.1:9/v1"],
        ["doctor", TYPED],
        ["doctor", "http://127.0.0.1:9/v1", "--key", TYPED],
    ],
    ids=lambda words: "-".join(word.split("=")[0] for word in (words[0], *words[-1:]) if "run" not in word) or "run",
)
def test_a_secret_that_is_typed_is_not_said_back(
    words: list[str], debug: list[str], tunalm: Any, tmp_path: Path
) -> None:
    code, said = tunalm(*words, *debug)
    assert code in (1, 2), said
    assert said.strip()
    assert_clean(said, tmp_path)
    assert not (tmp_path / "run").exists(), "refused before anything is written"


def test_keys_in_the_files_of_a_batch_server_are_not_kept(tunalm: Any, tmp_path: Path) -> None:
    def confess(lines: list[Line]) -> list[Line | bytes]:
        return [json.loads(json.dumps(answer(line)).replace(' 0"', f' {OURS}"')) for line in lines[1:]]

    def blame(lines: list[Line]) -> list[Line | bytes]:
        return [json.loads(json.dumps(refused(lines[0])).replace("thing", OURS))]

    with batch_service() as server:
        server.books.fates = [Fate(output=confess, errors=blame, looks=1)]
        code, said = tunalm(*sample(server.url, "engine.kind=batch", "engine.max_retries=0"))
        assert {headers["Authorization"] for headers in server.books.headers} == {f"Bearer {OURS}"}
    assert code == 3, said
    assert_clean(said, tmp_path)
    responses = (tmp_path / "run/sample/responses.jsonl").read_text(encoding="utf-8")
    assert responses.count("[key]") == 3
