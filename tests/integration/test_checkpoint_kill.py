"""A training run that is killed many times, mostly while it saves, ends at the weights of a run left in peace.

The child kills itself as it touches a checkpoint's files, so that it is hit at the same places however fast the machine
is. Every other time it dies there and then, before the first checkpoint is complete, else later, in the middle of
anything, often with a checkpoint or two done.
"""

from __future__ import annotations

import gc
import json
import multiprocessing
import os
import random
import signal
import sys
import threading
from importlib.util import find_spec
from multiprocessing.context import ForkServerContext, ForkServerProcess
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from tests.tiny import save_tiny_scorer
from tunalm import training
from tunalm.calls.context import StageContext
from tunalm.recipe import Lists, Proxy, Reinforce, Train
from tunalm.training import checkpoints as checkpoints_of
from tunalm.training.checkpoints import COMPLETE
from tunalm.training.metrics import read_metrics

STEPS_PER_KILL = 2.5
MOST_TOUCHES = {"train": 20, "proxy": 20, "ppo": 7}
"""Fewer than it takes to complete one checkpoint."""
LONGEST_WAIT = 0.05
"""Seconds; a step and its checkpoint take about as long."""


def die_while_saving(touches: int, later: float) -> None:
    """Kill this process, at once or later (seconds), when it has touched a new checkpoint so often (0: never)."""
    number, saving = 0, False

    def kill() -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    def watch(event: str, arguments: tuple[object, ...]) -> None:
        nonlocal number, saving
        if event in ("open", "os.mkdir", "os.rename") and "/checkpoint-" in str(arguments[0]):
            saving = saving or event == "os.mkdir"
            number += saving
            if saving and number == touches:
                threading.Timer(later, kill).start() if later else kill()

    sys.addaudithook(watch)


def train(kind: str, steps: int, model: Path, lists: Path, folder: Path, touches: int, later: float) -> None:
    """What the child does: one stage that saves after every step, with dropout, so that the dice matter too."""
    gc.freeze()  # else the trainer's garbage collection goes through all that the libraries have allocated
    die_while_saving(touches, later)
    context = StageContext(folder, folder / "ledger.sqlite")
    if kind == "ppo":
        reinforce(steps, model, lists, context)
        return
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
    training.run(Proxy(held_out=0.2, **knobs) if kind == "proxy" else Train(**knobs), context)


def reinforce(rollouts: int, model: Path, proxy: Path, context: StageContext) -> None:
    """The same by PPO, which saves by the clock and at every tenth of a run otherwise."""
    checkpoints_of.SECONDS_BETWEEN_CHECKPOINTS, checkpoints_of.CHECKPOINTS_PER_RUN = 0.0, rollouts
    few: dict[str, Any] = {"max_new_tokens": 3, "batch_size": 3, "learning_rate": 1e-3, "max_steps": rollouts}
    ppo = {"rollout_size": 3, "epochs_per_rollout": 1, "sequences_at_once": 3}
    models = {"start": str(model), "reward": str(proxy), "data": {"source": "checkable:train", "limit": 8}}
    training.run(Reinforce.model_validate({"method": "ppo", **models, **few, "ppo": ppo}), context)


@pytest.fixture
def processes(monkeypatch: pytest.MonkeyPatch) -> ForkServerContext:
    """Starts children that have all libraries loaded already."""
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.setenv("TUNALM_QUIET", "1")
    context = multiprocessing.get_context("forkserver")
    own = ["tunalm.training.runs", *(["tunalm.training.ppo.run"] if find_spec("torchrl") else [])]
    context.set_forkserver_preload([*own, "peft", "transformers.models.llama.modeling_llama"])
    return context


def checkpoints(folder: Path) -> dict[str, bool]:
    """Checkpoint folders by name, and whether each is complete."""
    return {path.name: (path / COMPLETE).exists() for path in (folder / "checkpoints").glob("checkpoint-*")}


@pytest.mark.parametrize(("kind", "kills"), [("train", 20), ("proxy", 6), ("ppo", 20)])
def test_many_kills_while_saving_do_not_change_the_model(
    processes: ForkServerContext, tiny_model: Path, ranked_lists: Path, tmp_path: Path, kind: str, kills: int
) -> None:
    steps = round(STEPS_PER_KILL * kills)
    learned_from = ranked_lists
    if kind == "ppo":
        pytest.importorskip("torchrl")
        learned_from = save_tiny_scorer(tmp_path / "proxy", tiny_model, max_length=512)

    def start(folder: Path, touches: int = 0, later: float = 0.0) -> ForkServerProcess:
        folder.mkdir(exist_ok=True)
        child = processes.Process(target=train, args=(kind, steps, tiny_model, learned_from, folder, touches, later))
        child.start()
        return child

    peaceful, killed = tmp_path / "peaceful", tmp_path / "killed"
    undisturbed = start(peaceful)
    dice = random.Random(0)
    for number in range(kills):
        at_once = number % 2 == 0
        touches = dice.randint(1, MOST_TOUCHES[kind] * (1 if at_once else 2))
        child = start(killed, touches, 0.0 if at_once else dice.uniform(0, LONGEST_WAIT))
        child.join()
        assert child.exitcode == -signal.SIGKILL
        assert not (killed / "model").exists(), "the run ended before it was killed often enough"
        assert not (at_once and all(checkpoints(killed).values())), "it was to die while it saved"
    assert any(checkpoints(killed).values()), "the last run was to have something to go on from"
    for child, folder in ((undisturbed, peaceful), (start(killed), killed)):
        child.join()
        assert child.exitcode == 0, folder
    expected, found = (load_file(folder / "model" / "model.safetensors") for folder in (peaceful, killed))
    assert expected.keys() == found.keys()
    assert all(torch.equal(expected[name], found[name]) for name in expected)
    assert not (killed / "checkpoints").exists()
    assert [line["step"] for line in read_metrics(killed / "metrics.jsonl")] == list(range(1, steps + 1))
    if kind == "ppo":
        assert read_metrics(killed / "metrics.jsonl") == read_metrics(peaceful / "metrics.jsonl")
        return
    records = (json.loads((folder / "training.json").read_text(encoding="utf-8")) for folder in (peaceful, killed))
    assert len({json.dumps(record.get("held_out")) for record in records}) == 1
