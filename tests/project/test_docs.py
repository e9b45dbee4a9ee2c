"""Generated documentation is what the program says today."""

from __future__ import annotations

import runpy
from pathlib import Path

DOCS = Path(__file__).resolve().parents[2] / "docs"


def test_the_reference_is_fresh() -> None:
    written = (DOCS / "reference.md").read_text(encoding="utf-8")
    assert written == runpy.run_path(str(DOCS / "build.py"))["reference"](), "run `make docs`"
