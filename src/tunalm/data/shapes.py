"""The shapes that a row of instruction data may have, one model each, and how each becomes an `Instruction`.

    Alpaca         {instruction, input, output}, or in Dolly's words {instruction, context, response}
    messages       {messages: [{role, content}, ...]}
    ShareGPT       {conversations: [{from, value}, ...]}
    self-instruct  {instruction, instances: [{input, output}, ...]}    only the first instance is taken
    FastChat       {question_id, category, turns: [text, ...] or text}    only the first turn is taken
    tunalm         {instruction, input, reference, history, task, checker}    a ranked row is one of these

Every shape may carry an `id`. To add one, write a model with `pattern` and `fields` and give it a row in `SHAPES`.
"""

from __future__ import annotations

import reprlib
from abc import abstractmethod
from collections.abc import Sequence
from typing import Annotated, Any, ClassVar, Literal, Self, TypeVar

from pydantic import (
    AfterValidator,
    AliasChoices,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    field_validator,
    model_validator,
)

from tunalm.data.files import RawRow
from tunalm.errors import DataError
from tunalm.progress import progress
from tunalm.records import Instruction, Message


def _not_blank(text: str) -> str:
    if not text.strip():
        raise ValueError("is empty")
    return text


def _number_as_text(value: object) -> object:
    """An id may be a whole number."""
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


def _reference(text: str | None) -> str | None:
    """A response without any text is no response."""
    return text if text and text.strip() else None


NotBlank = Annotated[str, AfterValidator(_not_blank)]


class Shape(BaseModel):
    """Base of the shapes. Fields that a shape does not name are ignored."""

    model_config = ConfigDict(strict=True)
    pattern: ClassVar[str]
    """How a row looks, for error messages."""

    id: Annotated[NotBlank | None, BeforeValidator(_number_as_text)] = None

    def to_instruction(self, default_id: str) -> Instruction:
        """Return the row as an instruction; `default_id` is for a row that brings no id."""
        return Instruction(id=default_id if self.id is None else self.id, **self.fields())

    @abstractmethod
    def fields(self) -> dict[str, Any]:
        """All fields of the instruction but its id."""


AnyShape = TypeVar("AnyShape", bound=Shape)


class Alpaca(Shape):
    """A row as in the Alpaca data."""

    pattern = "an Alpaca row {instruction, input, output}"

    instruction: NotBlank
    input: str | None = Field(None, validation_alias=AliasChoices("input", "context"))
    output: str | None = Field(validation_alias=AliasChoices("output", "response"))

    def fields(self) -> dict[str, Any]:
        """See `Shape`."""
        return {"instruction": self.instruction, "input": self.input or "", "reference": _reference(self.output)}


class Instance(BaseModel):
    """Input and output of a self-instruct task."""

    input: str | None = None
    output: str | None


class SelfInstruct(Shape):
    """A seed task of self-instruct."""

    pattern = "a self-instruct row {instruction, instances: [{input, output}]}"

    instruction: NotBlank
    instances: list[Instance] = Field(min_length=1)

    def fields(self) -> dict[str, Any]:
        """See `Shape`."""
        first = self.instances[0]
        return {"instruction": self.instruction, "input": first.input or "", "reference": _reference(first.output)}


class FastChat(Shape):
    """A question of Vicuna QA or MT-bench."""

    pattern = "a FastChat row {question_id, category, turns} or {question_id, category, text}"

    id: Annotated[NotBlank, BeforeValidator(_number_as_text)] = Field(validation_alias="question_id")
    turns: list[NotBlank] = Field(min_length=1, validation_alias=AliasChoices("turns", "text"))
    category: str | None = None
    reference: list[str | None] | None = None

    @field_validator("turns", mode="before")
    @classmethod
    def _one(cls, value: object) -> object:
        return [value] if isinstance(value, str) else value

    def fields(self) -> dict[str, Any]:
        """See `Shape`."""
        first = self.reference[0] if self.reference else None
        return {"instruction": self.turns[0], "task": self.category, "reference": _reference(first)}


class Turn(BaseModel):
    """One turn of a conversation, as in `Message`."""

    role: Literal["system", "user", "assistant"]
    content: str
    input: str | None = None

    def to_message(self) -> Message:
        """Return the turn as a record."""
        return Message(role=self.role, content=self.content, input=self.input or "")


class Conversation(Shape):
    """Base of the shapes that are lists of turns: the last user turn is the instruction, what follows the reference."""

    @abstractmethod
    def turns(self) -> list[Message]:
        """The turns in order."""

    @model_validator(mode="after")
    def _has_instruction(self) -> Self:
        asked = [turn for turn in self._prompt() if turn.role == "user"]
        if not asked or self._prompt()[-1].role != "user":
            raise ValueError("the turns do not end with a user turn, or a user turn and the assistant's reply")
        if not all(turn.content.strip() for turn in asked):
            raise ValueError("a user turn is empty")
        return self

    def _prompt(self) -> list[Message]:
        """The turns without the final reply."""
        turns = self.turns()
        return turns[:-1] if turns and turns[-1].role == "assistant" else turns

    def fields(self) -> dict[str, Any]:
        """See `Shape`."""
        *history, asked = self._prompt()
        last = self.turns()[-1]
        reference = _reference(last.content) if last.role == "assistant" else None
        return {"instruction": asked.content, "input": asked.input, "history": history, "reference": reference}


class Messages(Conversation):
    """A conversation as chat models take it."""

    pattern = "a messages row {messages: [{role, content}]}"

    messages: list[Turn]

    def turns(self) -> list[Message]:
        """See `Conversation`."""
        return [turn.to_message() for turn in self.messages]


_SPEAKERS: dict[str, Literal["system", "user", "assistant"]] = {
    "system": "system",
    "human": "user",
    "user": "user",
    "gpt": "assistant",
    "assistant": "assistant",
}


class ShareGptTurn(BaseModel):
    """One turn of a ShareGPT row."""

    speaker: Literal["system", "human", "user", "gpt", "assistant"] = Field(alias="from")
    value: str


class ShareGpt(Conversation):
    """A conversation as in the ShareGPT data."""

    pattern = "a ShareGPT row {conversations: [{from, value}]}"

    conversations: list[ShareGptTurn]

    def turns(self) -> list[Message]:
        """See `Conversation`."""
        return [Message(role=_SPEAKERS[turn.speaker], content=turn.value) for turn in self.conversations]


class Tunalm(Shape):
    """The fields of `Instruction` itself."""

    pattern = "a row {instruction, input, reference, history, task, checker}"

    instruction: NotBlank
    input: str | None = None
    reference: str | None = None
    history: list[Turn] | None = None
    task: str | None = None
    checker: dict[str, Any] | None = None

    def fields(self) -> dict[str, Any]:
        """See `Shape`."""
        return {
            "instruction": self.instruction,
            "input": self.input or "",
            "reference": _reference(self.reference),
            "history": [turn.to_message() for turn in self.history or []],
            "task": self.task,
            "checker": self.checker,
        }


SHAPES: dict[str, type[Shape]] = {
    "messages": Messages,
    "conversations": ShareGpt,
    "instances": SelfInstruct,
    "output": Alpaca,
    "response": Alpaca,
    "instruction": Tunalm,
    "question_id": FastChat,
}
"""A field that gives a shape away -> the shape; the first that is there decides."""


def to_instructions(rows: Sequence[RawRow]) -> list[Instruction]:
    """Turn the rows of one file into instructions. The first row decides the shape; a row without an id gets its index.

    Raises:
        DataError: a row is not of that shape or cannot be stored, or an id is used twice; the place is named.
    """
    shape = _shape(rows[0])
    instructions = []
    places: dict[str, str] = {}
    with progress("Checking rows", len(rows)) as advance:
        for index, row in enumerate(rows):
            instruction = validate(shape, row).to_instruction(str(index))
            _check_storable(instruction, row.where)
            if instruction.id in places:
                raise DataError(
                    row.where,
                    found=f"id {instruction.id!r} for the second time (first at {places[instruction.id]})",
                    expected="every id once",
                    fix="Give each row an id of its own, or remove all ids to have the rows numbered.",
                )
            places[instruction.id] = row.where
            instructions.append(instruction)
            advance(1)
    return instructions


def _shape(row: RawRow) -> type[Shape]:
    for field, shape in SHAPES.items():
        if field in mapping(row):
            return shape
    raise DataError(
        row.where,
        found=list_fields(mapping(row)),
        expected=", or ".join(dict.fromkeys(shape.pattern for shape in SHAPES.values())),
        fix="Rename the fields.",
    )


def mapping(row: RawRow) -> dict[str, Any]:
    """The fields of a row.

    Raises:
        DataError: it is no object.
    """
    if isinstance(row.value, dict):
        return row.value
    raise DataError(
        row.where,
        found=f"{reprlib.repr(row.value)}, which is no object",
        expected="a row such as {instruction, input, output} or {messages}",
        fix="Write every row as a JSON object.",
    )


def list_fields(value: dict[str, Any]) -> str:
    """The names of the fields, for an error message."""
    names = [reprlib.repr(name) for name in value]
    return f"the fields {', '.join(names[:12])}{', ...' if len(names) > 12 else ''}" if names else "no fields"


def validate(shape: type[AnyShape], row: RawRow) -> AnyShape:
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
            reason = first["msg"].removeprefix("Value error, ")
            found = f"{field}: {reason} ({reprlib.repr(first['input'])})" if field else reason
        raise DataError(row.where, found=found, expected=shape.pattern, fix="Correct or remove the row.") from error


def _check_storable(instruction: Instruction, where: str) -> None:
    """Refuse what JSON can spell and we cannot write: half a surrogate pair, or nesting without end."""
    try:
        instruction.model_dump_json()
    except ValueError as error:
        raise DataError(
            where,
            found=f"what no file can hold ({str(error).removeprefix('Error serializing to JSON: ')})",
            expected="text that can be written as UTF-8, not nested too deep",
            fix="Correct or remove the row.",
        ) from error
