"""The shapes of ranked lists, but for those of the paper's authors (see `lmops`)."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, FiniteFloat

from tunalm.data.rows import NotBlank, Shape, text_or_none
from tunalm.data.shapes import TurnShape, from_turns, sharegpt_turn, with_system
from tunalm.records import Message, Ranking, Response

_OF_A_RANKING = frozenset(Ranking.model_fields)
_OF_A_RESPONSE = frozenset(Response.model_fields)
_SPEAKER = re.compile(r"\n\n(Human|Assistant):")


class RankedShape(Shape):
    """Base of the shapes of lists. Fields that a shape does not name are kept, or refused if they matter."""

    def to_ranking(self, default_id: str) -> Ranking:
        """Return the row as a list of responses; `default_id` is for a row that brings no id."""
        return Ranking(id=default_id if self.id is None else self.id, **self.kept(_OF_A_RANKING), **self.fields())


class Candidate(BaseModel):
    """Base of the shapes of one response in a list. Fields that a shape does not name are kept as well."""

    model_config = ConfigDict(strict=True, extra="allow")

    def to_response(self, text: str, **known: Any) -> Response:
        """Return it as a response."""
        kept = {name: value for name, value in (self.model_extra or {}).items() if name not in _OF_A_RESPONSE}
        return Response(text=text, **known, **kept)


def dense_ranks(values: Sequence[float | None]) -> list[int | None]:
    """Ranks from 0, the smallest value best, no number left out, equal values tied, None where there is no value."""
    place = {value: rank for rank, value in enumerate(sorted({value for value in values if value is not None}))}
    return [None if value is None else place[value] for value in values]


def ranked(responses: Sequence[Response], values: Sequence[float | None]) -> list[Response]:
    """Responses with dense ranks, the smallest value best; None takes no part."""
    ranks = dense_ranks(values)
    return [each.model_copy(update={"rank": rank}) for each, rank in zip(responses, ranks, strict=True)]


class ScoredCompletion(Candidate):
    """One response of UltraFeedback."""

    response: str
    model: str = ""
    overall_score: FiniteFloat | None = None


class UltraFeedback(RankedShape):
    """A row of openbmb/UltraFeedback, ranked by `overall_score`; a completion without one has no rank."""

    pattern = "an UltraFeedback row {instruction, completions: [{response, model, overall_score}]}"

    instruction: NotBlank
    completions: list[ScoredCompletion]

    def fields(self) -> dict[str, Any]:
        """See `Shape`."""
        responses = [
            each.to_response(each.response, model=each.model, score=each.overall_score) for each in self.completions
        ]
        best_first = [None if each.score is None else -each.score for each in responses]
        return {"instruction": self.instruction, "responses": ranked(responses, best_first)}


class RankedAnswer(Candidate):
    """One response of Nectar; 1 is the best rank."""

    answer: str
    model: str = ""
    rank: FiniteFloat | None = None


class Nectar(RankedShape):
    """A row of berkeley-nest/Nectar; its prompt is a conversation of `Human:` and `Assistant:`."""

    pattern = "a Nectar row {prompt, answers: [{answer, model, rank}]}"

    prompt: NotBlank
    answers: list[RankedAnswer]

    def fields(self) -> dict[str, Any]:
        """See `Shape`."""
        responses = [each.to_response(each.answer, model=each.model, rank=None) for each in self.answers]
        return _from_dialogue(self.prompt) | {"responses": ranked(responses, [each.rank for each in self.answers])}


def _from_dialogue(prompt: str) -> dict[str, Any]:
    """Earlier turns and the instruction of a prompt of the form `\\n\\nHuman: ... \\n\\nAssistant:`."""
    opening, *parts = _SPEAKER.split(prompt)
    turns = [
        Message(role="user" if speaker == "Human" else "assistant", content=text.strip())
        for speaker, text in zip(parts[::2], parts[1::2], strict=True)
    ]
    while turns and turns[-1].role == "assistant" and not turns[-1].content:
        turns.pop()
    if opening.strip() or not turns or turns[-1].role != "user":
        return {"instruction": prompt.strip()}
    return {"instruction": turns[-1].content, "history": turns[:-1]}


PairTurn = Annotated[TurnShape, BeforeValidator(sharegpt_turn)]
Side = Annotated[str | list[PairTurn], BeforeValidator(lambda value: [value] if isinstance(value, dict) else value)]
"""A reply as text, or turns that end with it and may begin with the prompt."""


class Pairs(RankedShape):
    """Two responses, the better one named, as TRL, LLaMA-Factory, axolotl and others write them, with text or turns.

    The prompt stands apart (`prompt`, `instruction` and `input`, `conversations` or `messages`), or in front of both
    replies.
    """

    pattern = "a pair {prompt, chosen, rejected}, each a text or a list of turns"

    chosen: Side
    rejected: Side
    prompt: str | list[PairTurn] | None = None
    instruction: str | None = None
    input: str | None = None
    conversations: list[PairTurn] | None = None
    messages: list[PairTurn] | None = None
    """The prompt (axolotl); beside a `prompt`, UltraFeedback's binarized pairs repeat the better conversation there."""
    system: str | None = None
    reference: Side | None = None
    score_chosen: FiniteFloat | None = None
    score_rejected: FiniteFloat | None = None

    def fields(self) -> dict[str, Any]:
        """See `Shape`."""
        (better, asked), (worse, asked_too) = _parted(self.chosen), _parted(self.rejected)
        if asked != asked_too:
            raise ValueError("chosen and rejected do not begin with the same prompt")
        scores = self.score_chosen, self.score_rejected
        ranks = (0, 0) if better == worse else (0, 1)
        replies = zip((better, worse), ranks, scores, strict=True)
        return {
            **self._task(asked),
            "reference": None if self.reference is None else text_or_none(_parted(self.reference)[0]),
            "responses": [Response(text=text, rank=rank, score=score) for text, rank, score in replies],
        }

    def _task(self, asked: list[Message]) -> dict[str, Any]:
        given = self.prompt or self.conversations or (None if self.instruction else self.messages)
        if isinstance(given, str) and not asked:
            dialogue = _from_dialogue(given)
            return dialogue | {"history": with_system(self.system, dialogue.get("history", []))}
        turns = asked or [turn.to_message() for turn in given or [] if isinstance(turn, TurnShape)]
        if not turns and self.instruction:
            turns = [Message(role="user", content=self.instruction, input=self.input or "")]
        return from_turns(turns, self.system)


def _parted(side: str | list[TurnShape]) -> tuple[str, list[Message]]:
    """The reply at the end, and the turns before it."""
    if isinstance(side, str):
        *before, reply = _SPEAKER.split(side)
        if not before or before[-1] != "Assistant":
            return side, []
        prompt = _from_dialogue(side[: len(side) - len(reply)])
        return reply.strip(), [*prompt.get("history", []), Message(role="user", content=prompt["instruction"])]
    if not side or side[-1].role != "assistant":
        raise ValueError("a side of the pair that does not end with the assistant's reply")
    return side[-1].content, [turn.to_message() for turn in side[:-1]]


class RankedCompletion(Candidate):
    """One response of NeMo-RL; 0 is the best rank."""

    rank: int
    completion: list[PairTurn]


class NemoRl(RankedShape):
    """A row of NeMo-RL's preference data: a list of any length."""

    pattern = "a NeMo-RL row {context, completions: [{rank, completion}]}"

    context: list[PairTurn]
    completions: list[RankedCompletion]

    def fields(self) -> dict[str, Any]:
        """See `Shape`."""
        replies = [each.to_response(_parted(each.completion)[0]) for each in self.completions]
        return {
            **from_turns([turn.to_message() for turn in self.context], None),
            "responses": ranked(replies, [each.rank for each in self.completions]),
        }
