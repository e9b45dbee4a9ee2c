"""From two answers to a verdict: requests to the judge, its replies, and what they say of the model together.

In `paper` mode the judge is asked once, the other model's answer first. In `sound` mode it is asked a second time with
the answers swapped, and only what it says both times counts: two verdicts that differ make a tie. A reply that cannot
be read leaves the question without a verdict; it is counted, and nobody gains or loses by it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from pydantic import Field

from tunalm.calls.context import Calls
from tunalm.engines.base import Completion, Request
from tunalm.evaluation.pairwise.parsing import UnparsedError, scores, verdict
from tunalm.evaluation.pairwise.prompts import GUIDED, JudgeMode, kind_of, paper_prompt, sound_prompt
from tunalm.recipe import EngineSettings
from tunalm.records import UNKNOWN, Instruction, Message, Prediction, Verdict

Outcome = Literal["win", "tie", "loss"]
"""Of the model."""
POINTS: dict[Outcome, float] = {"win": 1.0, "tie": 0.5, "loss": 0.0}
METRIC = "adjusted_win_rate"
TEMPERATURE: dict[JudgeMode, float] = {"paper": 0.2, "sound": 0.0}
"""Of the judge; the first is that of the published script."""
ORDERS: dict[JudgeMode, tuple[bool, ...]] = {"paper": (False,), "sound": (False, True)}
"""Whether the model's answer is shown first, for each time that the judge is asked."""

NO_REVIEW = "the judge gave no review: "
"""How the reason begins where the judge itself failed."""


class PairVerdict(Verdict):
    """The verdict on a model's answer to one question beside another model's; lengths are in characters."""

    against: str
    mode: JudgeMode = "sound"
    outcome: Outcome | None = None
    orders: list[Outcome | None] = Field(default_factory=list)
    """What the judge said each time that it was asked, the other model's answer first and then the model's own."""
    scores: list[list[float]] | None = None
    """Of the model and of the other, each time (`paper`)."""
    reviews: list[str] = Field(default_factory=list)
    """The judge's replies, untouched."""
    identical: bool = False
    """The answers are the same text: a tie, and the judge was not asked."""
    guided: bool = False
    """The judge was shown a reference answer."""
    length: int | None = None
    against_length: int | None = None


@dataclass(frozen=True)
class Pair:
    """Two answers to one question; a failed one has `failure`."""

    question: Instruction
    answer: Prediction
    other: Prediction


@dataclass(frozen=True)
class JudgeRules:
    """How a judge is asked."""

    mode: JudgeMode
    max_new_tokens: int = 1024
    """Of a review; the published limit."""
    seed: int = 0
    ties: bool = True
    """Whether the judge may call answers equal (`sound`)."""


def compare(pairs: Sequence[Pair], rules: JudgeRules, judge: EngineSettings, calls: Calls) -> list[PairVerdict]:
    """Have pairs of answers judged; one comparison per pair, in their order. Reviews are kept in the ledger."""
    asked = {place: requests(pair, rules) for place, pair in enumerate(pairs) if _unasked(pair) is None}
    needed = [request for several in asked.values() for request in several]
    replies = calls.complete(calls.open(judge), needed, "judging") if asked else {}
    return [
        _judged(pair, rules, [replies[request.key] for request in asked[place]])
        if place in asked
        else _base(pair, {"mode": rules.mode, **(_unasked(pair) or {})})
        for place, pair in enumerate(pairs)
    ]


def requests(pair: Pair, rules: JudgeRules) -> list[Request]:
    """What the judge is asked about a pair: one request per order."""
    return [
        Request(
            key=f"{pair.answer.benchmark}/{pair.question.id}/{pair.answer.model}/{pair.other.model}/{order}",
            messages=_prompt(pair, rules, model_first),
            temperature=TEMPERATURE[rules.mode],
            max_new_tokens=rules.max_new_tokens,
            seed=rules.seed,
        )
        for order, model_first in enumerate(ORDERS[rules.mode])
    ]


def read_reviews(reviews: Sequence[str], mode: JudgeMode, category: str | None) -> dict[str, object]:
    """What the reviews of one question say together, as fields of a `PairVerdict`.

    Args:
        reviews: with the other model's answer first; if there are two, the second with the answers swapped.
        mode: how they were asked for.
        category: of the question.
    """
    orders: list[Outcome | None] = []
    scored: list[list[float]] = []
    failures = []
    for number, (text, model_first) in enumerate(zip(reviews, (False, True), strict=False), start=1):
        try:
            if mode == "paper":
                first, second = scores(text, kind_of(category))
                scored.append([first, second] if model_first else [second, first])
                orders.append(_outcome(*scored[-1]))
            else:
                orders.append(_from_letter(verdict(text), model_first))
        except UnparsedError as error:
            orders.append(None)
            failures.append(f"order {number}: {error}" if len(reviews) > 1 else str(error))
    if failures:
        return {"orders": orders, "failure": "; ".join(failures)}
    outcome = consensus([order for order in orders if order is not None])
    return {"orders": orders, "scores": scored or None, "outcome": outcome, "score": POINTS[outcome]}


def consensus(outcomes: Sequence[Outcome]) -> Outcome:
    """What is said every time, or a tie."""
    return outcomes[0] if len(set(outcomes)) == 1 else "tie"


def _unasked(pair: Pair) -> dict[str, object] | None:
    """What is known without a judge, as fields of a `PairVerdict`; None if the judge must say."""
    if pair.answer.failure is not None:
        return {"outcome": "loss", "failure": pair.answer.failure}
    if pair.other.failure is not None:
        return {"failure": f"{pair.other.model} gave no answer: {pair.other.failure}"}
    if pair.answer.prediction == pair.other.prediction:
        return {"outcome": "tie", "score": POINTS["tie"], "identical": True}
    return None


def _judged(pair: Pair, rules: JudgeRules, replies: Sequence[Completion]) -> PairVerdict:
    reviews = [reply.text for reply in replies]
    fields = read_reviews(reviews, rules.mode, pair.question.task)
    if (failed := next((reply.failure for reply in replies if reply.failure is not None), None)) is not None:
        fields["failure"] = failed if failed.startswith(UNKNOWN) else f"{NO_REVIEW}{failed}"
    elif "failure" in fields and any(reply.finish_reason == "length" for reply in replies):
        fields["failure"] = f"{fields['failure']} (a review was cut at {rules.max_new_tokens} tokens)"
    guided = rules.mode == "sound" and pair.question.task in GUIDED and pair.question.reference is not None
    return _base(pair, {"mode": rules.mode, "reviews": reviews, "guided": guided, **fields})


def _base(pair: Pair, fields: Mapping[str, object]) -> PairVerdict:
    return PairVerdict.model_validate(
        {
            "id": pair.question.id,
            "benchmark": pair.answer.benchmark,
            "model": pair.answer.model,
            "metric": METRIC,
            "task": pair.question.task,
            "against": pair.other.model,
            "length": None if pair.answer.failure else len(pair.answer.prediction),
            "against_length": None if pair.other.failure else len(pair.other.prediction),
            **fields,
        }
    )


def _prompt(pair: Pair, rules: JudgeRules, model_first: bool) -> list[Message]:
    turns = pair.question.messages()
    asked = "\n\n".join(f"{turn.role}: {turn.text}" for turn in turns) if len(turns) > 1 else turns[0].text
    first, second = pair.answer.prediction, pair.other.prediction
    if not model_first:
        first, second = second, first
    if rules.mode == "paper":
        return paper_prompt(asked, pair.question.task, first, second)
    reference = pair.question.reference
    return sound_prompt(asked, pair.question.task, first, second, reference=reference, ties=rules.ties)


def _outcome(mine: float, others: float) -> Outcome:
    return "win" if mine > others else "loss" if mine < others else "tie"


def _from_letter(letter: str, model_first: bool) -> Outcome:
    if letter == "C":
        return "tie"
    return "win" if (letter == "A") == model_first else "loss"
