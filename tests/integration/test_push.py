"""`tunalm push` to a hub on this machine."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from huggingface_hub import ModelCard, constants

from tests.integration.servers import hub
from tests.integration.servers.hub import TOKEN, Shelves
from tunalm.errors import HubError, RecipeError, StoreError
from tunalm.pipeline.hub import Parcel, pack, send
from tunalm.pipeline.running import run_recipe
from tunalm.recipe.loading import build_recipe
from tunalm.records import Ranking
from tunalm.store import read_rows

Hub = tuple[str, Shelves]


@pytest.fixture(scope="module")
def run(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run with a model, lists by a model of the run, and an evaluation."""
    data = {"source": "checkable:train", "limit": 3}
    stages = {
        "sft": {"kind": "sft", "model": str(tiny_model), "data": data, "epochs": 1, "batch_size": 2},
        "own": {"kind": "sample", "engine": "sft", "data": data, "max_new_tokens": 4},
        "checked": {"kind": "rank", "by": "verifier", "responses": "own"},
        "scores": {
            "kind": "evaluate",
            "models": ["sft"],
            "benchmarks": [{"name": "checkable", "data": {"source": "checkable:heldout", "limit": 4}}],
            "max_new_tokens": 4,
            "bootstrap_samples": 100,
        },
    }
    folder = tmp_path_factory.mktemp("pushed") / "run"
    run_recipe(build_recipe({"name": "small", "stages": stages}), folder)
    return folder


@pytest.fixture
def served(monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    """A hub, and a token for it; large files go by LFS, which a hub without Xet storage knows."""
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
    with hub.serving() as (address, shelves):
        yield address, shelves


def environment(tmp_path: Path) -> dict[str, str]:
    """Of a process of its own."""
    return {**os.environ, "HF_TOKEN": TOKEN, "HF_HOME": str(tmp_path / "hf"), "HF_HUB_DISABLE_XET": "1"}


def command(*words: str | Path) -> list[str]:
    return [sys.executable, "-m", "tunalm", "push", *map(str, words)]


def packed(run: Path, stage: str, room: Path) -> Parcel:
    room.mkdir(exist_ok=True)
    return pack(run, stage, room)


def test_a_model_arrives_byte_for_byte_with_its_card(run: Path, served: Hub, tmp_path: Path) -> None:
    address, shelves = served
    place = send(packed(run, "sft", tmp_path), "researcher/small", endpoint=address)
    assert place == f"{address}/researcher/small"
    arrived = shelves.repositories["models/researcher/small"]
    folder = run / "sft" / "model"
    assert arrived.files == {path.name: path.read_bytes() for path in folder.iterdir()}
    assert len(arrived.files["model.safetensors"]) > hub.LARGE
    assert not arrived.private
    card = ModelCard(arrived.files["README.md"].decode())
    assert "library_name: transformers" in card.content
    assert "| checkable | success |" in card.text


def test_lists_arrive_as_a_data_set_without_the_places_they_were_made_in(
    run: Path, served: Hub, tmp_path: Path
) -> None:
    address, shelves = served
    parcel = packed(run, "checked", tmp_path)
    send(parcel, "researcher/lists", private=True, endpoint=address)
    arrived = shelves.repositories["datasets/researcher/lists"]
    assert arrived.private
    assert arrived.files == {name: (tmp_path / name).read_bytes() for name in ("README.md", "rankings.jsonl")}
    assert str(run).encode() in (run / "checked" / "rankings.jsonl").read_bytes()
    assert str(run).encode() not in b"".join(arrived.files.values())
    sent, kept = (read_rows(folder / "rankings.jsonl", Ranking) for folder in (tmp_path, run / "checked"))
    texts = [[[(each.text, each.rank) for each in row.responses] for row in rows] for rows in (sent, kept)]
    assert texts[0] == texts[1]
    assert {each.model for row in sent for each in row.responses} == {"sft"}


def test_what_has_arrived_is_not_sent_again_after_a_kill(run: Path, tmp_path: Path) -> None:
    with hub.serving() as (address, shelves):
        shelves.holds = 1
        words = command(run, "sft", "researcher/small")
        named = environment(tmp_path) | {"HF_ENDPOINT": address}
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True, "env": named}
        first = subprocess.Popen(words, **pipes)  # type: ignore[call-overload]
        assert shelves.held.wait(60)
        first.send_signal(signal.SIGKILL)
        output, _ = first.communicate()
        repository = shelves.repositories["models/researcher/small"]
        assert repository.commits == 0
        for _ in range(2):
            again = subprocess.run(words, **pipes, timeout=60, check=False)  # type: ignore[call-overload]
            assert again.returncode == 0, again.stdout
            output += again.stdout
        assert repository.files == {path.name: path.read_bytes() for path in (run / "sft" / "model").iterdir()}
        assert len(shelves.arrivals) == len(set(shelves.arrivals)) == 1
        assert f"{address}/researcher/small" in output
        assert TOKEN not in output


def test_a_dry_run_lists_and_sends_nothing(run: Path, served: Hub, tmp_path: Path) -> None:
    address, shelves = served
    words = command(run, "sft", "researcher/small", "--dry-run", "--endpoint", address)
    done = subprocess.run(words, capture_output=True, text=True, timeout=60, check=True, env=environment(tmp_path))
    folder = run / "sft" / "model"
    sizes = {path.name: f"{path.stat().st_size:,}" for path in folder.iterdir()}
    listed = dict(line.split()[::-1] for line in done.stdout.splitlines()[:-1])
    assert listed == sizes
    assert "for the model researcher/small" in done.stdout
    assert shelves.log == []


def test_without_a_token_nothing_is_sent(run: Path, tmp_path: Path) -> None:
    with hub.serving() as (address, shelves):
        words = command(run, "sft", "researcher/small", "--endpoint", address)
        plain = {key: value for key, value in environment(tmp_path).items() if key != "HF_TOKEN"}
        done = subprocess.run(words, capture_output=True, text=True, timeout=60, check=False, env=plain)
        assert done.returncode == 2
        (line,) = done.stderr.splitlines()
        assert "no token" in line
        assert "HF_TOKEN" in line
        assert shelves.log == []


def test_refusals_of_the_hub_are_one_line_without_the_token(
    run: Path, served: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    address, shelves = served
    parcel = packed(run, "sft", tmp_path)
    with pytest.raises(HubError, match="no right to write"):
        send(parcel, "somebody/small", endpoint=address)
    with pytest.raises(HubError, match="Repo id must"):
        send(parcel, "no such name/at/all", endpoint=address)
    with pytest.raises(HubError, match=r"ConnectError.*Run the same command again"):
        send(parcel, "researcher/small", endpoint="http://127.0.0.1:1")
    monkeypatch.setenv("HF_TOKEN", "hf_wrongwrongwrongwrong")
    with pytest.raises(HubError, match="does not accept") as refused:
        send(parcel, "researcher/small", endpoint=address)
    assert "hf_wrong" not in str(refused.value)
    assert not shelves.repositories


def test_a_hub_without_xet_storage_is_explained(run: Path, tmp_path: Path) -> None:
    pytest.importorskip("hf_xet")
    with hub.serving() as (address, shelves):
        words = command(run, "sft", "researcher/small", "--endpoint", address)
        asking = environment(tmp_path) | {"HF_HUB_DISABLE_XET": "0"}
        done = subprocess.run(words, capture_output=True, text=True, timeout=90, check=False, env=asking)
        assert done.returncode == 2
        assert "set HF_HUB_DISABLE_XET=1" in done.stderr.splitlines()[-1]
        assert shelves.repositories["models/researcher/small"].commits == 0


def test_nothing_private_gets_into_a_repository_that_everybody_sees(run: Path, served: Hub, tmp_path: Path) -> None:
    address, shelves = served
    parcel = packed(run, "checked", tmp_path)
    send(parcel, "researcher/lists", endpoint=address)
    commits = shelves.repositories["datasets/researcher/lists"].commits
    with pytest.raises(HubError, match="everybody can see"):
        send(parcel, "researcher/lists", private=True, endpoint=address)
    assert shelves.repositories["datasets/researcher/lists"].commits == commits


@pytest.mark.parametrize("address", ["http://example.org", "ftp://example.org", "https://name:word@example.org", "x"])
def test_a_token_goes_over_https_alone(run: Path, served: Hub, tmp_path: Path, address: str) -> None:
    with pytest.raises(HubError, match=r"^endpoint: "):
        send(packed(run, "sft", tmp_path), "researcher/small", endpoint=address)


def test_only_what_is_finished_and_nothing_beside_it_is_packed(run: Path, tiny_model: Path, tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match=r"no such stage.*Did you mean 'sft'"):
        pack(run, "stf", tmp_path)
    with pytest.raises(RecipeError, match="makes results"):
        pack(run, "scores", tmp_path)
    with pytest.raises(StoreError, match=r"no folder of a run"):
        pack(tiny_model, "sft", tmp_path)
    for config in ("name: x\nstages: {sft: {kind: sft, knob: 1}}\n", "- [\n"):
        (tmp_path / "config.yaml").write_text(config, encoding="utf-8")
        with pytest.raises(StoreError, match=r"config\.yaml: .*cannot read it"):
            pack(tmp_path, "sft", tmp_path)
    state = (run / "sft" / "stage.json").read_text(encoding="utf-8")
    (run / "sft" / "stage.json").write_text(state.replace('"done"', '"running"'), encoding="utf-8")
    with pytest.raises(StoreError, match="has not finished"):
        pack(run, "sft", tmp_path)
    (run / "sft" / "stage.json").write_text(state, encoding="utf-8")
    for name in ("checkpoint-3/model.safetensors", "ledger.sqlite-wal", "optimizer.pt", ".env"):
        stray = run / "sft" / "model" / name
        stray.parent.mkdir(exist_ok=True)
        stray.write_bytes(b"x")
        with pytest.raises(StoreError, match="no part of a model"):
            pack(run, "sft", tmp_path)
        stray.unlink()
        if stray.parent.name != "model":
            stray.parent.rmdir()
    assert set(pack(run, "sft", tmp_path).files) == {path.name for path in (run / "sft" / "model").iterdir()}


def test_every_stage_that_makes_something_has_a_card(run: Path) -> None:
    cards = {path.relative_to(run).as_posix() for path in run.rglob("README.md")}
    assert cards == {"sft/model/README.md", "own/README.md", "checked/README.md"}
    for card in cards:
        assert str(run.parent) not in (run / card).read_text(encoding="utf-8")
