"""The power goes at any moment: what somebody was told is on the disk, and the same command ends as if it had not."""

from __future__ import annotations

import json
import random
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest

from tests.integration.disks import ACKNOWLEDGED, Call, cut, record
from tests.integration.killing import witness
from tests.memory import MEMORY
from tests.tiny import save_tiny_model
from tunalm.calls.asking import complete
from tunalm.calls.spending import answers_in
from tunalm.engines.base import Completion, Request
from tunalm.engines.endpoint.engine import EndpointEngine
from tunalm.pipeline.folder import RunFolder
from tunalm.pipeline.running import run_recipe
from tunalm.recipe import EndpointSettings
from tunalm.recipe.loading import load_recipe
from tunalm.records import Message
from tunalm.store import digest, file_digest, make_folder, write_text
from tunalm.study.book import Book, Page, Save

pytestmark = pytest.mark.skipif(not shutil.which("strace"), reason="strace, which records what a run writes, is absent")
PROGRAM = "import sys; from tests.integration import test_power_cut as runs; runs.{}(*sys.argv[1:])"
Check = Callable[[Path, list[str]], None]


def tell(root: Path, what: str) -> None:
    """Somebody is told something, which must outlive a power cut from here on."""
    with open(root.with_name(ACKNOWLEDGED), "a", encoding="utf-8") as file:
        file.write(f"{what}\n")


def recorded(name: str, folder: Path, *words: str) -> list[Call]:
    """The calls of one of the runs below."""
    calls = record(PROGRAM.format(name), folder / "run", *words)
    assert {"sync", "acknowledge", "write"} <= {call.name for call in calls}
    return calls


def tried(calls: Sequence[Call], states: int, check: Check) -> None:
    """Check states that the disk may be in when the power goes."""
    seed = random.randrange(2**32)
    with tempfile.TemporaryDirectory(dir=MEMORY) as folder:
        count = cut(calls, states, seed, Path(folder, "disk"), check)
    syncs = sum(call.name == "sync" for call in calls)
    print(f"{count} states of a disk after {len(calls)} calls ({syncs} syncs), seed {seed}")
    assert count >= 0.9 * states


# Asking a server


def ask(root: Path, url: str, told: Callable[[str], None]) -> dict[str, Completion]:
    make_folder(root)
    engine = EndpointEngine(EndpointSettings(base_url=url, model="witness", concurrency=4, max_duplicates=1000))
    return complete(engine, REQUESTS, root / "ledger.sqlite", "asking", unusable=lambda each: told(each.key))


REQUESTS = [Request(key=f"{number}", messages=[Message(role="user", content=f"Say {number}.")]) for number in range(16)]


def asking(root: str, url: str) -> None:
    ask(Path(root), url, lambda key: tell(Path(root), key))


def no_answer_is_lost(states: int, folder: Path) -> None:
    with witness(folder / "log", 0.001) as url:
        expected = {key: each.text for key, each in ask(folder / "whole", url, lambda key: None).items()}

        def check(disk: Path, told: list[str]) -> None:
            run = disk / "run"
            identity = EndpointEngine(EndpointSettings(base_url=url, model="witness")).identity
            kept = answers_in(run / "ledger.sqlite", identity, REQUESTS)
            assert kept.keys() >= set(told), "an acknowledged answer is lost"
            assert {key: each.text for key, each in ask(run, url, lambda key: None).items()} == expected

        tried(recorded("asking", folder, url), states, check)


# Stages


def running(root: str, recipe: str) -> None:
    close = RunFolder.close_stage

    def closed(run: RunFolder, stage: str, *rest: Any) -> None:
        close(run, stage, *rest)
        tell(Path(root), stage)

    with patch.object(RunFolder, "close_stage", closed):
        run_recipe(load_recipe(recipe), root)


PRODUCTS = ("own/responses.jsonl", "ranked/rankings.jsonl")


def no_stage_is_lost(states: int, folder: Path) -> None:
    rows = [{"id": str(number), "instruction": f"Say it {number} times, please."} for number in range(3)]
    (folder / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    own = {"kind": "sample", "data": str(folder / "rows.jsonl"), "engine": {"kind": "scripted"}, "logprobs": True}
    ranked = {"kind": "rank", "by": "likelihood", "responses": "own"}
    recipe = folder / "recipe.yaml"
    recipe.write_text(json.dumps({"name": "cut", "stages": {"own": own, "ranked": ranked}}), encoding="utf-8")
    run_recipe(load_recipe(recipe), folder / "whole")

    def check(disk: Path, told: list[str]) -> None:
        run = RunFolder(disk / "run")
        for stage in told:
            assert run.state(stage).done, "a stage that was closed is open"
        with patch(
            "tunalm.reporting.report.write_report", lambda run, published: write_text(run.path / "report.html", "")
        ):
            run_recipe(load_recipe(recipe), run.path)
        for name in PRODUCTS:
            assert (run.path / name).read_bytes() == (folder / "whole" / name).read_bytes()

    tried(recorded("running", folder, str(recipe)), states, check)


# Checkpoints


def training(root: str, model: str, lists: str) -> None:
    from tunalm import training as room
    from tunalm.calls.context import StageContext
    from tunalm.recipe import Lists, Train
    from tunalm.training import checkpoints, fitting

    folder, seal, settle = Path(root), checkpoints.seal, checkpoints.settle
    make_folder(folder)

    def sealed(checkpoint: Path) -> None:
        seal(checkpoint)
        tell(folder, f"{checkpoint.name} {content(checkpoint)}")

    def settled(draft: Path, final: Path) -> None:
        settle(draft, final)
        tell(folder, f"model {content(final)}")

    with patch.object(checkpoints, "seal", sealed), patch.object(fitting, "settle", settled):
        knobs: dict[str, Any] = {"batch_size": 2, "max_steps": 3, "save_steps": 1}
        settings = Train(start=model, rankings=[Lists(source=lists)], **knobs)
        room.run(settings, StageContext(folder, folder / "ledger.sqlite"))


def content(folder: Path) -> str:
    """Hash of the files in a folder, but for the mark that it is complete."""
    return digest([(path.name, file_digest(path)) for path in sorted(folder.iterdir()) if path.name != "COMPLETE"])


def no_checkpoint_is_half(states: int, folder: Path) -> None:
    from tunalm.training.checkpoints import newest_checkpoint

    responses = [{"text": "yes", "rank": 0}, {"text": "no", "rank": 1}]
    lists = [{"id": f"{n}", "instruction": f"Say {n}.", "reference": "yes", "responses": responses} for n in range(6)]
    (folder / "lists.jsonl").write_text("".join(json.dumps(row) + "\n" for row in lists), encoding="utf-8")
    model = save_tiny_model(folder / "tiny")
    calls = recorded("training", folder, str(model), str(folder / "lists.jsonl"))
    told = b"".join(call.data for call in calls if call.name == "acknowledge").decode().splitlines()
    whole = dict(line.split() for line in told)
    assert whole.keys() == {"checkpoint-1", "checkpoint-2", "checkpoint-3", "model"}

    def check(disk: Path, told: list[str]) -> None:
        run = disk / "run"
        names = [line.split()[0] for line in told]
        if (run / "model").is_dir():
            assert content(run / "model") == whole["model"], "a model is taken as finished that is not"
            return
        assert "model" not in names, "a finished model is lost"
        newest = newest_checkpoint(run / "checkpoints")
        assert newest is None or content(newest) == whole[newest.name], "a checkpoint is taken as complete that is not"
        assert not names or (newest is not None and newest.name >= names[-1]), "a checkpoint is lost"

    tried(calls, states, check)


# The answers of a study


def studying(root: str) -> None:
    folder = Path(root)
    book = Book.make(folder / "study.sqlite", "Yes?", {"ann": "a", "bob": "b"}, pages())
    tell(folder, "made")
    for number in range(4):
        book.opened("ann", number)
        book.save(Save("ann", number, {"A": 1, "B": 2}, f"comment {number} " * 40, 3.0, submitted=True))
        tell(folder, f"{number}")


def pages() -> Iterator[Page]:
    yield from (
        Page(rater, number, "Which? " * 99, {"A": "x", "B": "y"}) for rater in ("ann", "bob") for number in range(4)
    )


def no_order_is_lost(states: int, folder: Path) -> None:
    def check(disk: Path, told: list[str]) -> None:
        path = disk / "run" / "study.sqlite"
        if not path.exists():
            assert not told, "a study is lost"
            Book.make(path, "Yes?", {"ann": "a", "bob": "b"}, pages())
        book = Book(path)
        assert (book.pages("ann"), book.rater("b"), book.consent) == (4, "bob", "Yes?"), "half a study"
        saved = book.latest()
        assert {number for _, number in saved} >= {int(number) for number in told[1:]}, "an order is lost"
        assert all(save.comment == f"comment {number} " * 40 for (_, number), save in saved.items())
        book.save(Save("bob", 0, {"A": 1, "B": 1}, "", 1.0, submitted=False))

    tried(recorded("studying", folder), states, check)


PROMISES = [(no_answer_is_lost, 0.45), (no_stage_is_lost, 0.1), (no_checkpoint_is_half, 0.15), (no_order_is_lost, 0.3)]


@pytest.mark.slow
@pytest.mark.parametrize(("promise", "share"), PROMISES, ids=lambda each: getattr(each, "__name__", ""))
def test_a_power_cut(promise: Callable[[int, Path], None], share: float, tmp_path: Path) -> None:
    promise(round(250 * share), tmp_path)


@pytest.mark.soak
@pytest.mark.timeout(7200)
@pytest.mark.parametrize(("promise", "share"), PROMISES, ids=lambda each: getattr(each, "__name__", ""))
def test_ten_thousand_power_cuts(promise: Callable[[int, Path], None], share: float, tmp_path: Path) -> None:
    promise(round(12_000 * share), tmp_path)
