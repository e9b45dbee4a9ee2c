"""The file of published numbers: read as it is, or refused in one line."""

from __future__ import annotations

from pathlib import Path

import pytest

from tunalm.errors import DataError
from tunalm.reporting.published import read_published


def test_entries_are_read(tmp_path: Path) -> None:
    path = tmp_path / "published.yaml"
    path.write_text("- {benchmark: lmentry, model: tuna, value: 12.5, source: a paper}\n", encoding="utf-8")
    (entry,) = read_published(path)
    assert (entry.benchmark, entry.model, entry.value, entry.source) == ("lmentry", "tuna", 12.5, "a paper")


@pytest.mark.parametrize(
    ("content", "found"),
    [
        ("- {benchmark: lmentry, model: tuna, value: 12.5}", "0.source is missing"),
        ("- {benchmark: lmentry, model: tuna, value: .nan, source: x}", "0.value must be a finite number"),
        ("lmentry: 12", "the file must be a list"),
        ("[", "no plain YAML"),
        ("", "must be a list"),
        (None, "No such file"),
    ],
)
def test_anything_else_is_refused_and_the_place_named(tmp_path: Path, content: str | None, found: str) -> None:
    path = tmp_path / "published.yaml"
    if content is not None:
        path.write_text(content, encoding="utf-8")
    with pytest.raises(DataError, match=found):
        read_published(path)
