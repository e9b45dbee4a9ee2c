"""Stored reviews read again, of an earlier scoring or of somebody else's judge, without any call.

tunalm       {id, model, against, mode, reviews: [...]}: the rows of an earlier scoring
Vicuna QA    {question_id, text, review_file}: one order, the answer of the model shown second
both orders  {index, review, review_reverse, dataset}: likewise, then swapped; scores on the first line
"""

from __future__ import annotations

import reprlib
from collections.abc import Mapping
from pathlib import Path, PurePath
from typing import Any

from pydantic import ValidationError

from tunalm.data.files import RawRow, read_raw
from tunalm.errors import DataError, complaint
from tunalm.evaluation.pairwise.comparisons import METRIC, NO_REVIEW, PairVerdict, read_reviews
from tunalm.records import UNKNOWN

PATTERN = "a review {id, model, against, mode, reviews}, {question_id, text} or {index, review, review_reverse}"

Groups = dict[str, list[PairVerdict]]
"""Comparisons by the pair of models, the file or the data set that they belong to; one group has an empty name."""


def load_reviews(path: Path, categories: Mapping[str, str | None], name: str) -> Groups:
    """Read every review of a file anew.

    Args:
        path: JSON, JSONL or Parquet, also gzipped.
        categories: of the questions by their ids; they decide what a review must look like. A row of an earlier
            scoring brings its own.
        name: of the benchmark.

    Raises:
        DataError: a row is none of the shapes, or is about a question that is not known.
    """
    groups: Groups = {}
    for row in read_raw(path):
        if not isinstance(row.value, dict):
            raise _wrong(row, reprlib.repr(row.value))
        group, comparison = _own(row) if "reviews" in row.value else _of_others(row, categories, name)
        groups.setdefault(group, []).append(comparison)
    return {"": next(iter(groups.values()))} if len(groups) == 1 else groups


def _own(row: RawRow) -> tuple[str, PairVerdict]:
    try:
        kept = PairVerdict.model_validate(row.value)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        raise _wrong(row, f"{'.'.join(map(str, first['loc']))}: {complaint(first)}") from error
    unread: dict[str, object] = {"orders": [], "outcome": None, "score": None, "scores": None, "failure": None}
    if kept.reviews and not (kept.failure or "").startswith((NO_REVIEW, UNKNOWN)):
        kept = kept.model_copy(update=unread | read_reviews(kept.reviews, kept.mode, kept.task))
    return f"{kept.model}_against_{kept.against}", kept


def _of_others(row: RawRow, categories: Mapping[str, str | None], name: str) -> tuple[str, PairVerdict]:
    value: dict[str, Any] = row.value
    place = str(value.get("question_id", value.get("index")))
    given = [value.get("review", value.get("text")), *([value["review_reverse"]] if "review_reverse" in value else [])]
    texts = [text for text in given if isinstance(text, str)]
    if len(texts) < len(given):
        raise _wrong(row, "no review")
    if "question_id" in value and place not in categories:
        raise _wrong(row, f"question {place}, which is none of {len(categories)}")
    category = categories.get(place)
    group = PurePath(str(value.get("review_file", value.get("dataset", "")))).stem
    fields = {"id": place, "benchmark": name, "model": "second", "against": "first", "metric": METRIC, "task": category}
    read = read_reviews(texts, "paper", category)
    return group, PairVerdict.model_validate({**fields, "mode": "paper", "reviews": texts, **read})


def _wrong(row: RawRow, found: str) -> DataError:
    return DataError(row.where, found=found, expected=PATTERN, fix="Correct the row, or give the right --questions.")
