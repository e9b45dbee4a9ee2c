"""What a judge is asked about the lists of a stage: every call, made from the lists and the settings alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from tunalm.data.fences import fences
from tunalm.engines.base import Request
from tunalm.progress import tracked
from tunalm.ranking.judge.canaries import PLANTED, Canary, plant
from tunalm.ranking.judge.orders import balanced_orders
from tunalm.ranking.judge.prompts import prompt, reply_schema
from tunalm.recipe import Rank
from tunalm.records import Message, Ranking
from tunalm.store import digest

CANARY = "canary"
"""End of the key of a call that is a test."""


@dataclass(frozen=True)
class JudgeQuestion:
    """One call."""

    key: str
    prompt: str
    labels: tuple[str, ...]
    """What the responses are called in the prompt, in the order shown."""
    shown: tuple[int, ...]
    """Position in `row.responses` of the response behind each label; of equal texts only the first is shown. A text
    that is no response of the list has `canaries.PLANTED`."""


@dataclass(frozen=True)
class Inquiry:
    """All calls about one list."""

    row: Ranking
    degenerate: Mapping[int, str] = field(default_factory=dict)
    """Position of each response that is not shown -> why."""
    questions: tuple[JudgeQuestion, ...] = ()
    """One per order; none if there are not two different responses to compare."""
    canary: Canary | None = None
    test: JudgeQuestion | None = None
    """The call with the canary in it."""

    @property
    def asked(self) -> tuple[JudgeQuestion, ...]:
        """All calls, the test last."""
        return self.questions if self.test is None else (*self.questions, self.test)


def inquiries(
    rows: Sequence[Ranking], settings: Rank, degenerate: Mapping[str, Mapping[int, str]] | None = None
) -> list[Inquiry]:
    """Make every call of a stage; equal arguments give equal calls.

    Args:
        rows: the lists, with ids that differ.
        settings: of the stage.
        degenerate: what is not to be shown, as `degenerate.find_degenerate` gives it.
    """
    hidden = degenerate or {}
    shown = {row.id: _different(row, hidden.get(row.id, {})) for row in rows}
    able = [row for row in rows if len(shown[row.id]) > 1]
    canaries = plant(able, shown, settings.canaries, settings.seed)
    result = []
    for row in tracked(rows, "writing prompts"):
        result.append(_inquiry(row, shown[row.id], hidden.get(row.id, {}), canaries.get(row.id), settings))
    return result


def request_for(question: JudgeQuestion, settings: Rank, structured: bool) -> Request:
    """What the judge is sent; `structured`: its server can be told the form of the reply."""
    return Request(
        key=question.key,
        messages=[Message(role="user", content=question.prompt)],
        temperature=0.0,
        max_new_tokens=settings.max_new_tokens,
        seed=settings.seed,
        json_schema=reply_schema(question.labels) if structured and settings.protocol == "audited" else None,
    )


def _different(row: Ranking, hidden: Mapping[int, str]) -> tuple[int, ...]:
    """Positions of the responses that can be shown, of equal texts the first."""
    first: dict[str, int] = {}
    for place, response in enumerate(row.responses):
        if response.is_usable and place not in hidden:
            first.setdefault(response.text, place)
    return tuple(first.values())


def _inquiry(
    row: Ranking, places: tuple[int, ...], hidden: Mapping[int, str], canary: Canary | None, settings: Rank
) -> Inquiry:
    if len(places) < 2:
        return Inquiry(row, hidden)
    texts = {place: row.responses[place].text for place in places}
    drawn_with = digest([settings.seed, row.id])
    count = 1 if settings.protocol == "paper" else settings.num_orders
    orders = balanced_orders(len(places), count, drawn_with)
    questions = tuple(
        _question(row, f"{row.id}/{number}", [places[index] for index in order], texts, settings)
        for number, order in enumerate(orders)
    )
    if canary is None:
        return Inquiry(row, hidden, questions)
    more = (*places, PLANTED)
    (order,) = balanced_orders(len(more), 1, [drawn_with, CANARY])
    texts[PLANTED] = canary.text
    test = _question(row, f"{row.id}/{CANARY}", [more[index] for index in order], texts, settings)
    return Inquiry(row, hidden, questions, canary, test)


def _question(row: Ranking, key: str, shown: Sequence[int], texts: Mapping[int, str], settings: Rank) -> JudgeQuestion:
    labels = tuple(f"R{number}" for number in range(1, len(shown) + 1))
    turns = row.messages()
    conversation = "\n\n".join(f"{turn.role}: {turn.text}" for turn in turns) if len(turns) > 1 else turns[0].text
    pieces = [(f"response {label}", texts[place]) for label, place in zip(labels, shown, strict=True)]
    material = fences([("instruction", conversation), *pieces], drawn_with=[settings.seed, key], as_json=True)
    return JudgeQuestion(key, prompt(settings.protocol, material, labels), labels, tuple(shown))
