"""What the tokens of a model cost: a table that the user writes, and nothing from memory."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from fnmatch import fnmatchcase
from importlib.resources import files
from pathlib import Path
from typing import Literal, NamedTuple

import platformdirs
from pydantic import Field, TypeAdapter, ValidationError

from tunalm.errors import RecipeError, complaint
from tunalm.recipe import Settings
from tunalm.recipe.places import Place
from tunalm.recipe.plain_yaml import parse_yaml, read_yaml
from tunalm.store import local_path

USER_TABLE = "prices.yaml"
"""In the folder where the user's settings of tunalm lie."""


class Usage(NamedTuple):
    """Tokens that a call is charged for, as the server counted them."""

    prompt: int
    completion: int
    cached: int = 0
    """Of those of the prompt: read before, by the server's prefix cache."""
    reasoning: int = 0
    """Of those of the completion: the model's thoughts."""


class Price(Settings):
    """A row of the table: dollars per million tokens."""

    host: str
    model: str
    prompt: float = Field(ge=0, allow_inf_nan=False)
    completion: float = Field(ge=0, allow_inf_nan=False)
    cached_prompt: float | None = Field(None, ge=0, allow_inf_nan=False)
    """Of prompt tokens that the server's prefix cache has; null is as `prompt`."""
    reasoning: float | None = Field(None, ge=0, allow_inf_nan=False)
    """Of tokens of the model's thoughts; null is as `completion`."""
    kind: Literal["endpoint", "batch"] | None = None
    """Of the engine that asks; null fits both."""

    def fits(self, place: Place) -> bool:
        """Whether the row speaks of a model."""
        there = any(fnmatchcase(host, self.host.lower()) for host in place.hosts)
        return there and fnmatchcase(place.model, self.model) and self.kind in (None, place.kind)

    def cost(self, prompt: float, completion: float, cached: float = 0, reasoning: float = 0) -> float:
        """Dollars for so many tokens (see `Usage`)."""
        cached, reasoning = min(cached, prompt), min(reasoning, completion)
        cached_price = self.prompt if self.cached_prompt is None else self.cached_prompt
        reasoning_price = self.completion if self.reasoning is None else self.reasoning
        read = self.prompt * (prompt - cached) + cached_price * cached
        written = self.completion * (completion - reasoning) + reasoning_price * reasoning
        return (read + written) / 1_000_000

    def at_most(self, prompt: float, completion: float) -> float:
        """Dollars that so many tokens cannot exceed, whatever they are charged as."""
        return max(
            self.cost(prompt, completion, *kinds)
            for kinds in ((0, 0), (prompt, 0), (0, completion), (prompt, completion))
        )


@dataclass(frozen=True)
class Prices:
    """The whole table; the first row that fits decides."""

    rows: tuple[Price, ...]

    def find(self, place: Place) -> Price | None:
        """Price of the model at a place, or None if the table does not have it."""
        return next((row for row in self.rows if row.fits(place)), None)


def load_prices(path: str | Path | None = None) -> Prices:
    """Read the user's table, if any, and the one that tunalm ships.

    Args:
        path: a table whose rows come before all others.

    Raises:
        RecipeError: a table cannot be read, or a row is wrong (it is named).
    """
    user = platformdirs.user_config_path("tunalm") / USER_TABLE
    tables = [*([] if path is None else [local_path(path)]), *([user] if user.is_file() else [])]
    shipped = files("tunalm.calls").joinpath("prices.yaml").read_text(encoding="utf-8")
    return Prices((*(row for table in tables for row in _read(table)), *_rows(shipped, "prices.yaml")))


def _read(path: Path) -> Iterable[Price]:
    return _rows(read_yaml(path, fix="Check the path of this table of prices."), str(path))


def _rows(text: str, where: str) -> list[Price]:
    try:
        return TypeAdapter(list[Price]).validate_python(parse_yaml(text, where)[0] or [])
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        row, *rest = first["loc"] or ("table",)
        place = f"row {row + 1}" if isinstance(row, int) else str(row)
        raise RecipeError(
            f"{where}, {': '.join([place, *map(str, rest)])}",
            found=complaint(first),
            fix="A table is a list of rows {host, model, prompt, completion}, in dollars per million tokens.",
        ) from error
