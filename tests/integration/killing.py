"""Killing a run that asks a server, again and again, and comparing what it knows with what the server saw."""

from __future__ import annotations

import json
import os
import random
import signal
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from tests.integration.forks import Forks, forks
from tests.integration.servers.witness import Call, read_log
from tunalm.engines.endpoint.calls import group

ROOT = Path(__file__).resolve().parents[2]
RESPONSES = "own/responses.jsonl"


@contextmanager
def witness(log: Path, seconds: float) -> Iterator[str]:
    """Address of a server that notes every call."""
    command = [sys.executable, "-m", "tests.integration.servers.witness", str(log), str(seconds)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT) as server:
        try:
            assert server.stdout is not None
            yield server.stdout.readline().strip()
        finally:
            server.kill()


RUN = """
# A line is a folder, the largest size of a file, and a file for what is printed.
import os, resource, sys
import aiohttp, tunalm.engines.endpoint.engine, tunalm.pipeline.planning
import tunalm.reporting.report, tunalm.sampling.sampler
from tunalm.cli.app import main
from tunalm.measures.rouge import rouge_l

rouge_l("warm up the stemmer", "once and not in every child")

def work(line):
    folder, largest, printed = line.split("\\t")
    handle = os.open(printed, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(handle, 1)
    os.dup2(handle, 2)
    if int(largest):
        resource.setrlimit(resource.RLIMIT_FSIZE, (int(largest), int(largest)))
    sys.argv = ["tunalm", "--quiet", "run", sys.argv[1], "--run-dir", folder]
    main()
"""


class Runs:
    """`tunalm run` of a recipe that asks a server, again and again."""

    calls_per_prompt = 4
    result = RESPONSES
    """What the run makes, in its folder."""
    asks = "Say "
    """What a prompt begins with, in the calls that count."""
    bytes_per_call = 150
    """Of the server's log."""

    def __init__(self, recipe: Path, log: Path, runs: Forks) -> None:
        self._recipe, self._log, self._runs = recipe, log, runs

    def run(self, folder: Path, largest: int = 0) -> tuple[int, str]:
        """Run to the end, with files of at most so many bytes (0: of any size); returns exit code and output."""
        status = self._runs.run(self._line(folder, largest))
        assert os.WIFEXITED(status), status
        return os.WEXITSTATUS(status), self._printed()

    def finish(self, folder: Path) -> None:
        """Run to the end, which must be a good one."""
        code, printed = self.run(folder)
        assert code == 0, printed

    def kill(self, folder: Path, calls: int, later: float) -> None:
        """Kill a run so many seconds after it made so many calls."""
        size = self.size()
        child = self._runs.start(self._line(folder, 0))
        deadline = time.monotonic() + 300
        while self.size() < size + calls * self.bytes_per_call:
            assert time.monotonic() < deadline, self._printed()
            time.sleep(0.001)
        time.sleep(later)
        os.kill(child, signal.SIGKILL)
        status = self._runs.status()
        assert os.WIFSIGNALED(status), f"it had ended: {self._printed()}"

    def _line(self, folder: Path, largest: int) -> str:
        return f"{folder}\t{largest}\t{self._output}"

    @property
    def _output(self) -> Path:
        return self._recipe.with_name("printed.txt")

    def _printed(self) -> str:
        return self._output.read_text(encoding="utf-8")

    def size(self) -> int:
        """Bytes of the server's log."""
        return self._log.stat().st_size if self._log.exists() else 0

    def calls(self) -> list[Call]:
        """What the server was asked, but for what finds out what it can do."""
        return [call for call in read_log(self._log) if call.prompt.startswith(self.asks)]


class Judging(Runs):
    """The same with a judge, who is asked about each list in four orders."""

    result = "own/rankings.jsonl"
    asks = "You are given an instruction "
    bytes_per_call = 3000


@contextmanager
def sampling(
    folder: Path, address: str, log: Path, prompts: int, in_flight: int, max_duplicates: int
) -> Iterator[Runs]:
    """A recipe that draws four responses to each of so many prompts."""
    rows = [{"id": str(number), "instruction": f"Say {number}."} for number in range(prompts)]
    stage = {"kind": "sample", "data": _written(folder, rows), "logprobs": True}
    with _running(Runs, folder, log, stage, _engine(address, in_flight, max_duplicates)) as runs:
        yield runs


@contextmanager
def judging(folder: Path, address: str, log: Path, prompts: int, in_flight: int, max_duplicates: int) -> Iterator[Runs]:
    """A recipe that has so many lists of four responses judged."""
    rows = [
        {
            "id": str(number),
            "instruction": f"Say {number}.",
            "responses": [{"text": f"{number} it is, {word}."} for word in ("sir", "madam", "folks", "dear reader")],
        }
        for number in range(prompts)
    ]
    stage = {"kind": "rank", "by": "judge", "responses": _written(folder, rows), "canaries": 0}
    with _running(Judging, folder, log, stage, _engine(address, in_flight, max_duplicates)) as runs:
        yield runs


def _written(folder: Path, rows: list[dict[str, Any]]) -> str:
    (folder / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return str(folder / "rows.jsonl")


def _engine(address: str, in_flight: int, max_duplicates: int) -> dict[str, Any]:
    return {
        "kind": "endpoint",
        "base_url": address,
        "model": "witness",
        "concurrency": in_flight,
        "max_duplicates": max_duplicates,
    }


@contextmanager
def _running(
    runs: type[Runs], folder: Path, log: Path, stage: dict[str, Any], engine: dict[str, Any]
) -> Iterator[Runs]:
    recipe = folder / "recipe.yaml"
    stages = {"own": {**stage, "engine": engine}}
    recipe.write_text(yaml.safe_dump({"name": "kill", "stages": stages}), encoding="utf-8")
    with forks(RUN, recipe) as started:
        yield runs(recipe, log, started)


@dataclass(frozen=True)
class Kept:
    """What a ledger has, read by a program that is not tunalm."""

    replies: dict[int, str]
    """By the number of the call at the server."""
    open_calls: int
    """Sent, and not heard of again."""
    doubtful: int
    """Requests of unknown outcome, those of the open calls included."""
    lost: dict[int, int]
    """By the number of the call that answered a request: how many calls for it nobody knows the outcome of."""
    duplicates: int


def read_ledger(folder: Path) -> Kept:
    """Read the ledger of a run."""
    ledger = folder / "ledger.sqlite"
    if not ledger.exists():
        return NOTHING
    with closing(sqlite3.connect(f"file:{ledger}?mode=ro", uri=True)) as link:
        assert link.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        if not link.execute("SELECT name FROM sqlite_master WHERE name = 'calls'").fetchall():
            return NOTHING
        replies, lost = {}, {}
        for completion, times in link.execute("SELECT completion, lost FROM requests WHERE state = 'ok'"):
            number = json.loads(completion)["prompt_tokens"]
            replies[number], lost[number] = completion, times
        ((count,),) = link.execute("SELECT count(*) FROM calls WHERE ended IS NULL").fetchall()
        ((doubtful,),) = link.execute(
            "SELECT count(*) FROM requests LEFT JOIN calls ON id = call WHERE state = 'unknown' OR"
            " (state = 'sent' AND ended IS NULL)"
        ).fetchall()
        ((twice,),) = link.execute("SELECT coalesce(sum(duplicates), 0) FROM calls").fetchall()
    return Kept(replies, count, doubtful, lost, twice)


NOTHING = Kept({}, 0, 0, {}, 0)


Opening = Callable[[Path, str, Path, int, int, int], AbstractContextManager[Runs]]


def kill_and_compare(
    folder: Path, *, kills: int, prompts: int, in_flight: int, seconds: float, opening: Opening = sampling
) -> str:
    """Kill a run so many times at random moments, let it end, and hold it against the server's log and a whole run.

    Args:
        folder: an empty one.
        kills: how many.
        prompts: of the recipe.
        in_flight: calls at once.
        seconds: that the server takes for a reply.
        opening: makes the recipe.

    Returns:
        The counts, in words.
    """
    seed = random.randrange(2**32)
    print(f"seed of the moments: {seed}")
    moments = random.Random(seed)
    log, killed, whole = folder / "witness.log", folder / "killed", folder / "whole"
    open_calls = in_flight + group(in_flight)
    most = (
        2 * Runs.calls_per_prompt * prompts // (kills + 1)
    )  # calls of one life: together the lives do not suffice for all
    done = NOTHING
    with (
        witness(log, seconds) as address,
        opening(folder, address, log, prompts, in_flight, kills * open_calls) as stage,
    ):
        for _ in range(kills):
            seen = len(stage.calls())
            stage.kill(killed, moments.randint(0, most // 2), moments.uniform(0, 2 * seconds))
            calls, now = stage.calls(), read_ledger(killed)
            asked = {call.asked for call in calls[seen:]}
            assert not asked & {call.asked for call in calls if call.number in done.replies}, "a finished call repeated"
            assert done.replies.items() <= now.replies.items(), "an acknowledged reply was lost"
            assert now.open_calls <= open_calls
            before = {call.asked for call in calls[:seen]}
            assert len(asked & before) <= done.doubtful, "a call was repeated that was not in flight at a kill"
            assert not (killed / stage.result).exists()
            done = now
        seen = len(stage.calls())
        stage.finish(killed)
        calls, end = stage.calls(), read_ledger(killed)
        asked = {call.asked for call in calls[seen:]}
        assert not asked & {call.asked for call in calls if call.number in done.replies}, "a finished call repeated"
        stage.finish(whole)
        straight = len(stage.calls()) - len(calls)
    times = Counter(call.asked for call in calls)
    repeats = {digest: count - 1 for digest, count in times.items() if count > 1}
    marked = {call.asked for call in calls if end.lost.get(call.number)}
    assert end.replies.keys() <= {call.number for call in calls if call.answered}
    assert repeats.keys() <= marked, "a call was repeated whose outcome was not unknown"
    assert sum(repeats.values()) <= end.duplicates <= kills * open_calls
    assert len(times) == len(end.replies) == straight == Runs.calls_per_prompt * prompts
    assert (killed / stage.result).read_bytes() == (whole / stage.result).read_bytes()
    return (
        f"{kills} kills of {prompts} prompts x 4 with {in_flight} in flight: 0 of {len(end.replies)} acknowledged "
        f"replies lost, 0 finished calls repeated, {sum(repeats.values())} calls of unknown outcome repeated (at most "
        f"{open_calls} per kill), {end.duplicates} marked; the file is that of a run that was not killed"
    )
