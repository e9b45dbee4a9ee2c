"""Judges' replies read strictly: a mark for everything that was asked for, or a reason why there is none.

An audited reply is one JSON object. One that is not may be salvaged, and says so: text around it is cut off, and signs
that are missing or wrong are repaired. Words and numbers are taken as they stand; a reply from which one would have to
be left out, changed or added is refused, and so is one that was cut.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

import json_repair
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints, ValidationError

from tunalm.engines.reasoning import split_thoughts
from tunalm.ranking.judge.prompts import CRITERIA, HIGHEST_MARK

LONGEST_REPAIR = 20_000
"""Characters of a reply that is still repaired: the time that it takes grows faster than the text."""

_CLOSING_FENCE = "` \n\r\t"
_BRACKETS = re.compile(r"[{}\[\]]")
"""Outside of an object they may be those of a second one, and inside a repaired text those of a part that it has
swallowed: what counts would be a guess."""

_WHOLE = re.compile(r"[0-9]\.?0*", re.ASCII)


def _whole(value: object) -> object:
    """A whole number however it is written: 4, 4.0, "4"."""
    if isinstance(value, str) and _WHOLE.fullmatch(value.strip()) and not value.strip().endswith("."):
        return int(float(value))
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _hyphened(value: object) -> object:
    """A kind however it is spelt: `Open-ended`, `open_ended`."""
    return re.sub(r"[\s_]+", "-", value.strip().lower()) if isinstance(value, str) else value


Mark = Annotated[int, BeforeValidator(_whole), Field(ge=0, le=HIGHEST_MARK, strict=True)]
Text = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, strict=True)]


@dataclass(frozen=True)
class JudgeReading:
    """What a reply says."""

    kind: str
    reference: str
    """The judge's own response."""
    marks: dict[str, dict[str, int]]
    """label -> criterion -> 0-5."""
    ranking: tuple[str, ...]
    """Labels as the judge orders them, best first."""
    evidence: dict[str, str] = field(default_factory=dict)
    duplicates: dict[str, str] = field(default_factory=dict)
    """Label left out -> label of the response that says the same (`paper`)."""
    salvaged: bool = False

    @property
    def totals(self) -> dict[str, int]:
        """label -> sum of its marks, 0-15."""
        return {label: sum(marks.values()) for label, marks in self.marks.items()}

    @property
    def agrees(self) -> bool:
        """Whether the order follows from the marks."""
        ordered = [self.totals[label] for label in self.ranking]
        return ordered == sorted(ordered, reverse=True)


def after_thoughts(text: str) -> str:
    """What a judge answers once it has thought.

    Raises:
        ValueError: it was cut inside its thoughts.
    """
    answer = split_thoughts(text).answer
    if answer is None:
        raise ValueError("the judge's reply was cut inside its thoughts")
    return answer


class _Scores(BaseModel):
    model_config = ConfigDict(extra="forbid")

    evidence: Text
    accuracy: Mark
    detail: Mark
    relevance_or_clarity: Mark


class _Audited(BaseModel):
    model_config = ConfigDict(extra="forbid")

    kind: Annotated[Literal["open-ended", "close-ended"], BeforeValidator(_hyphened)]
    reference: Text
    scores: dict[str, _Scores]
    ranking: list[str]


def read_audited(text: str, labels: Sequence[str], *, whole: bool = True) -> JudgeReading:
    """Read an audited reply.

    Args:
        text: the reply.
        labels: of the responses that were shown.
        whole: the reply was not cut; one that was is not salvaged.

    Raises:
        ValueError: it is not a ranking of exactly these responses; the message says what is wrong.
    """
    value, salvaged = _object(after_thoughts(text), whole, len(labels) + 2)
    try:
        reply = _Audited.model_validate(value)
    except ValidationError as error:
        place = error.errors(include_url=False)[0]["loc"]
        known = [str(part) for part in place if part in {*_Audited.model_fields, *_Scores.model_fields, *labels}]
        raise ValueError(f"the judge's reply has no valid {'.'.join(known) or 'form'}") from error
    if reply.scores.keys() != set(labels):
        raise ValueError("the judge's reply does not mark every response once")
    if sorted(reply.ranking) != sorted(labels):
        raise ValueError("the judge's reply does not rank every response once")
    return JudgeReading(
        kind=reply.kind,
        reference=reply.reference,
        marks={label: {name: getattr(reply.scores[label], name) for name in CRITERIA} for label in labels},
        ranking=tuple(reply.ranking),
        evidence={label: reply.scores[label].evidence for label in labels},
        salvaged=salvaged,
    )


def _object(text: str, whole: bool, objects: int) -> tuple[Any, bool]:
    """The JSON object that a reply is, with so many objects in it, and whether it had to be salvaged."""
    try:
        return _strict_json(text), False
    except _RepeatError:
        raise
    except (ValueError, RecursionError):
        if not whole:
            raise ValueError("the judge's reply was cut") from None
    start, end = text.find("{"), text.rfind("}") + 1
    if start < 0:
        raise ValueError("the judge's reply has no JSON object")
    inner, rest = text[start:end], text[start:].rstrip(_CLOSING_FENCE)
    if _BRACKETS.search(text[:start] + text[end:]):
        return _repaired(objects, rest), True
    try:
        return _strict_json(inner), True
    except _RepeatError:
        raise
    except (ValueError, RecursionError):
        return _repaired(objects, rest, inner), True


class _RepeatError(ValueError):
    """One key stands twice in an object."""


def _strict_json(text: str) -> Any:
    def without_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        if len(value := dict(pairs)) < len(pairs):
            raise _RepeatError("the judge's reply gives the same key twice")
        return value

    return json.loads(text, object_pairs_hook=without_repeats)


def _repaired(objects: int, *texts: str) -> Any:
    """A JSON object from one with broken signs, with the same words and numbers in the same order.

    Args:
        objects: how many there are in it, itself included.
        texts: where it may be; the first in which there is one counts.
    """
    for text in texts:
        if len(text) <= LONGEST_REPAIR and text.count("{") <= objects:
            with suppress(Exception):  # over whatever the library stumbles, there is no object
                value = json_repair.loads(text, skip_json_loads=True)
                leaves = list(_leaves(value))
                same = _bare(re.sub(r"\\[nrt]", " ", text)) == _bare("".join(leaves))
                if same and not any(map(_BRACKETS.search, leaves)):
                    return value
    raise ValueError("the judge's reply has no JSON object that can be repaired")


def _bare(text: str) -> str:
    """A text without blanks and the signs that JSON, or what is meant to be JSON, is made of."""
    return re.sub(r"[\s{}\[\],:\"'\\]", "", text)


def _leaves(value: Any) -> Iterator[str]:
    """Keys and values in the order in which they stand, as JSON spells them."""
    if isinstance(value, dict):
        for key, item in value.items():
            yield str(key)
            yield from _leaves(item)
    elif isinstance(value, list):
        for item in value:
            yield from _leaves(item)
    else:
        yield value if isinstance(value, str) else json.dumps(value)
