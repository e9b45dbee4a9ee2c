"""Instructions from wherever a recipe says: a local file, a dataset hub, or the built-in checkable tasks."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Literal

from tunalm.data.files import SUFFIXES, RawRow, existing_file, stream_raw
from tunalm.data.shapes import to_instructions
from tunalm.errors import DataError, did_you_mean
from tunalm.recipe import Data
from tunalm.recipe.base import CHECKABLE, sliced
from tunalm.records import Instruction, Ranking
from tunalm.store import local_path

CheckableSplit = Literal["train", "heldout", "test"]
_CHECKABLE_SPLITS: tuple[CheckableSplit, ...] = ("train", "heldout", "test")
_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[\w.-]+")


def load(settings: Data, *, tell: bool = True) -> list[Instruction]:
    """Read, check and select instructions. Ids do not depend on `rows` and `limit`, and every row is checked.

    Args:
        settings: what to read.
        tell: say which fields are kept and not read.

    Raises:
        DataError: the source does not exist or cannot be read, a row is wrong (it is named), or nothing is selected.
    """
    return _selected(_all_rows(settings, tell), settings)


class Sources:
    """Instructions for several readers; each source is read once."""

    def __init__(self, tell: bool = False) -> None:
        self._tell = tell
        self._rows: dict[tuple[str, str], list[Instruction]] = {}

    def load(self, settings: Data) -> list[Instruction]:
        """As `load`; the rows are shared, so they must not be changed."""
        key = settings.source, settings.split
        if key not in self._rows:
            self._rows[key] = _all_rows(settings, self._tell)
        return _selected(self._rows[key], settings)


def _selected(rows: list[Instruction], settings: Data) -> list[Instruction]:
    if settings.references != ":":
        bare = [row.model_copy(update={"reference": None}) for row in rows]
        kept = sliced(settings.references)
        bare[kept] = rows[kept]
        rows = bare
    selected = rows[settings.select()][: settings.limit]
    if not selected:
        raise DataError(
            settings.source, found=f"no row in the slice '{settings.rows}' of {len(rows)} rows", fix="Change `rows`."
        )
    return selected


def require_source(settings: Data) -> None:
    """Make sure that there is something to read.

    Raises:
        DataError: the source does not exist, as far as this machine can tell.
    """
    if _checkable_split(settings.source) is None and not is_hub_dataset(settings.source):
        existing_file(settings.source)


def require_references(rows: Sequence[Instruction], where: object) -> None:
    """Make sure that every row has a reference.

    Raises:
        DataError: some have none; the first of them are named.
    """
    missing = [row.id for row in rows if row.reference is None]
    if missing:
        raise DataError(
            where,
            found=f"{len(missing)} of {len(rows)} rows without a reference (ids {', '.join(missing[:3])}"
            f"{', ...' if len(missing) > 3 else ''})",
            fix="Add the responses (`output`, a final assistant turn, or `reference`), or leave these rows out.",
        )


def _all_rows(settings: Data, tell: bool) -> list[Instruction]:
    if (split := _checkable_split(settings.source)) is not None:
        from tunalm.data.checkable import generate

        return generate(split)
    if is_hub_dataset(settings.source):
        return to_instructions(_hub_rows(settings.source, settings.split), settings.source, tell=tell)
    return to_instructions(stream_raw(settings.source, lenient=True), settings.source, tell=tell)


def _checkable_split(source: str) -> CheckableSplit | None:
    """The split of built-in tasks that a source names, or None for any other source."""
    if not source.startswith(CHECKABLE):
        return None
    name = source.removeprefix(CHECKABLE)
    for split in _CHECKABLE_SPLITS:
        if name == split:
            return split
    raise DataError(source, found=f"'{name}'", fix=did_you_mean(name, _CHECKABLE_SPLITS))


def is_hub_dataset(source: str) -> bool:
    """Whether a source is `owner/name` on a hub and not a path on this machine, mistyped or not."""
    path = local_path(source)
    local = path.exists() or path.parent.is_dir() or source.endswith(SUFFIXES)
    return not local and _HUB_ID.fullmatch(source) is not None


def _hub_rows(source: str, split: str) -> list[RawRow]:
    """Fetch a dataset. Whatever `datasets` raises (it has no common base) means that the rows cannot be had."""
    from datasets import load_dataset

    try:
        values = list(load_dataset(source, split=split))
    except Exception as error:
        raise DataError(
            source,
            found=f"no file of that name, and no hub dataset that can be read ({type(error).__name__}: {error})",
            expected="a data file, or a dataset id `owner/name` with the split that `split` names",
            fix="Check the name, the split and the connection.",
        ) from error
    if not values:
        raise DataError(source, found="no rows", fix="Check `split`.")
    return [RawRow(f"{source}[{split}], row {number}", value) for number, value in enumerate(values, start=1)]


def imitated(lists: Sequence[Ranking]) -> list[Ranking]:
    """Every response that did not fail as the reference of a row of its own."""
    return [
        row.model_copy(update={"id": f"{row.id}/{number}", "reference": response.text, "responses": []})
        for row in lists
        for number, response in enumerate(row.responses)
        if response.failure is None and response.text.strip()
    ]
