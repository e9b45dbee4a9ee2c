"""Texts of strangers do not command a terminal; every promise of docs/security.md names tests that there are."""

from __future__ import annotations

import io
import json
import re
from pathlib import Path

import pytest
import yaml
from rich.console import Console
from rich.table import Table

from tests.integration.test_cases import CASES, typed
from tunalm.errors import DataError
from tunalm.progress import progress

ROOT = Path(__file__).resolve().parents[2]
HOSTILE = "\x1b[2J\x1b]0;owned\x07\x1b]52;c;cm0gLXJm\x07\x9b2K\x90q\x08\x7f\u202eevil"
"""Clears the screen, names the window, fills the clipboard, deletes, turns the direction of writing."""


def commands_in(text: str) -> list[str]:
    return re.findall(r"\x1b(?!\[[0-9;?]*[A-Za-z])|\x1b\[2J|[\x00-\x08\x0b\x0c\x0e-\x1a\x7f-\x9f]", text)


def test_no_text_of_a_stranger_commands_the_terminal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert "\\x1b" in str(DataError(HOSTILE, found=HOSTILE, fix=HOSTILE))
    screen = Console(file=io.StringIO(), force_terminal=True)
    table = Table(HOSTILE, title=HOSTILE)
    table.add_row(HOSTILE)
    screen.print(table)
    screen.print(HOSTILE, markup=False)
    assert not commands_in(screen.file.getvalue())  # type: ignore[attr-defined]
    monkeypatch.chdir(tmp_path)
    responses = [{"text": f"Yes. {HOSTILE}", "rank": 0, "model": HOSTILE}, {"text": "No.", "rank": 1, "model": "b"}]
    lists = [{"id": f"{n} {HOSTILE}", "instruction": HOSTILE, HOSTILE: 1, "responses": responses} for n in range(3)]
    Path("l.jsonl").write_text("".join(json.dumps(row) + "\n" for row in lists), encoding="utf-8")
    commands = [
        "audit l.jsonl",
        "convert l.jsonl o.jsonl --to trl-pairs",
        "rank by=likelihood responses=l.jsonl",
        "sample 'engine={kind: scripted}' data=l.jsonl num_responses=1 --run-dir run",
        "report run",
        f"sample '{HOSTILE}'",
    ]
    for command in commands:
        typed(command, monkeypatch)
    with progress(HOSTILE, 1) as advance:
        advance(1)
    said = "".join(capsys.readouterr())
    assert "evil" in said
    assert not commands_in(said)


def test_every_promise_has_its_tests() -> None:
    names = set(re.findall(r"^ *(?:async )?def (test_\w+)", _all_tests(), re.MULTILINE))
    for path in (CASES[0].parent / "broken").glob("*.yaml"):
        _, *documents = yaml.safe_load_all(path.read_text(encoding="utf-8"))
        names |= {f"{path.stem}: {case['what']}" for case in documents}
    page = (ROOT / "docs" / "security.md").read_text(encoding="utf-8")
    rows = [line.strip("| ").split(" | ") for line in page.splitlines() if line.startswith("| ")][2:]
    assert len(rows) >= 14
    for threat, _, tests in rows:
        named = re.findall(r"`([^`]+)`", tests)
        assert named, threat
        assert not [name for name in named if name not in names], threat


def _all_tests() -> str:
    return "\n".join(path.read_text(encoding="utf-8") for path in (ROOT / "tests").rglob("test_*.py"))
