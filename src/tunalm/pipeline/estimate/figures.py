"""What an estimate says: numbers with what is expected and what is the most that can come."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import reduce
from operator import add

from tunalm.training.needs import TrainingNeeds


@dataclass(frozen=True)
class Amount:
    """A number that is not known yet."""

    expected: float = 0.0
    most: float = 0.0

    def __add__(self, other: Amount) -> Amount:
        return Amount(self.expected + other.expected, self.most + other.most)


NOTHING = Amount()


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
    cost: Amount | None = NOTHING
    """Dollars; None if the price is not known."""

    def __add__(self, other: Asking) -> Asking:
        return Asking(
            who=", ".join(filter(None, (self.who, other.who))),
            requested=self.requested + other.requested,
            answered=self.answered + other.answered,
            calls=self.calls + other.calls,
            prompt_tokens=self.prompt_tokens + other.prompt_tokens,
            completion_tokens=self.completion_tokens + other.completion_tokens,
            cost=None if self.cost is None or other.cost is None else self.cost + other.cost,
        )


@dataclass(frozen=True)
class StageEstimate:
    """What one stage is going to need. A stage that is done needs nothing."""

    stage: str
    kind: str
    state: str
    asked: tuple[Asking, ...] = ()
    training: TrainingNeeds | None = None
    disk: float | None = 0.0
    """Bytes that the stage adds to the run folder; None if not known."""
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Estimate:
    """Every stage of a recipe, in order."""

    stages: list[StageEstimate] = field(default_factory=list)

    @property
    def total(self) -> Asking:
        """All that remains to be asked of all models."""
        return reduce(add, (asking for stage in self.stages for asking in stage.asked), Asking(""))
