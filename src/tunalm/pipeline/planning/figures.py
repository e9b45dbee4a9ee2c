"""What a plan says: numbers with what is expected, how far off a sample may be, and the most that can come."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import reduce
from itertools import pairwise
from operator import add

from tunalm.training.needs import TrainingNeeds


@dataclass(frozen=True)
class Amount:
    """A number that is not known yet."""

    expected: float = 0.0
    most: float = 0.0
    error: float = 0.0
    """Half of the 95 % interval around `expected` that comes from counting a sample of the rows."""

    def __add__(self, other: Amount) -> Amount:
        # Stages read the same rows, so their errors add up and do not cancel.
        return Amount(self.expected + other.expected, self.most + other.most, self.error + other.error)

    def times(self, factor: float) -> Amount:
        """So many times the amount."""
        return Amount(self.expected * factor, self.most * factor, self.error * factor)


NOTHING = Amount()


def total_of(values: Sequence[float], weight: float, rows: int) -> Amount:
    """The sum over all rows, from the values in a systematic sample of them.

    Args:
        values: in the order of the sample, one or more for each of its rows.
        weight: rows for each row of the sample.
        rows: in the sample.

    Returns:
        The sum, and an error from the differences of neighbours: in a systematic sample from sorted rows they tell how
        much rows of one size differ. Several values of a row are taken to err together.
    """
    total = weight * sum(values)
    if weight <= 1 or len(values) < 2:
        return Amount(total, total)
    each = sum((after - before) ** 2 for before, after in pairwise(values)) / 2 / (len(values) - 1)
    variance = (1 - 1 / weight) * len(values) * each * max(1.0, len(values) / rows)
    return Amount(total, total, 1.96 * weight * math.sqrt(variance))


@dataclass(frozen=True)
class Asking:
    """What remains to be asked of one model, and what it costs."""

    who: str
    """Identity of its engine, or its name where that is not known yet."""
    requested: int = 0
    """Responses of the stage that are known to be wanted, those already answered included."""
    answered: int = 0
    """Of these, how many answers are in the ledger."""
    calls: Amount = NOTHING
    prompt_tokens: Amount = NOTHING
    completion_tokens: Amount = NOTHING
    cached_tokens: float = 0.0
    """Of the prompts, expected from the server's cache, as in the answers that are there; 0 if there are none."""
    reasoning_tokens: float = 0.0
    """Of the completions, likewise: thoughts."""
    cost: Amount | None = NOTHING
    """Dollars; None if the price is not known. The most is what no mixture of kinds of tokens can exceed."""

    def __add__(self, other: Asking) -> Asking:
        return Asking(
            who=", ".join(dict.fromkeys(filter(None, (self.who, other.who)))),
            requested=self.requested + other.requested,
            answered=self.answered + other.answered,
            calls=self.calls + other.calls,
            prompt_tokens=self.prompt_tokens + other.prompt_tokens,
            completion_tokens=self.completion_tokens + other.completion_tokens,
            cached_tokens=self.cached_tokens + other.cached_tokens,
            reasoning_tokens=self.reasoning_tokens + other.reasoning_tokens,
            cost=None if self.cost is None or other.cost is None else self.cost + other.cost,
        )

    def times(self, factor: float) -> Asking:
        """The same so many times, of nothing that is answered already."""
        amounts = {name: getattr(self, name).times(factor) for name in ("calls", "prompt_tokens", "completion_tokens")}
        cost = None if self.cost is None else self.cost.times(factor)
        return replace(self, requested=round(self.requested * factor), cost=cost, **amounts)


@dataclass(frozen=True)
class StageEstimate:
    """What one stage is going to need. A stage that is done needs nothing."""

    stage: str
    kind: str
    state: str
    asked: tuple[Asking, ...] = ()
    training: TrainingNeeds | None = None
    error: float = 0.0
    """Half of the 95 % interval around the tokens of training."""
    disk: float | None = 0.0
    """Bytes that the stage adds to the run folder; None if not known."""
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class RecipePlan:
    """Every stage of a recipe, in order."""

    stages: list[StageEstimate] = field(default_factory=list)

    @property
    def total(self) -> Asking:
        """All that remains to be asked of all models."""
        return reduce(add, (asking for stage in self.stages for asking in stage.asked), Asking(""))
