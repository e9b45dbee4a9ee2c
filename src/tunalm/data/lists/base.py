"""What the shapes of ranked lists have in common."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pydantic import BaseModel, ConfigDict

from tunalm.data.shapes import Shape
from tunalm.records import Ranking, Response

_OF_A_RANKING = frozenset(Ranking.model_fields)
_OF_A_RESPONSE = frozenset(Response.model_fields)


class RankedShape(Shape):
    """Base of the shapes of lists. Fields that a shape does not name are kept under their names."""

    model_config = ConfigDict(strict=True, extra="allow")

    def to_ranking(self, default_id: str) -> Ranking:
        """Return the row as a list of responses; `default_id` is for a row that brings no id."""
        kept = _others(self, _OF_A_RANKING)
        return Ranking(id=default_id if self.id is None else self.id, **kept, **self.fields())


class Candidate(BaseModel):
    """Base of the shapes of one response in a list. Fields that a shape does not name are kept as well."""

    model_config = ConfigDict(strict=True, extra="allow")

    def to_response(self, text: str, **known: Any) -> Response:
        """Return it as a response."""
        return Response(text=text, **known, **_others(self, _OF_A_RESPONSE))


def dense_ranks(values: Sequence[float | None]) -> list[int | None]:
    """Ranks from 0, the smallest value best, no number left out, equal values tied, None where there is no value."""
    place = {value: rank for rank, value in enumerate(sorted({value for value in values if value is not None}))}
    return [None if value is None else place[value] for value in values]


def require_one_each(**lists: Sequence[Any]) -> None:
    """Make sure that lists which belong together have one length.

    Raises:
        ValueError: they have not.
    """
    if len({len(values) for values in lists.values()}) > 1:
        raise ValueError(f"{', '.join(lists)} are not of one length")


def _others(row: BaseModel, taken: frozenset[str]) -> dict[str, Any]:
    """The fields that the shape of a row does not name, but for those that would be taken for something else."""
    return {name: value for name, value in (row.model_extra or {}).items() if name not in taken}
