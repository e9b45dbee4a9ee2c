"""Every file in tests/cases: what is typed, and what must come of it. A new file is a new case.

what:   the rule in a sentence
files:  text by name; `{tiny}` is a model with a chat template, `{plain}` one without
python: a file to run first, to make larger inputs
run:    commands of tunalm, in order; all but the last must succeed
exit:   of the last command, 0 if not given; 2 means one line and no traceback
says:   what the last command prints, in one place or another; `lacks`: what it does not
makes:  rows by file, each with some of the values that it must have
"""

from __future__ import annotations

import json
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.tiny import save_tiny_model
from tunalm.cli.app import main

CASES = sorted((Path(__file__).resolve().parents[1] / "cases").glob("*.yaml"))


@pytest.fixture(scope="session")
def plain_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny_model(tmp_path_factory.mktemp("plain"), template=None)


@pytest.mark.parametrize("path", CASES, ids=lambda path: path.stem)
def test_case(
    path: Path,
    tiny_model: Path,
    plain_model: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    case: dict[str, Any] = yaml.safe_load(path.read_text(encoding="utf-8"))
    monkeypatch.chdir(tmp_path)

    def filled(text: str) -> str:
        return text.replace("{tiny}", str(tiny_model)).replace("{plain}", str(plain_model))

    for name, text in case["files"].items():
        Path(name).write_bytes(filled(text).encode())
    if "python" in case:
        subprocess.run([sys.executable, case["python"]], check=True)
    *earlier, last = case["run"]
    for command in earlier:
        assert typed(filled(command), monkeypatch) == 0, capsys.readouterr().err
    capsys.readouterr()
    code = typed(filled(last), monkeypatch)
    shown = capsys.readouterr()
    assert code == case.get("exit", 0), shown.err
    assert "Traceback" not in shown.err
    said = " ".join((shown.out + shown.err).split())
    for text in case.get("says", ()):
        assert text in said
    for text in case.get("lacks", ()):
        assert text not in said
    for name, rows in case.get("makes", {}).items():
        lines = [json.loads(line) for line in Path(name).read_text(encoding="utf-8").splitlines()]
        assert len(lines) == len(rows)
        for line, row in zip(lines, rows, strict=True):
            assert_has(line, row)


def typed(command: str, monkeypatch: pytest.MonkeyPatch) -> int:
    """Exit code of a command of tunalm."""
    monkeypatch.setattr(sys, "argv", ["tunalm", *shlex.split(command)])
    try:
        main()
    except SystemExit as stopped:
        return int(stopped.code or 0)
    return 0


def assert_has(found: Any, expected: Any) -> None:
    """Everything that is expected is there; null means that it is not."""
    if isinstance(expected, dict):
        for key, value in expected.items():
            assert_has(found.get(key), value)
    elif isinstance(expected, list):
        assert len(found) == len(expected)
        for one, other in zip(found, expected, strict=True):
            assert_has(one, other)
    else:
        assert found == expected
