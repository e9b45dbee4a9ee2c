"""The tutorials do what they say: their commands are typed as they stand, with a random model and a judge of ours."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest

from tests.integration.servers import judge
from tests.integration.test_cases import typed
from tests.judges import marking
from tests.tiny import save_tiny_model
from tunalm.records import Ranking
from tunalm.store import read_rows

TUTORIALS = Path(__file__).resolve().parents[2] / "docs" / "tutorials"
BLOCK = re.compile(r"^```sh\n(.*?)^```", re.MULTILINE | re.DOTALL)
STEP = re.compile(r"^cat > (\S+) <<'END'\n(.*?)^END$|^tunalm (.+?)$", re.MULTILINE | re.DOTALL)

pytestmark = pytest.mark.slow


@pytest.fixture(autouse=True)
def room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])


def follow(name: str, monkeypatch: pytest.MonkeyPatch, old: str = "", new: str = "") -> list[str]:
    """Do everything in the shell blocks of a tutorial but install, with one text changed; returns the commands."""
    commands = []
    for block in BLOCK.findall((TUTORIALS / f"{name}.md").read_text(encoding="utf-8")):
        for file, content, command in STEP.findall(block.replace("\\\n", " ").replace(old or "\0", new)):
            if file:
                Path(file).write_text(content, encoding="utf-8")
            else:
                commands.append(command)
                assert typed(command, monkeypatch) == 0, command
    return commands


def ranks(path: str) -> list[list[int | None]]:
    return [[each.rank for each in row.responses] for row in read_rows(Path(path), Ranking)]


def test_from_instructions_to_a_model(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    save_tiny_model(Path("tiny"))
    commands = follow("own-model", monkeypatch, "embedded:smollm2", "./tiny")
    assert [command.split()[0] for command in commands] == [
        "preview",
        *("sample", "show", "rank", "show", "audit"),
        *("train", "evaluate", "show", "plan", "push"),
    ]
    shown = capsys.readouterr().out
    assert "model.safetensors" in shown
    assert "after" in shown


def test_judging_with_a_local_server(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(
        judge, "by_length", lambda texts: marking({each: [len(texts[each]) % 6, 1, 1] for each in texts})
    )
    with judge.length_judge() as address:
        follow("local-judge", monkeypatch, "http://127.0.0.1:8000/v1", address)
    assert all(None not in each for each in ranks("runs/judged/rank/rankings.jsonl"))
    assert Path("runs/audit/audit.html").is_file()


def test_writing_a_ranker(monkeypatch: pytest.MonkeyPatch) -> None:
    follow("own-ranker", monkeypatch)
    assert ranks("runs/polite/rank/rankings.jsonl") == [[2, 1, 0]]
    assert ranks("runs/nearest/rank/rankings.jsonl") == [[1, 2, 0]]
