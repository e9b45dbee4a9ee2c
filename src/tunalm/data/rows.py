"""What is done with every row of a file: its fields, its shape, its id, and what is wrong with it."""

from __future__ import annotations

import reprlib
from abc import abstractmethod
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Annotated, Any, ClassVar, Protocol, Self, TypeVar

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from tunalm.data.files import RawRow
from tunalm.errors import DataError, complaint
from tunalm.progress import console

MOST_FIELDS = 1000
FAULTS_NAMED = 5
MOST_NAMED = 12
LONGEST_REASON = 120
_EMPTY: tuple[Any, ...] = (None, "", "[]", "{}", [], {})

MATTERS = frozenset(
    {"system", "history", "tools", "functions", "tool_calls", "function_call", "weight", "loss_weight", "mask", "train"}
    | {"image", "images", "video", "videos", "audio", "audios", "chosen", "rejected", "kto_tag", "reasoning_content"}
    | {"instruction", "input", "context", "output", "response", "reference", "messages", "conversations", "prompt"}
)
"""Fields that change what a row means, to us or to other tools. A shape that does not read one refuses the row."""


def _not_blank(text: str) -> str:
    if not text.strip():
        raise ValueError("is empty")
    return text


def _number_as_text(value: object) -> object:
    """An id may be a whole number."""
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


def text_or_none(text: str | None) -> str | None:
    """A response without any text is no response."""
    return text if text and text.strip() else None


NotBlank = Annotated[str, AfterValidator(_not_blank)]
RowId = Annotated[NotBlank | None, BeforeValidator(_number_as_text)]


class Shape(BaseModel):
    """Base of the shapes: a model of the fields that are read. Others are kept, or refused if they matter."""

    model_config = ConfigDict(strict=True, extra="allow")
    pattern: ClassVar[str]
    """How a row looks, for error messages."""
    ignored: ClassVar[frozenset[str]] = frozenset()
    """Fields that matter elsewhere and repeat here what others say."""

    id: RowId = Field(None)

    @model_validator(mode="after")
    def _reads_what_matters(self) -> Self:
        for name, value in (self.model_extra or {}).items():
            if name in MATTERS - self.ignored and value not in _EMPTY:
                raise ValueError(f"the field '{name}', which is not read here")
        return self

    @model_validator(mode="after")
    def _makes_one(self) -> Self:
        self.fields()
        return self

    @abstractmethod
    def fields(self) -> dict[str, Any]:
        """All fields of the record that the row becomes, but its id.

        Raises:
            ValueError: they make none.
        """

    def kept(self, taken: Iterable[str]) -> dict[str, Any]:
        """The fields that the shape does not read, but for those that would be taken for something else."""
        return {name: value for name, value in (self.model_extra or {}).items() if name not in {*taken, *MATTERS}}


AnyShape = TypeVar("AnyShape", bound=BaseModel)


class _HasId(Protocol):
    @property
    def id(self) -> str:
        """Names the row in its file."""


Record = TypeVar("Record", bound=_HasId)


def checked(
    rows: Iterable[RawRow],
    read: Callable[[RawRow, int], Record],
    source: object,
    *,
    rename: Callable[[RawRow], bool] = lambda row: False,
    tell: bool = True,
) -> Iterator[Record]:
    """Yield what is read from rows, up to the first that is wrong, and go on to the end to find the others.

    Args:
        rows: of one file.
        read: makes a record of a row and its number, from 0.
        source: names the rows in an error about several.
        rename: whether a row whose id was there before gets another, and is not refused.
        tell: say which fields are kept and not read.

    Raises:
        DataError: rows are wrong, or an id comes twice.
    """
    places: dict[str, str] = {}
    unread: Counter[str] = Counter()
    faults: list[DataError] = []
    for number, row in enumerate(rows):
        try:
            record = read(row, number)
            if record.id in places and rename(row):
                record = _renamed(record, places)
            if record.id in places:
                raise DataError(
                    row.where,
                    found=f"id {record.id!r} for the second time (first at {places[record.id].rpartition('/')[2]})",
                    fix="Give each row an id of its own, or remove all ids to have the rows numbered.",
                )
        except DataError as error:
            faults.append(error)
            continue
        places[record.id] = row.where
        unread.update(list(getattr(record, "model_extra", None) or {}))
        if not faults:
            yield record
    _require_none(faults, source)
    if unread and tell:
        said = ", ".join(f"{name} ({count})" for name, count in unread.most_common(MOST_NAMED))
        console().print(f"Fields that are kept and not read, with their rows: {said}", markup=False)


def _require_none(faults: Sequence[DataError], source: object) -> None:
    """Raise the one fault, or an error of how many there are with the places of the first."""
    if len(faults) == 1:
        raise faults[0]
    if faults:
        said = "; ".join(
            f"{error.where.rpartition('/')[2]}: {error.found[:LONGEST_REASON]}" for error in faults[:FAULTS_NAMED]
        )
        more = f"; and {len(faults) - FAULTS_NAMED} more" if len(faults) > FAULTS_NAMED else ""
        raise DataError(
            source, found=f"{len(faults)} rows that are wrong ({said}{more})", fix="Correct or remove them."
        )


def _renamed(record: Record, places: Mapping[str, str]) -> Record:
    number = next(number for number in range(1, len(places) + 2) if f"{record.id}/{number}" not in places)
    return record.model_copy(update={"id": f"{record.id}/{number}"})  # type: ignore[attr-defined,no-any-return]


def mapping(row: RawRow) -> dict[str, Any]:
    """The fields of a row.

    Raises:
        DataError: it is no object, or has more fields than any row of data.
    """
    if isinstance(row.value, DataError):
        raise row.value
    if not isinstance(row.value, dict):
        raise DataError(
            row.where,
            found=f"{reprlib.repr(row.value)}, which is no object",
            fix="Write every row as a JSON object, such as {instruction, input, output} or {messages}.",
        )
    if len(row.value) > MOST_FIELDS:
        raise DataError(row.where, found=f"a row of {len(row.value)} fields", fix="Check the file.")
    return row.value


def list_fields(value: dict[str, Any]) -> str:
    """The names of the fields, for an error message."""
    names = [reprlib.repr(name) for name in value]
    return (
        f"the fields {', '.join(names[:MOST_NAMED])}{', ...' if len(names) > MOST_NAMED else ''}"
        if names
        else "no fields"
    )


def validate(shape: type[AnyShape], row: RawRow, pattern: str = "") -> AnyShape:
    """Check a row of a file against a shape.

    Raises:
        DataError: it is not of that shape; the first field that is wrong is named.
    """
    value = mapping(row)
    try:
        return shape.model_validate(value)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        field = ".".join(str(part) for part in first["loc"])
        if first["type"] == "missing" and len(first["loc"]) == 1:
            found = f"no '{field}' among {list_fields(value)}"
        else:
            reason = complaint(first)
            found = f"{field}: {reason} ({reprlib.repr(first['input'])})" if field else reason
        wanted = pattern or getattr(shape, "pattern", "")
        raise DataError(row.where, found=found, expected=wanted, fix="Correct or remove the row.") from error


def require_storable(record: BaseModel, where: str) -> None:
    """Refuse what JSON can spell and no file of ours can hold: half a surrogate pair, or nesting without end.

    Raises:
        DataError: naming the row.
    """
    try:
        record.model_dump_json()
    except ValueError as error:
        raise DataError(
            where,
            found=f"what no file can hold ({str(error).removeprefix('Error serializing to JSON: ')})",
            fix="Correct or remove the row.",
        ) from error
