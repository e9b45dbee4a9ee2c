"""Generated documentation is what the program says today."""

from __future__ import annotations

import json
import runpy
from pathlib import Path

from tunalm.recipe.schema import recipe_schema

DOCS = Path(__file__).resolve().parents[2] / "docs"


def test_the_reference_is_fresh() -> None:
    written = (DOCS / "reference.md").read_text(encoding="utf-8")
    assert written == runpy.run_path(str(DOCS / "build.py"))["reference"](), "run `make docs`"


def test_the_schema_of_recipes_is_fresh() -> None:
    written = json.loads((DOCS.parent / "recipes" / "schema.json").read_text(encoding="utf-8"))
    assert written == recipe_schema(), "run `make docs`"
