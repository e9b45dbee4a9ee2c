"""The shapes that a row of instruction data may have, one model each, and how each becomes an `Instruction`.

    plain          {instruction, input, output}, in Dolly's words {instruction, context, response}, or in those of
                   tunalm {instruction, input, reference, history, task, checker}; a ranked row is one of these
    messages       {messages: [{role, content}, ...]}
    ShareGPT       {conversations: [{from, value}, ...]}
    self-instruct  {instruction, instances: [{input, output}, ...]}    only the first instance is taken
    FastChat       {question_id, category, turns: [text, ...] or text}    only the first turn is taken

Every shape may carry an `id`, and the first three a `system` message. A field that is not read is kept under its name,
or refused if it would change what the row means (see `rows.MATTERS`). To add a shape, write a model with `pattern` and
`fields` and give it a row in `SHAPES`.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Any, Literal, Self

from pydantic import AliasChoices, BaseModel, BeforeValidator, ConfigDict, Field, field_validator, model_validator

from tunalm.data.files import RawRow
from tunalm.data.rows import (
    NotBlank,
    RowId,
    Shape,
    checked,
    list_fields,
    mapping,
    require_storable,
    text_or_none,
    validate,
)
from tunalm.errors import DataError
from tunalm.records import Instruction, Message, Ranking

_OF_A_RANKING = frozenset(Ranking.model_fields) - frozenset(Instruction.model_fields)
_OF_TURNS = frozenset(
    {"tool_calls", "function_call", "tool_call_id", "reasoning_content", "thinking", "images", "loss"}
)
"""Fields of a turn that matter to other tools, and are refused."""
_OF_PAIRS = {"chosen", "rejected"}
_SPEAKERS = {"human": "user", "gpt": "assistant"}


class InstructionShape(Shape):
    """Base of the shapes of instructions."""

    def to_instruction(self, default_id: str) -> Instruction:
        """Return the row as an instruction; `default_id` is for a row that brings no id."""
        kept = self.kept({*Instruction.model_fields, *_OF_A_RANKING})
        return Instruction(id=default_id if self.id is None else self.id, **kept, **self.fields())


class TurnShape(BaseModel):
    """One turn of a conversation, as in `Message`."""

    model_config = ConfigDict(strict=True, extra="allow")

    role: Literal["system", "user", "assistant"]
    content: str
    input: str | None = None
    weight: Literal[0, 1, None] = None
    """0 keeps an assistant's turn from being learned."""

    @model_validator(mode="after")
    def _reads_what_matters(self) -> Self:
        for name, value in (self.model_extra or {}).items():
            if name in _OF_TURNS and value:
                raise ValueError(f"the field '{name}' of a turn, which is not read")
        return self

    def to_message(self) -> Message:
        """Return the turn as a record."""
        return Message(role=self.role, content=self.content, input=self.input or "")


def _pairs_as_turns(value: object) -> object:
    """Earlier turns that are given as [[question, answer], ...]."""
    if not isinstance(value, list) or not all(isinstance(pair, list) and len(pair) == 2 for pair in value):
        return value
    roles = ("user", "assistant")
    return [{"role": role, "content": text} for pair in value for role, text in zip(roles, pair, strict=True)]


def sharegpt_turn(value: object) -> object:
    """A turn of ShareGPT in the words of `Message`."""
    if not isinstance(value, dict) or "from" not in value:
        return value
    others = {name: each for name, each in value.items() if name not in ("from", "value")}
    speaker = value["from"]
    role = _SPEAKERS.get(speaker, speaker) if isinstance(speaker, str) else speaker
    return {**others, "role": role, "content": value.get("value")}


class Plain(InstructionShape):
    """One instruction, in one of three vocabularies."""

    pattern = "a row {instruction, input, output} or {instruction, input, reference, history, task, checker}"

    instruction: NotBlank
    input: str | None = Field(None, validation_alias=AliasChoices("input", "context"))
    output: str | None = Field(None, validation_alias=AliasChoices("output", "response", "reference"))
    system: str | None = None
    history: Annotated[list[TurnShape] | None, BeforeValidator(_pairs_as_turns)] = None
    task: str | None = None
    checker: dict[str, Any] | None = None

    @model_validator(mode="before")
    @classmethod
    def _ranked_row(cls, row: Any) -> Any:
        """What only a ranked row has says nothing of its instruction."""
        ranked = isinstance(row, dict) and "responses" in row
        return {name: value for name, value in row.items() if name not in _OF_A_RANKING} if ranked else row

    def fields(self) -> dict[str, Any]:
        """See `Shape`."""
        return {
            "instruction": self.instruction,
            "input": self.input or "",
            "reference": text_or_none(self.output),
            "history": with_system(self.system, [turn.to_message() for turn in self.history or []]),
            "task": self.task,
            "checker": self.checker,
        }


class Instance(BaseModel):
    """Input and output of a self-instruct task."""

    input: str | None = None
    output: str | None


class SelfInstruct(InstructionShape):
    """A seed task of self-instruct."""

    pattern = "a self-instruct row {instruction, instances: [{input, output}]}"

    instruction: NotBlank
    instances: list[Instance] = Field(min_length=1)

    def fields(self) -> dict[str, Any]:
        """See `Shape`."""
        first = self.instances[0]
        return {"instruction": self.instruction, "input": first.input or "", "reference": text_or_none(first.output)}


class FastChat(InstructionShape):
    """A question of Vicuna QA or MT-bench."""

    pattern = "a FastChat row {question_id, category, turns} or {question_id, category, text}"

    id: RowId = Field(validation_alias="question_id")
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
        return {"instruction": self.turns[0], "task": self.category, "reference": text_or_none(first)}


class Messages(InstructionShape):
    """A conversation as chat models take it: the last user turn is the instruction, a reply to it the reference."""

    pattern = "a messages row {messages: [{role, content}]}"
    ignored = frozenset({"prompt"})

    turns: list[TurnShape] = Field(validation_alias="messages")
    system: str | None = None

    def fields(self) -> dict[str, Any]:
        """See `Shape`."""
        reply = self.turns[-1] if self.turns and self.turns[-1].role == "assistant" else None
        asked = [turn.to_message() for turn in (self.turns[:-1] if reply else self.turns)]
        reference = text_or_none(reply.content) if reply and reply.weight != 0 else None
        return {**from_turns(asked, self.system), "reference": reference}


class ShareGpt(Messages):
    """A conversation as in the ShareGPT data."""

    pattern = "a ShareGPT row {conversations: [{from, value}]}"

    turns: list[Annotated[TurnShape, BeforeValidator(sharegpt_turn)]] = Field(validation_alias="conversations")


SHAPES: dict[str, type[InstructionShape]] = {
    "messages": Messages,
    "conversations": ShareGpt,
    "instances": SelfInstruct,
    "instruction": Plain,
    "output": Plain,
    "response": Plain,
    "question_id": FastChat,
}
"""A field that gives a shape away -> the shape; the first that is there decides."""


def from_turns(turns: list[Message], system: str | None = None) -> dict[str, Any]:
    """Instruction, input and history of a conversation that ends with what is asked.

    Raises:
        ValueError: it does not, or a turn that asks is empty.
    """
    if not turns or turns[-1].role != "user":
        raise ValueError("the turns do not end with a user turn, or a user turn and the assistant's reply")
    if not all(turn.content.strip() for turn in turns if turn.role == "user"):
        raise ValueError("a user turn is empty")
    *history, asked = turns
    return {"instruction": asked.content, "input": asked.input, "history": with_system(system, history)}


def with_system(system: str | None, history: list[Message]) -> list[Message]:
    """Earlier turns with a system message in front.

    Raises:
        ValueError: there is one already.
    """
    if not system:
        return history
    if history and history[0].role == "system":
        raise ValueError("a system message beside one among the turns")
    return [Message(role="system", content=system), *history]


def to_instructions(rows: Iterable[RawRow], source: object, *, tell: bool = True) -> list[Instruction]:
    """Turn the rows of one source into instructions. A row without an id gets its index.

    Args:
        rows: of one source.
        source: names them in an error about several.
        tell: say which fields are kept and not read.

    Raises:
        DataError: rows are of no shape or cannot be stored, or an id is used twice; the places are named.
    """
    return list(checked(rows, _to_instruction, source, tell=tell))


def _to_instruction(row: RawRow, number: int) -> Instruction:
    for field, shape in SHAPES.items():
        if field in mapping(row):
            instruction = validate(shape, row).to_instruction(str(number))
            require_storable(instruction, row.where)
            return instruction
    if mapping(row).keys() >= _OF_PAIRS:
        fix = "Give instructions, or turn pairs into ranked lists with `tunalm convert`."
        raise DataError(row.where, found="a pair, with 'chosen' and 'rejected'", expected="an instruction", fix=fix)
    raise DataError(
        row.where,
        found=list_fields(mapping(row)),
        expected=", or ".join(dict.fromkeys(shape.pattern for shape in SHAPES.values())),
        fix="Rename the fields.",
    )
