"""Every way in which a server can get it wrong ends in a failure of a named kind, in time and in little memory."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from tests.integration.servers.faults import FAULTS, OK, FaultServer, fault_server
from tunalm.cli.app import main
from tunalm.engines.base import Completion, Journal, Request
from tunalm.engines.endpoint.engine import EndpointEngine
from tunalm.engines.endpoint.faults import Fault
from tunalm.engines.remedies import REMEDIES, remedy
from tunalm.recipe import EndpointSettings
from tunalm.records import UNKNOWN as PREFIX
from tunalm.records import Message

TIMEOUT = 0.5
LONGEST = TIMEOUT + 2.0
LARGEST = 500
"""MB of memory that a process may have used."""


class Witness(Journal):
    """Writes down what it is told; allows no second call."""

    def __init__(self) -> None:
        self.told: list[str] = []

    def sending(self, unit: Sequence[Request]) -> None:
        self.told.append("sending")

    def answered(self, unit: Sequence[Request], completions: Sequence[Completion]) -> None:
        self.told.append("answered")

    def lost(self, unit: Sequence[Request], reason: str) -> bool:
        self.told.append("lost")
        return False

    def refused(self, unit: Sequence[Request], reason: str) -> None:
        self.told.append("refused")


@pytest.fixture(scope="module")
def server() -> Iterator[FaultServer]:
    with fault_server() as running:
        yield running


def ask(server: FaultServer, name: str, siblings: int = 1) -> tuple[list[Completion], list[str], float]:
    """Completions, what the journal was told, and seconds."""
    message = Message(role="user", content="Name a colour.")
    unit = [
        Request(key=str(number), seed=number, messages=[message], logprobs="logprob" in name)
        for number in range(siblings)
    ]
    settings = EndpointSettings(base_url=server.url(name), model="tiny", timeout=TIMEOUT, max_n=4)
    engine = EndpointEngine(settings.model_copy(update={"max_retries": 0}))
    witness, started = Witness(), time.monotonic()
    completions = [completion for done in engine.generate(engine.batches(unit), witness) for completion in done]
    assert [completion.key for completion in completions] == [request.key for request in unit]
    return completions, witness.told, time.monotonic() - started


def kind(completion: Completion) -> str:
    if completion.failure is None:
        return completion.text
    assert completion.unknown == completion.failure.startswith(PREFIX)
    return completion.failure.removeprefix(PREFIX).partition(": ")[0]


def of(*told: str) -> list[str]:
    return [name for name, kind in FAULTS.items() if kind.told in told]


def test_every_kind_of_failure_is_tried_and_has_a_remedy() -> None:
    tried = {kind for fault in FAULTS.values() if fault.told != "stops" for kind in fault.comes_to}
    assert set(Fault) - tried == {Fault.NO_CONNECTION, Fault.MISSING_LOGPROBS}, "these end the run"
    assert not [kind for kind in tried & set(Fault) if remedy(kind) is REMEDIES[""]]
    failing = [name for name, kind in FAULTS.items() if [*kind.comes_to] != [OK]]
    print(f"{len(failing)} faults that end in a failure, of {len(FAULTS)}")
    assert len(failing) >= 100


@pytest.mark.parametrize("name", of("answered"))
def test_a_faulty_reply_ends_in_a_named_kind(server: FaultServer, name: str) -> None:
    expected = [*FAULTS[name].comes_to]
    completions, told, seconds = ask(server, name, len(expected))
    assert [kind(completion) for completion in completions] == expected
    assert not any(completion.unknown for completion in completions)
    assert told == ["sending", "answered"]
    assert seconds < LONGEST


@pytest.mark.parametrize("name", of("lost", "refused"))
def test_a_call_without_a_whole_reply_ends_in_a_named_kind(server: FaultServer, name: str) -> None:
    fault = FAULTS[name]
    completions, told, seconds = ask(server, name, siblings=2)
    kinds = {kind(completion) for completion in completions}
    assert len(kinds) == 1
    assert kinds <= set(fault.comes_to)
    assert {completion.unknown for completion in completions} == {fault.told == "lost"}
    assert told == ["sending", fault.told]
    assert seconds < LONGEST


def sampled(base_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> str:
    """The one line in which `tunalm sample` ends."""
    (tmp_path / "rows.jsonl").write_text('{"instruction": "Name a colour."}\n', encoding="utf-8")
    engine = f"engine={{base_url: '{base_url}', model: tiny, max_retries: 0, patience: 0.3, timeout: {TIMEOUT}}}"
    words = ["sample", engine, "data=rows.jsonl", "num_responses=2", "--run-dir", "run"]
    words += ["logprobs=true"] if "logprobs" in base_url else []
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["tunalm", "--quiet", *words])
    started = time.monotonic()
    with pytest.raises(SystemExit) as stopped:
        main()
    assert stopped.value.code == 2
    assert time.monotonic() - started < LONGEST + 2
    (line,) = capsys.readouterr().err.strip().splitlines()
    return line


@pytest.mark.parametrize("name", [*of("stops"), "nobody", "https-without-tls"])
def test_what_every_call_would_meet_ends_the_run_in_one_line(
    server: FaultServer,
    name: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    address, words = server.url(name), ["Start it or correct base_url"]
    if name == "nobody":
        address = "http://127.0.0.1:9/v1"
    elif name == "https-without-tls":
        address = server.url("good").replace("http:", "https:")
    else:
        words = [*FAULTS[name].comes_to]
    line = sampled(address, tmp_path, monkeypatch, capsys)
    assert line.startswith(f"tunalm: endpoint {address} tiny")
    assert all(word in line for word in words), line


CLIENT = """
import sys
from pathlib import Path
from tunalm.engines.base import Journal, Request
from tunalm.engines.endpoint.engine import EndpointEngine
from tunalm.recipe import EndpointSettings
from tunalm.records import UNKNOWN as PREFIX
from tunalm.records import Message

for url in sys.argv[1:]:
    engine = EndpointEngine(EndpointSettings(base_url=url, model="tiny", timeout=20, max_retries=0))
    requests = [Request(key=str(key), messages=[Message(role="user", content="Name a colour.")]) for key in range(16)]
    for unit in engine.generate(engine.batches(requests), Journal()):
        print(*(completion.failure for completion in unit))
status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
print(int(status["VmHWM"].split()[0]) // 1024)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="asks Linux for the largest size of a process")
def test_a_flood_does_not_fill_the_memory(server: FaultServer) -> None:
    floods = [
        "gzip-bomb",
        "endless-chunks",
        "huge-body",
        "huge-error",
        "huge-header",
        "endless-headers",
        "deep-nesting",
    ]
    command = [sys.executable, "-c", CLIENT, *map(server.url, floods)]
    *failures, largest = subprocess.run(
        command, capture_output=True, text=True, timeout=120, check=True
    ).stdout.splitlines()
    assert len(failures) == 16 * len(floods)
    assert sum("too-large" in failure for failure in failures) == 16 * 4
    print(f"largest size of the process: {largest} MB")
    assert int(largest) < LARGEST
