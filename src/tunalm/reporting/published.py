"""Numbers that others have published, to stand beside those of a run. None come with tunalm."""

from __future__ import annotations

from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from tunalm.errors import DataError, complaint
from tunalm.recipe.plain_yaml import parse_yaml, read_yaml


class Published(BaseModel):
    """One number from somewhere."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    benchmark: str
    """As the evaluation calls it."""
    model: str
    """As the evaluation calls it, or any other name: it gets a row of its own."""
    value: float = Field(allow_inf_nan=False)
    """0-100."""
    source: str = Field(min_length=1)
    """Where it stands, for instance a paper and its table."""


_ROWS = TypeAdapter(list[Published])


def read_published(path: Path) -> list[Published]:
    """Read a YAML list of numbers with `benchmark`, `model`, `value` and `source`.

    Raises:
        DataError: the file cannot be read, or an entry lacks something.
    """
    fix = "Write entries such as: - {benchmark: lmentry, model: tuna, value: 12.3, source: 'the paper, Table 2'}."
    try:
        return _ROWS.validate_python(parse_yaml(read_yaml(path, DataError, fix), path, DataError)[0])
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        place = ".".join(str(part) for part in first["loc"]) or "the file"
        raise DataError(path, found=f"{place} {complaint(first)}", fix=fix) from error
