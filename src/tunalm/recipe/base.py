"""What all settings share: their base, fields that may name a stage, and the rows that a stage reads."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from tunalm.store import digest, file_digest, local_path

Produces = Literal["model", "proxy", "instructions", "responses", "rankings", "results"]
PromptTemplate = Literal["chat", "alpaca", "raw"]


@dataclass(frozen=True)
class Source:
    """Marks a field that may hold the name of an earlier stage which produces one of `accepts`."""

    accepts: tuple[Produces, ...]


ModelSource = Annotated[str, Source(("model",))]
"""A stage that trains a model, a Hugging Face folder, a hub id `owner/name`, or `embedded:smollm2`."""
ProxySource = Annotated[str, Source(("proxy",))]
"""A stage that trains a proxy, a Hugging Face folder or a hub id of a model that scores responses."""
InstructionsSource = Annotated[str, Source(("instructions",))]
ResponsesSource = Annotated[str, Source(("responses", "rankings"))]
RankingsSource = Annotated[str, Source(("rankings",))]


TAKEN = frozenset({"superseded", "study"})
"""Folders of a run that are no stage's."""
_FOLDER = re.compile(r"\w[\w .~=,+-]*")


def _folder_name(name: str) -> str:
    if not _FOLDER.fullmatch(name) or len(name) > 200 or name in TAKEN or Path(name).suffix in (".json", ".yaml"):
        raise ValueError("must be the name of a folder: letters, digits, '_', '-' and '.', a letter or digit first")
    return name


FolderName = Annotated[str, AfterValidator(_folder_name)]
"""What a folder inside the run folder, or the run folder itself, can be called: it leads nowhere else."""


class Settings(BaseModel):
    """Base of everything in a recipe: unknown keys are errors, attribute docstrings are the help texts."""

    model_config = ConfigDict(
        extra="forbid", use_attribute_docstrings=True, hide_input_in_errors=True, allow_inf_nan=False
    )

    not_hashed: ClassVar[frozenset[str]] = frozenset()
    """Fields that cannot change what a stage makes; changing one does not run the stage again."""

    def identities(self) -> list[str]:
        """What these settings name outside of the recipe, beside models and stages, each with its content."""
        return []


class Stage(Settings):
    """What all stages share."""

    produces: ClassVar[Produces]

    seed: int = 0
    """Seeds everything random in this stage."""


TEMPLATE_OPTIONS = frozenset({"conversation", "messages", "chat_template", "add_generation_prompt", "tokenize"})
"""What a chat template is given anyway."""


class Prompting(Settings):
    """How a model on this machine is asked."""

    template: PromptTemplate | None = None
    """What stands around an instruction: `chat` is the model's own chat template, `alpaca` the Alpaca prompt, `raw`
    nothing, for base models. null is `chat`; a model that has no chat template needs one of the others. A stage that
    trains saves the template with the model."""
    template_args: dict[str, Any] = Field(default_factory=dict)
    """Arguments of the model's own chat template, for instance `{enable_thinking: false}`."""

    @model_validator(mode="after")
    def _arguments_of_its_own(self) -> Self:
        if self.template_args and self.template in ("alpaca", "raw"):
            raise ValueError(f"template_args are arguments of the chat template, and template is {self.template}")
        if wrong := sorted(name for name in self.template_args if name in TEMPLATE_OPTIONS or not name.isidentifier()):
            raise ValueError(f"template_args cannot set {wrong[0]!r}")
        return self


def _slice(value: str) -> str:
    parts = value.split(":")
    if len(parts) != 2 or not all(part.removeprefix("-").isdecimal() or not part for part in parts):
        raise ValueError(f"must be a slice such as ':13000' or '-39000:', not {value!r}")
    return value


Slice = Annotated[str, AfterValidator(_slice)]
"""A part of some rows, as Python writes it."""


def sliced(rows: Slice) -> slice:
    """The slice that a string describes."""
    start, stop = (int(part) if part else None for part in rows.split(":"))
    return slice(start, stop)


class Sliced(Settings):
    """Rows of which a part may be taken."""

    rows: Slice = ":"
    """Python slice of the rows in file order, for instance `:13000` (the first 13K) or `-39000:` (the last 39K)."""

    def select(self) -> slice:
        """The slice that `rows` describes."""
        return sliced(self.rows)


CHECKABLE = "checkable:"
"""In front of the name of built-in instructions."""


class Data(Sliced):
    """Instructions to read. A plain string is the `source`."""

    not_hashed: ClassVar[frozenset[str]] = frozenset({"license"})

    source: InstructionsSource
    """A file (Alpaca, messages or self-instruct rows; .json, .jsonl, .parquet, .gz), a stage that writes instructions,
    a hub dataset id `owner/name`, or `checkable:train`, `checkable:heldout` or `checkable:test` for the built-in tasks
    that a program can check."""
    limit: int | None = Field(None, ge=1)
    """At most so many rows, taken after `rows`."""
    references: Slice = ":"
    """Which rows of the file keep their reference, as in `rows`; the others are read as instructions alone. It shows
    what fewer references would do."""
    split: str = "train"
    """Which split of a hub dataset."""
    license: str | None = None
    """Under which the rows may be used, for instance `cc-by-nc-4.0`: said in the cards of models and lists made from
    them."""

    def identities(self) -> list[str]:
        """What the source holds: equal strings mean equal rows. A hub dataset goes by name and split, a folder by what
        the benchmark that reads it says, a missing file by its name (reading it is an error)."""
        path = local_path(self.source)
        if self.source.startswith(CHECKABLE):
            code = Path(__file__).resolve().parents[1] / "data" / "checkable"
            return [digest([self.source, *map(file_digest, sorted(code.glob("*.py")))])]
        if path.is_dir():
            return []
        return [file_digest(path) if path.is_file() else f"{self.source}[{self.split}]"]

    @model_validator(mode="before")
    @classmethod
    def _short(cls, value: Any) -> Any:
        value = {"source": value} if isinstance(value, str) else value
        inner = value.get("source") if isinstance(value, dict) else None
        if not isinstance(inner, dict):
            return value
        # An input that is a mapping, used as `{source: "${instructions}", rows: ...}`: one mapping in the other.
        outer = {key: item for key, item in value.items() if key != "source"}
        if twice := sorted(inner.keys() & outer.keys()):
            raise ValueError(f"{twice[0]} is given both in the input and where it is used")
        return {**inner, **outer}


class Lists(Sliced):
    """Ranked lists to train on. A plain string is the `source`."""

    source: RankingsSource
    """A stage that ranks, or a file of ranked rows."""

    @model_validator(mode="before")
    @classmethod
    def _short(cls, value: Any) -> Any:
        return {"source": value} if isinstance(value, str) else value
