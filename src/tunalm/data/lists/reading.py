"""Ranked lists out of a file, whoever wrote it, for every command and stage that reads some."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from tunalm.data.files import RawRow, stream_raw
from tunalm.data.lists.lmops import LmopsJudged, LmopsSampled, LmopsTraining
from tunalm.data.lists.shapes import Nectar, NemoRl, Pairs, RankedShape, UltraFeedback
from tunalm.data.rows import checked, list_fields, mapping, require_storable, text_or_none, validate
from tunalm.errors import DataError
from tunalm.records import Ranking

Source = Literal["tunalm", "lmops", "ultrafeedback", "nectar", "nemo-rl", "pairs"]

PATTERN = "a ranked row {id, instruction, responses: [{text, rank}]}"

SHAPES: dict[str, tuple[Source, type[RankedShape] | None]] = {
    "responses": ("tunalm", None),
    "chosen": ("pairs", Pairs),
    "orig": ("lmops", LmopsSampled),
    "generation": ("lmops", LmopsJudged),
    "output": ("lmops", LmopsTraining),
    "context": ("nemo-rl", NemoRl),
    "completions": ("ultrafeedback", UltraFeedback),
    "answers": ("nectar", Nectar),
}
"""A field that gives a shape away -> whose it is, and the shape; None is `Ranking` itself. The first one decides."""


def load_lists(path: Path | str) -> list[Ranking]:
    """Read ranked lists, or lists that are still to be ranked, with dense ranks.

    Raises:
        DataError: as `stream_lists`; or rows are pairs, or lists of others, which `tunalm convert` turns into lists.
    """
    return to_lists(stream_raw(path, lenient=True), path)


def to_lists(rows: Iterable[RawRow], where: object) -> list[Ranking]:
    """Turn rows into lists; errors and what becomes of ranks as in `load_lists`."""
    return list(checked(rows, _only_ours, where, tell=False))


def stream_lists(path: Path, source: Source | None = None) -> Iterator[Ranking]:
    """Yield the lists of a file, one after the other. A row without an id gets its index.

    Ranks become dense: 0, 1, 2 ..., equal ones stay equal. An empty reference is none, and an empty response has no
    rank. Pairs that share an id get ids of their own.

    Args:
        path: JSONL, JSON or Parquet, also gzipped.
        source: whose shape the rows have; None finds out from each row.

    Raises:
        DataError: rows are of no such shape, or an id comes twice; the places are named.
    """

    def read(row: RawRow, number: int) -> Ranking:
        return _to_ranking(row, number, source)

    return checked(stream_raw(path, lenient=True), read, path, rename=lambda row: "chosen" in mapping(row))


def _only_ours(row: RawRow, number: int) -> Ranking:
    if "responses" not in mapping(row):
        other = next((owner for field, (owner, _) in SHAPES.items() if field in mapping(row)), None)
        raise DataError(
            row.where,
            found=f"{list_fields(mapping(row))}{f', a row of {other}' if other else ''}",
            expected=PATTERN,
            fix="Run `tunalm convert IN OUT.jsonl --to tunalm` first." if other else "Correct or remove the row.",
        )
    return _to_ranking(row, number, "tunalm")


def _to_ranking(row: RawRow, number: int, source: Source | None) -> Ranking:
    fields = mapping(row)
    for field, (owner, shape) in SHAPES.items():
        if field in fields and source in (None, owner):
            ranking = _ours(row, number) if shape is None else validate(shape, row).to_ranking(str(number))
            require_storable(ranking, row.where)
            return ranking.model_copy(update={"reference": text_or_none(ranking.reference)}).with_dense_ranks()
    wanted = [shape.pattern if shape else PATTERN for owner, shape in SHAPES.values() if source in (None, owner)]
    raise DataError(
        row.where, found=list_fields(fields), expected=", or ".join(wanted), fix="Check the file and --from."
    )


def _refuse_odd_numbers(fields: Mapping[str, Any], where: str) -> None:
    """Refuse values that JSON of others holds in the place of numbers, and that would be taken for some."""
    responses = fields.get("responses")
    for place, response in enumerate(responses if isinstance(responses, list) else ()):
        for name in ("rank", "score", "logprob", "num_tokens") if isinstance(response, dict) else ():
            value = response.get(name)
            odd = isinstance(value, float) and not math.isfinite(value)
            if odd or isinstance(value, bool) or (name == "num_tokens" and isinstance(value, int) and value < 0):
                found = f"responses.{place}.{name}: {value!r}"
                raise DataError(
                    where, found=found, expected="a number that means one", fix="Correct or remove the row."
                )


def _ours(row: RawRow, number: int) -> Ranking:
    fields = mapping(row)
    name = fields.get("id")
    if name is None or (isinstance(name, int) and not isinstance(name, bool)):
        fields = {**fields, "id": str(number if name is None else name)}
    _refuse_odd_numbers(fields, row.where)
    return validate(Ranking, RawRow(row.where, fields), PATTERN)


def require_ranked(rows: Sequence[Ranking], where: object) -> None:
    """Make sure that there is something to learn from.

    Raises:
        DataError: no list has two ranked responses, or an id stands twice.
    """
    twice = [row_id for row_id, count in Counter(row.id for row in rows).items() if count > 1]
    if twice:
        raise DataError(where, found=f"the id '{twice[0]}' in two rows", fix="Give every row an id of its own.")
    longest = max((sum(response.rank is not None for response in row.responses) for row in rows), default=0)
    if longest < 2:
        raise DataError(
            where,
            found=f"{len(rows)} rows, none of which has two ranked responses",
            fix="Sample with num_responses of 2 or more and rank them, or use `sft` to learn from references alone.",
        )
