"""Reading a run that may be unfinished, damaged or older: what is not there, or cannot be read, is left out."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

Row = TypeVar("Row", bound=BaseModel)

RESULTS_VERSION = 1
"""Of results.json, the one that the report understands."""


def read_object(path: Path) -> dict[str, Any]:
    """A JSON object, or an empty one."""
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return value if isinstance(value, dict) else {}


def read_results(path: Path) -> dict[str, Any] | None:
    """The results of an evaluation, or None."""
    results = read_object(path)
    return results if results.get("schema_version") == RESULTS_VERSION else None


def read_objects(path: Path) -> Iterator[dict[str, Any]]:
    """The JSON objects of a JSONL file, one after the other."""
    for line in _lines(path):
        try:
            value = json.loads(line)
        except ValueError:
            continue
        if isinstance(value, dict):
            yield value


def read_records(path: Path, kind: type[Row]) -> Iterator[Row]:
    """The records of a JSONL file, one after the other: a file may be larger than memory."""
    for line in _lines(path):
        try:
            yield kind.model_validate_json(line)
        except ValidationError:
            continue


def _lines(path: Path) -> Iterator[str]:
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            yield from file
    except OSError:
        return
