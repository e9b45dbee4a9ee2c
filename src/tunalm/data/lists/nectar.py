"""Nectar (berkeley-nest/Nectar): seven answers per prompt, ranked by GPT-4."""

from __future__ import annotations

import re
from typing import Any

from pydantic import FiniteFloat

from tunalm.data.lists.base import Candidate, RankedShape, dense_ranks
from tunalm.data.shapes import NotBlank
from tunalm.records import Message

_SPEAKER = re.compile(r"\n\n(Human|Assistant):")


class Answer(Candidate):
    """One response; 1 is the best rank."""

    answer: str
    model: str = ""
    rank: FiniteFloat | None = None


class Nectar(RankedShape):
    """A row; its prompt is a conversation of `Human:` and `Assistant:`."""

    pattern = "a Nectar row {prompt, answers: [{answer, model, rank}]}"

    prompt: NotBlank
    answers: list[Answer]

    def fields(self) -> dict[str, Any]:
        """See `Shape`."""
        ranks = dense_ranks([each.rank for each in self.answers])
        responses = [
            each.to_response(each.answer, model=each.model, rank=rank)
            for each, rank in zip(self.answers, ranks, strict=True)
        ]
        return _from_dialogue(self.prompt) | {"responses": responses}


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
