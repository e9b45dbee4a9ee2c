"""Lists of responses without the places that they remember: paths of models and addresses in reasons."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tunalm.data.files import stream_raw
from tunalm.recipe import Recipe
from tunalm.redaction import without_keys
from tunalm.reporting.cards.public import without_places

REMARKS = ("model", "failure", "ranked_by", "judgement")
"""What a row or a response says beside the texts of people and models, which stay as they are."""


def public_rows(path: Path, recipe: Recipe, run: Path) -> Iterator[str]:
    """The lines of a file of lists, each as it may be shown to anybody.

    Args:
        path: of the file.
        recipe: that it was made by; models of its stages keep the names of these.
        run: folder of the run.

    Raises:
        DataError: the file cannot be read, or a line is not JSON (it is named).
    """
    folders = dict.fromkeys([run.resolve(), run])
    own = {str(folder / name / "model"): name for folder in folders for name in recipe.stages}
    for row in stream_raw(path):
        for record in [row.value, *row.value.get("responses", [])]:
            _clean(record, own)
        yield json.dumps(row.value, ensure_ascii=False) + "\n"


def _clean(record: dict[str, Any], own: dict[str, str]) -> None:
    for key in REMARKS:
        if record.get(key) is not None:
            record[key] = json.loads(without_keys(json.dumps(without_places(record[key], own))))
