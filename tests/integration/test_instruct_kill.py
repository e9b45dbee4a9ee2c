"""Writing instructions is killed with SIGKILL at random moments and ends with the same files as if it had not been."""

from __future__ import annotations

import json
import os
import random
import signal
import time
from collections import Counter
from pathlib import Path

from tests.integration.forks import forks

KILLS, UNIT = 8, 2

RUN = '''
import random, sys, time
from pathlib import Path
from tunalm.calls import context
from tunalm.engines.scripted import ScriptedEngine
from tunalm.pipeline import running
from tunalm.recipe.loading import build_recipe

seeds, log = sys.argv[1:3]
running.publish = lambda run, recipe, found: None


def answer(request):
    """Take a little while, and note in a file of our own what was asked."""
    with open(log, "a", encoding="utf-8") as file:
        file.write(request.key + "\\n")
    time.sleep(0.003)
    dice, step = random.Random(request.messages[-1].text), request.key.partition("/")[0]
    if step != "write":
        return dice.choice(["Yes", "No"]) if step == "classify" else "Output: done\\nClass label: done"
    tasks = [" ".join(f"w{dice.randrange(60)}" for _ in range(5)) for _ in range(3)]
    return "\\n".join(f"{number}. {task}" for number, task in enumerate(tasks, 9))


context.open_engine = lambda settings, **_: ScriptedEngine.from_function(answer, batch_size=2)
new = {"kind": "instruct", "engine": {"kind": "scripted"}, "seeds": seeds, "num_instructions": 60}
recipe = build_recipe({"name": "kill", "stages": {"new": new}})

def work(line):
    running.run_recipe(recipe, Path(line))
'''


def test_kills_repeat_what_was_in_flight_and_change_nothing(tmp_path: Path) -> None:
    seeds, log = tmp_path / "seeds.jsonl", tmp_path / "asked.txt"
    rows = [
        {"instruction": f"People's task s{number}.", "output": "x", "is_classification": number % 2 == 0}
        for number in range(10)
    ]
    seeds.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    number = random.randrange(2**32)
    print(f"seed of the moments: {number}")
    moments = random.Random(number)
    killed, whole = tmp_path / "killed", tmp_path / "whole"

    def asked() -> list[str]:
        return log.read_text(encoding="utf-8").splitlines() if log.exists() else []

    with forks(RUN, seeds, log) as runs:
        for _ in range(KILLS):
            before, more = len(asked()), moments.randint(1, 10)
            child = runs.start(str(killed))
            deadline = time.monotonic() + 60
            while len(asked()) < before + more:
                assert time.monotonic() < deadline
                time.sleep(0.0005)
            time.sleep(moments.uniform(0, 0.01))
            os.kill(child, signal.SIGKILL)
            assert runs.status() == signal.SIGKILL
        assert runs.run(str(killed)) == 0
        times = Counter(asked())
        log.unlink()
        assert runs.run(str(whole)) == 0
        assert set(asked()) == set(times), "prompts would have been others"
    assert sum(times.values()) - len(times) <= KILLS * UNIT
    for name in ("instructions.jsonl", "rejected.jsonl", "replies.jsonl"):
        assert (killed / "new" / name).read_bytes() == (whole / "new" / name).read_bytes()
    assert len((whole / "new" / "instructions.jsonl").read_text(encoding="utf-8").splitlines()) > 60
