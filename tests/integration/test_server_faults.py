"""Every way in which a server can get it wrong ends in a failure of a named kind, in time and in little memory."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator, Sequence

import pytest

from tests.integration.servers.faults import FAULTS, OK, OUTCOMES, FaultServer, fault_server
from tunalm.engines.base import Completion, Journal, Request
from tunalm.engines.endpoint.engine import EndpointEngine
from tunalm.recipe import EndpointSettings
from tunalm.records import UNKNOWN as PREFIX
from tunalm.records import Message

TIMEOUT = 0.5
LONGEST = TIMEOUT + 2.0
LARGEST = 500
"""MB of memory that a process may have used."""
REFUSED = {"server-error"}
"""Those that the server has surely not carried out."""
LOST = {
    *("gateway-timeout", "no-reply", "silence", "slow-head", "drip", "cut-off", "reset-in-body", "chunks-without-end"),
    *("length-too-small", "length-too-large", "length-is-no-number", "chunks-cut-off", "not-http"),
    *("huge-header", "endless-headers"),
}
"""Those that it may have carried out."""


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


def ask(server: FaultServer, fault: str, siblings: int = 1) -> tuple[list[Completion], list[str], float]:
    """Completions, what the journal was told, and seconds."""
    message = Message(role="user", content="Name a colour.")
    unit = [
        Request(key=str(number), seed=number, messages=[message], logprobs="logprob" in fault)
        for number in range(siblings)
    ]
    settings = EndpointSettings(base_url=server.url(fault), model="tiny", timeout=TIMEOUT, max_n=4)
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


def test_every_fault_is_tried() -> None:
    assert FAULTS.keys() == OUTCOMES.keys() >= REFUSED | LOST
    assert sum(outcome != OK for outcome in OUTCOMES.values()) >= 60


@pytest.mark.parametrize("fault", sorted(OUTCOMES.keys() - REFUSED - LOST))
def test_a_faulty_reply_ends_in_a_named_kind(server: FaultServer, fault: str) -> None:
    completions, told, seconds = ask(server, fault, len(OUTCOMES[fault]))
    assert [kind(completion) for completion in completions] == OUTCOMES[fault]
    assert not any(completion.unknown for completion in completions)
    assert told == ["sending", "answered"]
    assert seconds < LONGEST


@pytest.mark.parametrize("fault", sorted(REFUSED | LOST))
def test_a_call_without_a_whole_reply_ends_in_a_named_kind(server: FaultServer, fault: str) -> None:
    completions, told, seconds = ask(server, fault, siblings=2)
    kinds = {kind(completion) for completion in completions}
    assert len(kinds) == 1
    assert kinds <= set(OUTCOMES[fault])
    assert {completion.unknown for completion in completions} == {fault in LOST}
    assert told == ["sending", "lost" if fault in LOST else "refused"]
    assert seconds < LONGEST


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
    floods = ["gzip-bomb", "endless-chunks", "huge-body", "huge-header", "endless-headers", "deep-nesting"]
    command = [sys.executable, "-c", CLIENT, *map(server.url, floods)]
    *failures, largest = subprocess.run(
        command, capture_output=True, text=True, timeout=120, check=True
    ).stdout.splitlines()
    assert len(failures) == 16 * len(floods)
    assert sum("too-large" in failure for failure in failures) == 16 * 3
    print(f"largest size of the process: {largest} MB")
    assert int(largest) < LARGEST
