"""Sampling is killed with SIGKILL at 20 random moments and ends with the same file as if it had not been."""

from __future__ import annotations

import json
import os
import random
import signal
import sqlite3
import time
from contextlib import closing
from pathlib import Path

from tests.integration.forks import Forks, forks

KILLS = 20
UNIT = 2
ROWS = 50
MOST_ANSWERS = 15
"""Of one life; twenty of them do not suffice for all."""
SECONDS_PER_ANSWER = 0.002

RUN = '''
import sys, time
from pathlib import Path
from tunalm.pipeline import running as pipeline
from tunalm.engines.scripted import ScriptedEngine
from tunalm.recipe.loading import build_recipe
from tunalm.measures.rouge import rouge_l
from tunalm.calls import context

rouge_l("warm up the stemmer", "once and not in every child")
data, log, seconds, unit = sys.argv[1:3] + [float(sys.argv[3]), int(sys.argv[4])]
words = "the old cat runs here a new dog sleeps there one big bird eats now".split()


def answer(request):
    """Take a little while, and note in a file of our own what was asked."""
    with open(log, "a", encoding="utf-8") as file:
        file.write(request.key + "\\n")
    time.sleep(seconds)
    number = request.seed
    return " ".join([words[number % 5], words[number // 5 % 5 + 5], words[number // 25 % 5 + 10]])


pipeline._publish = lambda run, recipe, states: None
context.open_engine = lambda settings, **_: ScriptedEngine.from_function(answer, batch_size=unit)
own = {"kind": "sample", "engine": {"kind": "scripted"}, "data": data, "max_rouge_l": 0.3}
recipe = build_recipe({"name": "kill", "stages": {"own": own}})

def work(line):
    pipeline.run_recipe(recipe, Path(line))
'''


class Stage:
    """Starts runs of the stage, one after the other."""

    def __init__(self, runs: Forks, log: Path) -> None:
        self.runs = runs
        self.log = log

    def run(self, folder: Path) -> None:
        """Run the stage to its end."""
        assert self.runs.run(str(folder)) == 0

    def run_and_kill(self, folder: Path, answers: int, later: float) -> None:
        """Run the stage and kill it so many seconds after it asked for so many answers."""
        child = self.runs.start(str(folder))
        deadline = time.monotonic() + 30
        while answers and len(self._noted()) < answers:
            assert time.monotonic() < deadline
            time.sleep(0.0005)
        time.sleep(later)
        os.kill(child, signal.SIGKILL)
        assert self.runs.status() == signal.SIGKILL

    def asked(self) -> list[str]:
        """Keys that the engine was asked since this was last called."""
        keys = self._noted()
        self.log.unlink(missing_ok=True)
        return keys

    def _noted(self) -> list[str]:
        return self.log.read_text(encoding="utf-8").splitlines() if self.log.exists() else []


def answers(ledger: Path) -> dict[str, str]:
    """What is committed, read by a program that is not ours."""
    if not ledger.exists():
        return {}
    with closing(sqlite3.connect(f"file:{ledger}?mode=ro", uri=True)) as connection:
        if not connection.execute("SELECT name FROM sqlite_master WHERE name = 'requests'").fetchone():
            return {}
        rows = connection.execute("SELECT key, completion FROM requests WHERE state = 'ok'").fetchall()
    assert len(dict(rows)) == len(rows)
    return dict(rows)


def test_no_finished_response_is_lost_or_asked_for_again(tmp_path: Path) -> None:
    data = tmp_path / "rows.jsonl"
    rows = [{"id": str(number), "instruction": f"Say {number}."} for number in range(ROWS)]
    data.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    seed = random.randrange(2**32)
    print(f"seed of the moments: {seed}")
    moments = random.Random(seed)
    whole, killed, made = tmp_path / "whole", tmp_path / "killed", "own/responses.jsonl"
    kept: dict[str, str] = {}
    in_flight = 0
    log = tmp_path / "asked.txt"
    with forks(RUN, data, log, SECONDS_PER_ANSWER, UNIT) as runs:
        stage = Stage(runs, log)
        for _ in range(KILLS):
            stage.run_and_kill(killed, moments.randint(0, MOST_ANSWERS), later=moments.uniform(0, 0.02))
            asked, now = set(stage.asked()), answers(killed / "ledger.sqlite")
            assert not asked & kept.keys(), "a finished response was asked for again"
            assert kept.items() <= now.items(), "a finished response was lost"
            in_flight += len(asked - now.keys())
            kept = now
            assert not (killed / made).exists()
        stage.run(killed)
        assert not set(stage.asked()) & kept.keys()
        stage.run(whole)
        everything = stage.asked()
    print(f"{len(kept)} of {len(everything)} answers were kept over {KILLS} kills, {in_flight} were asked for again")
    assert KILLS < len(kept) < len(everything)
    assert in_flight <= UNIT * KILLS
    assert answers(killed / "ledger.sqlite") == answers(whole / "ledger.sqlite")
    assert (killed / made).read_bytes() == (whole / made).read_bytes()
