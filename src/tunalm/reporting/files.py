"""Reading a run that may be unfinished, damaged or older: what is not there, or cannot be read, is left out."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from tunalm.errors import DataError
from tunalm.records import EvaluationResults
from tunalm.store import read_record

Row = TypeVar("Row", bound=BaseModel)


def read_results(path: Path) -> EvaluationResults:
    """The content of a results.json.

    Raises:
        DataError: it cannot be read, or another version of tunalm has written it.
    """
    results = read_record(path, EvaluationResults)
    if results is None:
        found = "this version of tunalm cannot read these results"
        raise DataError(path, found=found, fix="Run the evaluation again.")
    return results


def read_records(path: Path, kind: type[Row]) -> Iterator[Row]:
    """The records of a JSONL file, one after the other: a file may be larger than memory."""
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            for line in file:
                try:
                    yield kind.model_validate_json(line)
                except ValidationError:
                    continue
    except OSError:
        return


def as_record(value: Any, kind: type[Row]) -> Row | None:
    """A plain value as a record, or None if it is not one."""
    try:
        return kind.model_validate(value)
    except ValidationError:
        return None
