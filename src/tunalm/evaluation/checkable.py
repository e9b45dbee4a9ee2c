"""Instructions with checkers: the share of answers that a program accepts."""

from __future__ import annotations

from tunalm.data import load
from tunalm.data.checkable import check
from tunalm.errors import DataError
from tunalm.recipe import BenchmarkSettings
from tunalm.records import Instruction, Prediction

ACCEPTED = 1.0
"""What a checker gives to a right answer; an answer that is only near is wrong."""


class CheckableBenchmark:
    """Runs the checker that came with each instruction."""

    metric = "success"

    def __init__(self, settings: BenchmarkSettings) -> None:
        self._data = settings.instructions

    def rows(self) -> list[Instruction]:
        """The instructions, all of which have a checker."""
        rows = load(self._data)
        missing = [row.id for row in rows if row.checker is None]
        if missing:
            raise DataError(
                self._data.source,
                found=f"{len(missing)} of {len(rows)} rows have no checker (ids {', '.join(missing[:3])})",
                fix="Use the benchmark 'reference', or instructions that have checkers, such as checkable:heldout.",
            )
        return rows

    def score(self, prediction: Prediction) -> float:
        """1 for an answer that its checker accepts, else 0."""
        assert prediction.checker is not None
        return float(check(prediction.checker, prediction.prediction) == ACCEPTED)
