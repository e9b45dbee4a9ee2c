"""The files that the authors of the paper released (github.com/microsoft/LMOps, folder tuna).

Which fields they have is what their README and their scripts say.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from pydantic import BaseModel, Field, FiniteFloat, model_validator

from tunalm.data.lists.shapes import RankedShape, ranked
from tunalm.data.rows import NotBlank
from tunalm.records import Response

JUDGE = "judge gpt-4"
TEACHER = "text-davinci-003"
STUDENT = "tuna_p"

_ALPACA = re.compile(
    r".*?### Instruction:\n(?P<instruction>.*?)(?:\n\n### Input:\n(?P<input>.*?))?\n\n### Response:\s*", re.DOTALL
)


def _require_one_each(**lists: Sequence[Any]) -> None:
    """Make sure that lists which belong together have one length.

    Raises:
        ValueError: they have not.
    """
    if len({len(values) for values in lists.values()}) > 1:
        raise ValueError(f"{', '.join(lists)} are not of one length")


class AlpacaRow(BaseModel):
    """The row of the Alpaca data that a list of the authors belongs to."""

    instruction: NotBlank
    input: str = ""
    output: str | None = None


class LmopsSampled(RankedShape):
    """Responses of the teacher with their log-likelihoods, not ranked yet (Eq. 3 of the paper takes them)."""

    pattern = "a list {orig: {instruction, input, output}, text: [...], logprob: [...], length: [...]}"

    orig: AlpacaRow
    text: list[str] = Field(min_length=1)
    logprob: list[FiniteFloat]
    length: list[int]

    def fields(self) -> dict[str, Any]:
        """See `Shape`."""
        _require_one_each(text=self.text, logprob=self.logprob, length=self.length)
        responses = [
            Response(text=text, logprob=logprob, num_tokens=length, model=TEACHER)
            for text, logprob, length in zip(self.text, self.logprob, self.length, strict=True)
        ]
        task = {"instruction": self.orig.instruction, "input": self.orig.input, "reference": self.orig.output or None}
        return task | {"responses": responses}


class LmopsJudged(RankedShape):
    """Responses of the student with the order that the judge put them in, its own response among them.

    The order may leave out duplicates, which then share the rank of their equal. An order that names a response twice,
    or one that does not exist, makes the list a failed one.
    """

    pattern = "a list {id, instruct, generation: [...], rank: [...], response_4}"

    instruct: NotBlank
    generation: list[str] = Field(min_length=1)
    order: list[int] = Field(validation_alias="rank")
    response_4: str = ""
    gpt_eval: str = ""
    prompt: str = ""
    """What the judge was asked; it repeats the instruction and the responses, and is not kept."""
    rank_str: str = ""

    @model_validator(mode="before")
    @classmethod
    def _plural(cls, row: Any) -> Any:
        """The script that wrote the file names the order `ranks`."""
        return {**row, "rank": row["ranks"]} if isinstance(row, dict) and "ranks" in row and "rank" not in row else row

    def fields(self) -> dict[str, Any]:
        """See `Shape`."""
        task = _from_template(self.instruct) | {
            "ranked_by": JUDGE,
            "judgement": {"reference": self.response_4, "reply": self.gpt_eval, "ranking": self.order},
        }
        responses = [Response(text=text, model=STUDENT) for text in self.generation]
        own = len(responses)
        if len(set(self.order)) < len(self.order) or not set(self.order) <= set(range(own + 1)):
            return task | {"responses": responses, "failure": f"the order {self.order} is not one of these responses"}
        place = {self.generation[index]: place for place, index in enumerate(self.order) if index != own}
        return task | {"responses": ranked(responses, [place.get(text) for text in self.generation])}


class LmopsTraining(RankedShape):
    """A list as the authors train on it, best by its score; the reference may be one of the responses."""

    pattern = "a list {id, instruction, output: [...], score: [...]}"

    instruction: NotBlank
    output: list[str] = Field(min_length=1)
    score: list[FiniteFloat]

    def fields(self) -> dict[str, Any]:
        """See `Shape`."""
        _require_one_each(output=self.output, score=self.score)
        responses = [Response(text=text, score=score) for text, score in zip(self.output, self.score, strict=True)]
        return _from_template(self.instruction) | {"responses": ranked(responses, [-score for score in self.score])}


def _from_template(prompt: str) -> dict[str, Any]:
    """Instruction and input of a prompt that was written by the Alpaca template; any other text is the instruction."""
    found = _ALPACA.fullmatch(prompt)
    return {"instruction": prompt} if found is None else {name: text or "" for name, text in found.groupdict().items()}
