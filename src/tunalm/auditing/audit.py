"""All figures of a file of rankings, and of other raters beside it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from tunalm.auditing.agreement import agreement
from tunalm.auditing.estimates import SAMPLES, SEED
from tunalm.auditing.lengths import lengths, ties
from tunalm.auditing.matching import Matching, is_ranked, match, read_lists, read_raters
from tunalm.auditing.positions import positions
from tunalm.auditing.preferences import models, self_preference
from tunalm.errors import DataError, did_you_mean
from tunalm.progress import tracked
from tunalm.records import Ranking

SCHEMA_VERSION = 3

Audit = dict[str, Any]
"""The content of audit.json."""


def audit_files(rankings: Path, others: Sequence[Path] = (), own: tuple[str, ...] = ()) -> Audit:
    """Audit a file of rankings.

    Args:
        rankings: any file of lists that `tunalm.data.lists` reads.
        others: the orders of other raters, taken for the truth: such files, or tables of people (see `read_raters`).
        own: models that count as the judge's own, instead of those of its family.

    Raises:
        DataError: a file cannot be read, holds no ranked list, or none is in common; or no response is by
            a model of `own`.
    """
    rows = read_lists(rankings)
    _require_models(rankings, rows, own)
    where = " and ".join(map(str, [rankings, *others]))
    matching = match(rows, read_raters(others, rows), where) if others else None
    files = {"rankings": str(rankings), "others": [str(path) for path in others]}
    return {"schema_version": SCHEMA_VERSION, "files": files, **audit(rows, matching, own)}


def audit(rows: list[Ranking], matching: Matching | None = None, own: tuple[str, ...] = ()) -> Audit:
    """Audit lists; each part is described where it is made. A part that has nothing to say is None or empty.

    Args:
        rows: the lists.
        matching: of the same lists with the orders of other raters.
        own: models that count as the judge's own, instead of those of its family.
    """
    ranked = [row for row in rows if is_ranked(row)]
    matched = () if matching is None else matching.lists
    parts: dict[str, Callable[[], Any]] = {
        "ties": lambda: ties(ranked),
        "lengths": lambda: lengths(ranked),
        "positions": lambda: positions(ranked),
        "models": lambda: models(ranked),
        "self_preference": lambda: self_preference(ranked, matched, own),
        "agreement": lambda: None if matching is None else agreement(matching),
    }
    found: Audit = {"settings": {"bootstrap_samples": SAMPLES, "seed": SEED}, "lists": _counts(rows, ranked)}
    for name in tracked(list(parts), "auditing"):
        found[name] = parts[name]()
    return found


def _require_models(where: Path, rows: list[Ranking], own: tuple[str, ...]) -> None:
    known = {response.model for row in rows for response in row.responses if response.model}
    for name in own:
        if name not in known:
            raise DataError(where, found=f"no response is by '{name}'", fix=did_you_mean(name, known))


def _counts(rows: list[Ranking], ranked: list[Ranking]) -> dict[str, Any]:
    return {
        "lists": len(rows),
        "ranked": len(ranked),
        "failed": sum(row.failure is not None for row in rows),
        "responses": sum(response.rank is not None for row in ranked for response in row.responses),
        "ranked_by": dict(Counter(row.ranked_by or "not said" for row in ranked).most_common()),
    }
