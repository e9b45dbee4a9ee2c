"""Ranked lists out of a file, whoever wrote it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Literal

from pydantic import ValidationError

from tunalm.data.files import RawRow, stream_raw
from tunalm.data.lists.base import RankedShape
from tunalm.data.lists.lmops import LmopsJudged, LmopsSampled, LmopsTraining
from tunalm.data.lists.nectar import Nectar
from tunalm.data.lists.ultrafeedback import UltraFeedback
from tunalm.data.shapes import list_fields, mapping, validate
from tunalm.errors import DataError
from tunalm.records import Ranking

Source = Literal["tunalm", "lmops", "ultrafeedback", "nectar"]

PATTERN = "a ranked row {id, instruction, responses: [{text, rank}]}"

SHAPES: dict[str, tuple[Source, type[RankedShape] | None]] = {
    "responses": ("tunalm", None),
    "orig": ("lmops", LmopsSampled),
    "generation": ("lmops", LmopsJudged),
    "output": ("lmops", LmopsTraining),
    "completions": ("ultrafeedback", UltraFeedback),
    "answers": ("nectar", Nectar),
}
"""A field that gives a shape away -> whose it is, and the shape; None is `Ranking` itself. The first one decides."""


def stream_rankings(path: Path, source: Source | None = None) -> Iterator[Ranking]:
    """Yield the ranked lists of a file, one after the other. A row without an id gets its index.

    Args:
        path: JSONL, JSON or Parquet, also gzipped.
        source: whose shape the rows have; None finds out from the first row.

    Raises:
        DataError: a row is of no such shape, or an id comes twice; the place is named.
    """
    places: dict[str, str] = {}
    shape: type[RankedShape] | None = None
    for index, row in enumerate(stream_raw(path)):
        if not index:
            shape = _shape(row, source)
        ranking = _as_ranking(row, index) if shape is None else validate(shape, row).to_ranking(str(index))
        if ranking.id in places:
            raise DataError(
                row.where,
                found=f"id {ranking.id!r} for the second time (first at {places[ranking.id]})",
                expected="every id once",
                fix="Give each row an id of its own, or remove all ids to have the rows numbered.",
            )
        places[ranking.id] = row.where
        yield ranking


def _shape(row: RawRow, source: Source | None) -> type[RankedShape] | None:
    for field, (owner, shape) in SHAPES.items():
        if field in mapping(row) and source in (None, owner):
            return shape
    wanted = [shape.pattern if shape else PATTERN for owner, shape in SHAPES.values() if source in (None, owner)]
    raise DataError(
        row.where, found=list_fields(mapping(row)), expected=", or ".join(wanted), fix="Check the file and --from."
    )


def _as_ranking(row: RawRow, index: int) -> Ranking:
    fields = mapping(row)
    name = fields.get("id", index)
    try:
        return Ranking.model_validate({**fields, "id": str(name) if isinstance(name, int) else name})
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        place = ".".join(str(part) for part in first["loc"])
        raise DataError(
            row.where, found=f"{place}: {first['msg']}", expected=PATTERN, fix="Correct or remove the row."
        ) from error
