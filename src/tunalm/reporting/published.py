"""Numbers that others have published, to stand beside those of a run. None come with tunalm."""

from __future__ import annotations

from pathlib import Path

import yaml
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from tunalm.errors import DataError


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
        return _ROWS.validate_python(yaml.safe_load(path.read_text(encoding="utf-8")))
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"]) or "file"
        raise DataError(path, found=f"{first['msg'].lower()} at {place}", fix=fix) from error
    except (OSError, yaml.YAMLError, UnicodeDecodeError) as error:
        found = getattr(error, "strerror", None) or str(error).splitlines()[0]
        raise DataError(path, found=found, fix=fix) from error
