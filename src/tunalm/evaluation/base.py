"""What every benchmark looks like to the evaluation: instructions to answer, and a score for every answer.

To add one, write a class with the three members of `Benchmark`, give it a row in `BENCHMARKS` and its name in
`tunalm.recipe.Benchmark`.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import Protocol, cast

from tunalm.recipe import Benchmark as BenchmarkSettings
from tunalm.records import Instruction, Prediction

BENCHMARKS = {
    "checkable": "tunalm.evaluation.checkable:CheckableBenchmark",
    "reference": "tunalm.evaluation.reference:ReferenceBenchmark",
}
"""Name in a recipe -> module:class; the module is imported when the benchmark is opened, not before."""


class Benchmark(Protocol):
    """Held-out instructions and a way to score answers to them."""

    @property
    def metric(self) -> str:
        """Name of what `score` measures."""

    def rows(self) -> list[Instruction]:
        """The instructions, in the order in which they are reported.

        Raises:
            DataError: they cannot be read, or lack what scoring needs; the place is named.
        """

    def score(self, prediction: Prediction) -> float:
        """Score (0-1) of one answer; failed answers never come here."""


def open_benchmark(settings: BenchmarkSettings) -> Benchmark:
    """Make the benchmark that `settings` describe."""
    module, name = BENCHMARKS[settings.name].split(":")
    make = cast(Callable[[BenchmarkSettings], Benchmark], getattr(import_module(module), name))
    return make(settings)
