"""No answer is lost, none is asked for twice, and a file that is no ledger is left alone."""

from __future__ import annotations

import errno
import multiprocessing
import resource
import sqlite3
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from tunalm.calls.asking import complete
from tunalm.calls.ledger import Ledger, open_ledger
from tunalm.engines.base import Capabilities, Completion, Journal, Request
from tunalm.engines.scripted import ScriptedEngine
from tunalm.errors import EngineError, StoreError
from tunalm.records import Message

SEEDED = Capabilities(seeded=True)
UNSEEDED = Capabilities()


def request(key: str, seed: int = 0) -> Request:
    return Request(key=key, messages=[Message(role="user", content="Say it.")], seed=seed)


def requests(count: int, first: int = 0) -> list[Request]:
    return [request(f"{number:03}") for number in range(first, first + count)]


class Witness:
    """An engine that notes what it is asked, unit by unit, and fails or stops where it is told to."""

    identity = "witness"

    def __init__(self, unit: int = 2, capabilities: Capabilities = SEEDED) -> None:
        self.unit = unit
        self.capabilities = capabilities
        self.asked: list[list[str]] = []
        self.closed = 0
        self.failing: set[str] = set()
        self.stop_before: int | None = None

    def batches(self, requests: Sequence[Request]) -> list[list[Request]]:
        ordered = sorted(requests, key=lambda request: request.key)
        return [ordered[start : start + self.unit] for start in range(0, len(ordered), self.unit)]

    def generate(self, batches: Sequence[Sequence[Request]], journal: Journal) -> Iterator[list[Completion]]:
        try:
            for number, unit in enumerate(batches):
                if number == self.stop_before:
                    raise EngineError("witness", found="no server", expected="one", fix="Start it.")
                self.asked.append([request.key for request in unit])
                yield [self.answer(request) for request in unit]
        finally:
            self.closed += 1

    def answer(self, request: Request) -> Completion:
        if request.key in self.failing:
            return Completion(key=request.key, failure="timed out")
        return Completion(key=request.key, text=f"answer {len(self.asked)}", token_logprobs=[-0.1, float("-inf")])


@pytest.fixture
def ledger(tmp_path: Path) -> Path:
    return tmp_path / "ledger.sqlite"


def test_every_request_is_answered_once_and_then_served(ledger: Path) -> None:
    engine = Witness()
    first = complete(engine, requests(5), ledger, "asking")
    second = complete(engine, requests(5), ledger, "asking")
    assert list(first) == list(second) == ["000", "001", "002", "003", "004"]
    assert first == second
    assert engine.asked == [["000", "001"], ["002", "003"], ["004"]]


def test_anything_that_differs_in_a_request_makes_it_another(ledger: Path) -> None:
    changes: list[dict[str, object]] = [
        {},
        {"key": "b"},
        {"seed": 1},
        {"temperature": 0.5},
        {"top_p": 0.9},
        {"max_new_tokens": 7},
        {"logprobs": True},
        {"json_schema": {"type": "object"}},
        {"raw": True},
        {"messages": [Message(role="user", content="Say it.", input="Twice.")]},
    ]
    engine = Witness(capabilities=Capabilities(logprobs=True, json_schema=True, raw=True))
    for change in changes:
        complete(engine, [request("a").model_copy(update=change)], ledger, "asking")
    assert len(engine.asked) == len(changes)
    other = Witness()
    other.identity = "another model"
    complete(other, [request("a")], ledger, "asking")
    assert other.asked == [["a"]]


def test_what_was_answered_before_the_engine_stopped_is_kept(ledger: Path) -> None:
    engine = Witness()
    engine.stop_before = 2
    with pytest.raises(EngineError):
        complete(engine, requests(6), ledger, "asking")
    engine.stop_before, engine.asked = None, []
    assert len(complete(engine, requests(6), ledger, "asking")) == 6
    assert engine.asked == [["004", "005"]]


def states(ledger: Path) -> dict[str, str]:
    """State of every request by key, read by a program that is not ours."""
    with closing(sqlite3.connect(ledger)) as connection:
        return dict(connection.execute("SELECT key, state FROM requests ORDER BY key").fetchall())


@pytest.mark.parametrize(("capabilities", "asked"), [(SEEDED, [["000", "001"]]), (UNSEEDED, [["001"]])])
def test_a_unit_that_was_answered_in_part(capabilities: Capabilities, asked: list[list[str]], ledger: Path) -> None:
    engine = Witness(capabilities=capabilities)
    engine.failing = {"001"}
    before = complete(engine, requests(4), ledger, "asking")
    assert before["001"].failure == "timed out"
    assert states(ledger) == {"000": "ok", "001": "failed", "002": "ok", "003": "ok"}
    engine.failing, engine.asked = set(), [[]] * 7
    after = complete(engine, requests(4), ledger, "asking")
    assert engine.asked[7:] == asked
    assert after["000"] == before["000"]
    assert after["001"].text == "answer 8"
    assert set(states(ledger).values()) == {"ok"}


def test_units_do_not_depend_on_what_is_answered_already(ledger: Path) -> None:
    engine = Witness(unit=3)
    complete(engine, requests(3), ledger, "asking")
    engine.asked = []
    complete(engine, requests(8), ledger, "asking")
    assert engine.asked == [["003", "004", "005"], ["006", "007"]]


def test_answers_come_back_as_they_were_given(ledger: Path) -> None:
    given = Completion(
        key="a",
        text="a\u2028b\x00 \U0001f41f",
        model="m",
        finish_reason="length",
        num_tokens=3,
        token_logprobs=[-0.1, float("-inf"), -1e-300],
        prompt_tokens=4,
    )
    engine = ScriptedEngine.from_function(lambda request: given)
    complete(engine, [request("a")], ledger, "asking")
    assert complete(engine, [request("a")], ledger, "asking")["a"] == given


def test_an_engine_that_forgets_a_request_leaves_a_failure_not_a_hole(ledger: Path) -> None:
    engine = Witness()
    engine.generate = lambda batches, journal: iter(())  # type: ignore[method-assign]
    assert complete(engine, requests(1), ledger, "asking")["000"].failure == "the engine gave no answer"


def test_two_requests_with_one_key_are_a_mistake_of_the_caller(ledger: Path) -> None:
    with pytest.raises(ValueError, match="1 of 2 requests have the key of another one"):
        complete(Witness(), [request("a"), request("a", seed=1)], ledger, "asking")


def test_progress_counts_what_is_served_and_what_is_answered(ledger: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    steps: list[tuple[int, int]] = []

    @contextmanager
    def spy(description: str, total: int) -> Iterator[object]:
        yield lambda count=1: steps.append((count, total))

    monkeypatch.setattr("tunalm.calls.asking.progress", spy)
    complete(Witness(), requests(3), ledger, "asking")
    complete(Witness(), requests(5), ledger, "asking")
    assert [count for count, total in steps if total == 3 and count] == [2, 1]
    assert [count for count, total in steps if total == 5 and count] == [3, 1, 1]


@pytest.mark.parametrize(
    ("script", "said"),
    [
        (None, r"found 'file is not a database'; expected a ledger"),
        ("CREATE TABLE songs (name)", "no ledger of version 3"),
        ("CREATE TABLE attempts (id); PRAGMA user_version = 9", "no ledger of version 3"),
    ],
    ids=["no database", "another program's", "another version"],
)
def test_a_file_that_is_no_ledger_is_refused_and_left_alone(ledger: Path, script: str | None, said: str) -> None:
    if script is None:
        ledger.write_text("Dear diary, today I trained a model." * 40, encoding="utf-8")
    else:
        with closing(sqlite3.connect(ledger)) as connection:
            connection.executescript(script)
    before = ledger.read_bytes()
    with pytest.raises(StoreError, match=said) as caught:
        complete(Witness(), requests(1), ledger, "asking")
    assert "\n" not in str(caught.value)
    assert ledger.read_bytes() == before


def test_a_folder_that_does_not_exist_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="No such file or directory"):
        complete(Witness(), requests(1), tmp_path / "none" / "ledger.sqlite", "asking")


def test_an_error_while_filing_ends_what_the_engine_has_in_flight(
    ledger: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise StoreError(ledger, found="a full disk", expected="space", fix="Free some.")

    monkeypatch.setattr(Ledger, "file", full)
    engine = Witness()
    with pytest.raises(StoreError):
        complete(engine, requests(6), ledger, "asking")
    assert (engine.asked, engine.closed) == ([["000", "001"]], 1)


def _fill(ledger: Path, outcome: Path) -> None:
    """Ask for long answers in a process whose files cannot grow beyond 512 KiB, as on a full disk."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (512 << 10, 512 << 10))
    engine = ScriptedEngine.from_function(lambda request: "x" * 5000)
    try:
        complete(engine, requests(200), ledger, "asking")
    except StoreError as error:
        outcome.write_text(str(error), encoding="utf-8")


def test_a_full_disk_stops_with_one_line_and_harms_nothing(ledger: Path, tmp_path: Path) -> None:
    child = multiprocessing.get_context("fork").Process(target=_fill, args=(ledger, tmp_path / "outcome"))
    child.start()
    child.join(30)
    assert "Free some space" in (tmp_path / "outcome").read_text(encoding="utf-8")
    with closing(sqlite3.connect(ledger)) as connection:
        (kept,) = connection.execute("SELECT count(*) FROM requests WHERE state = 'ok'").fetchone()
    asked: list[str] = []

    def answer(request: Request) -> str:
        asked.append(request.key)
        return "x" * 5000

    assert len(complete(ScriptedEngine.from_function(answer), requests(200), ledger, "asking")) == 200
    assert 10 < kept < 200
    assert len(asked) == 200 - kept


def test_a_second_process_is_refused_and_the_first_one_loses_nothing(ledger: Path) -> None:
    command = [sys.executable, "-c", SECOND_PROCESS, str(ledger)]

    def answer(request: Request) -> str:
        if request.key == "003":
            refused.append(subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout)
        return "yes"

    refused: list[str] = []
    complete(ScriptedEngine.from_function(answer), requests(9), ledger, "asking")
    assert "a ledger in use (process " in refused[0]
    assert set(states(ledger).values()) == {"ok"}
    assert len(states(ledger)) == 9
    assert subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout == ""


SECOND_PROCESS = """
import sys
from pathlib import Path
from tunalm.calls.ledger import open_ledger
from tunalm.errors import StoreError
try:
    with open_ledger(Path(sys.argv[1]), "function"):
        pass
except StoreError as error:
    print(error)
"""


def test_a_file_system_without_locks_is_named(ledger: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_locks(*_: object) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr("fcntl.flock", no_locks)
    with pytest.raises(StoreError, match=r"a file system that does not lock files \('No locks available'\)"):
        complete(Witness(), requests(1), ledger, "asking")


def test_answers_are_on_the_disk_before_anybody_has_them(ledger: Path) -> None:
    with open_ledger(ledger, "witness") as kept:
        assert kept.ask("PRAGMA journal_mode") == [("wal",)]
        kept.file({"a": Completion(key="a", text="yes")})
        assert states(ledger) == {"a": "ok"}, "a kill loses nothing"
        log = ledger.with_name("ledger.sqlite-wal")
        assert log.stat().st_size > 0
    assert not log.exists(), "what was in the log is in the file, which was waited for"
