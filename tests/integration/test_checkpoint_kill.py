"""A training run that is killed many times, mostly while it saves, ends at the weights of a run left in peace."""

from __future__ import annotations

import gc
import json
import multiprocessing
import random
import time
from multiprocessing.context import ForkServerContext, ForkServerProcess
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from tunalm.recipe import Lists, Proxy, Train
from tunalm.store import StageContext
from tunalm.training import run_proxy, run_train
from tunalm.training.checkpoints import COMPLETE
from tunalm.training.metrics import read_metrics

STEPS_PER_KILL = 2.5
LONGEST_WAIT = 0.15


def train(kind: str, steps: int, model: Path, lists: Path, folder: Path) -> None:
    """What the child does: one stage that saves after every step, with dropout, so that the dice matter too."""
    gc.freeze()  # else the trainer's garbage collection goes through all that the libraries have allocated
    knobs: dict[str, Any] = {
        "start": str(model),
        "rankings": [Lists(source=str(lists))],
        "batch_size": 4,
        "token_budget": 64,
        "max_steps": steps,
        "learning_rate": 1e-3,
        "lora_rank": 2,
        "lora_dropout": 0.2,
        "save_steps": 1,
    }
    context = StageContext(folder, folder / "ledger.sqlite")
    if kind == "proxy":
        run_proxy(Proxy(held_out=0.2, **knobs), context)
    else:
        run_train(Train(**knobs), context)


@pytest.fixture
def processes(monkeypatch: pytest.MonkeyPatch) -> ForkServerContext:
    """Starts children that have all libraries loaded already."""
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.setenv("TUNALM_QUIET", "1")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["tunalm.training", "peft"])
    return context


@pytest.fixture
def lists(tmp_path: Path) -> Path:
    path = tmp_path / "lists.jsonl"
    responses = [{"text": "Yes, sure.", "rank": 0}, {"text": "No.", "rank": 1}, {"text": "Perhaps so.", "rank": 2}]
    rows = [
        {"id": str(n), "instruction": f"Say {n}.", "reference": f"It is {n}.", "responses": responses}
        for n in range(10)
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def checkpoints(folder: Path) -> dict[str, bool]:
    """Checkpoint folders by name, and whether each is complete."""
    return {path.name: (path / COMPLETE).exists() for path in (folder / "checkpoints").glob("checkpoint-*")}


def kill_in_the_next_save(child: ForkServerProcess, folder: Path, delay: float) -> None:
    """Wait for a checkpoint that was not there before, then a little, then kill."""
    before = checkpoints(folder).keys()
    while child.is_alive() and checkpoints(folder).keys() <= before:
        time.sleep(0.001)
    time.sleep(delay)
    child.kill()
    child.join()


@pytest.mark.parametrize(("kind", "kills"), [("train", 20), ("proxy", 6)])
def test_many_kills_while_saving_do_not_change_the_model(
    processes: ForkServerContext, tiny_model: Path, lists: Path, tmp_path: Path, kind: str, kills: int
) -> None:
    steps = round(STEPS_PER_KILL * kills)

    def start(folder: Path) -> ForkServerProcess:
        folder.mkdir(exist_ok=True)
        child = processes.Process(target=train, args=(kind, steps, tiny_model, lists, folder))
        child.start()
        return child

    peaceful, killed = tmp_path / "peaceful", tmp_path / "killed"
    undisturbed = start(peaceful)
    dice, torn = random.Random(0), 0
    for _ in range(kills):
        kill_in_the_next_save(start(killed), killed, delay=dice.uniform(0, LONGEST_WAIT))
        assert not (killed / "model").exists(), "the run ended before it was killed often enough"
        torn += not all(checkpoints(killed).values())
    for child, folder in ((undisturbed, peaceful), (start(killed), killed)):
        child.join()
        assert child.exitcode == 0, folder
    assert torn > kills // 5, "the kills missed the saving"
    expected, found = (load_file(folder / "model" / "model.safetensors") for folder in (peaceful, killed))
    assert expected.keys() == found.keys()
    assert all(torch.equal(expected[name], found[name]) for name in expected)
    assert [line["step"] for line in read_metrics(killed / "metrics.jsonl")] == list(range(1, steps + 1))
    records = (json.loads((folder / "training.json").read_text(encoding="utf-8")) for folder in (peaceful, killed))
    assert len({json.dumps(record.get("held_out")) for record in records}) == 1
    assert not (killed / "checkpoints").exists()
