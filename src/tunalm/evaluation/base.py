"""What every benchmark looks like to the evaluation: instructions to answer, and a score for every answer.

To add one, write a class that is made from its settings and has the three members of `Benchmark`, and give it a row in
`tunalm.recipe.BENCHMARKS`. One of your own needs no row: a recipe names it as `name: FILE.py:NAME` or
`name: package.module:NAME`. One that scores answers beside those of another model is a `Comparing` instead; one that
asks for more than answers, or measures several things, is a `Measuring`; one whose headline is more than a mean over
rows has the members of `WithTotals` as well.

Four members are optional: `check(models)` refuses, before any model is asked, what could not be scored later;
`max_new_tokens` is the longest answer as published; `headline` names the total by which the benchmark is quoted; `note`
says what a number must not be quoted without.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from pydantic import Field

from tunalm.calls.context import Calls
from tunalm.engines.base import Request
from tunalm.extensions import load_object
from tunalm.recipe import BENCHMARKS, BenchmarkSettings
from tunalm.records import Instruction, Prediction, Verdict


class Question(Instruction):
    """An instruction as a published benchmark asks it."""

    references: list[str] = Field(default_factory=list)
    """All right answers."""
    raw: str | None = None
    """The whole prompt, as a model without a template (`template: raw`) is asked; None leaves that to the model."""
    always_raw: bool = False
    """Every model is asked with `raw`, and no template is put around it."""
    num_examples: int | None = None
    """Worked examples in the prompt."""
    prompt_cut: bool = False
    """The prompt was too long and lost its end."""
    weight: float | None = None
    """Of the row in the mean of the benchmark, if not all are equal; 1 on average."""


Parts = Sequence[tuple[float, float]]
"""Per row, what it adds to the numerator of a ratio and to its denominator."""


@dataclass(frozen=True)
class Curve:
    """A metric over something else."""

    over: str
    """What that is."""
    points: Mapping[str, Parts]
    """By its values."""


@dataclass(frozen=True)
class Measure:
    """One thing that is measured of all models: a number per row, whose mean is told."""

    name: str
    """In tables: the label of the benchmark, or `LABEL: METRIC`."""
    metric: str
    answers: Sequence[Prediction]
    """What it is made from."""
    verdicts: Sequence[Verdict]
    """One per model and row."""
    curves: Mapping[str, Curve] = field(default_factory=dict)
    """By model."""


class HeldOutRows(Protocol):
    """Held-out instructions."""

    @property
    def metric(self) -> str:
        """Name of what scores measure."""

    def rows(self) -> Sequence[Instruction]:
        """The instructions, in the order in which they are reported.

        Raises:
            DataError: they cannot be read, or lack what scoring needs; the place is named.
        """


@runtime_checkable
class Benchmark(HeldOutRows, Protocol):
    """Held-out instructions and a way to score answers to them."""

    def score(self, prediction: Prediction) -> float:
        """Score (0-1) of one answer; failed answers never come here."""


@runtime_checkable
class Comparing(HeldOutRows, Protocol):
    """Held-out instructions whose answers are scored beside those of another model."""

    def compare(self, predictions: Sequence[Prediction], calls: Calls) -> list[Verdict]:
        """One verdict per answer, in their order.

        An answer that could not be compared has a verdict with `failure` and no score, and is left out of the mean;
        one that failed itself weighs as the worst, as everywhere.

        Args:
            predictions: of all models to all instructions, model by model, failed ones included.
            calls: reach a judge.
        """


@runtime_checkable
class Measuring(HeldOutRows, Protocol):
    """Rows about which models are asked for more than one answer, and of which several things are measured.

    If it has a member `scored_again` that is true, every model also scores the text of its own samples.
    """

    def asked(self, row: Instruction, seed: int, max_new_tokens: int) -> Sequence[Request]:
        """What a model is asked about a row; requests that are equal may share a key.

        Args:
            row: one of `rows`.
            seed: of the evaluation.
            max_new_tokens: longest answer.
        """

    def measures(self, answers: Sequence[Prediction], calls: Calls) -> list[Measure]:
        """What the answers of all models say; the first measure is called as the benchmark is.

        Args:
            answers: model by model and row by row, in the order of `asked`, failed ones included.
            calls: reach further models.
        """


@runtime_checkable
class WithTotals(Protocol):
    """A benchmark with a results file of its own."""

    @property
    def note(self) -> str:
        """How the questions were asked and how many of them: what a number must not be quoted without."""

    def totals(self, answers: Sequence[tuple[Prediction, Verdict]]) -> dict[str, Any]:
        """The content of a results file (see `harness.document`) for one model's answers, the whole benchmark first."""

    def metrics(self, prediction: Prediction, verdict: Verdict) -> dict[str, float | None]:
        """All that one answer scored, by metric; that of the verdict is among them."""

    def files(self) -> list[Path]:
        """The files that the questions come from."""


AnyBenchmark = Benchmark | Comparing | Measuring


def open_benchmark(settings: BenchmarkSettings) -> AnyBenchmark:
    """Make the benchmark that `settings` describe.

    Raises:
        RecipeError: a benchmark of the user's own cannot be loaded.
    """
    name = settings.name
    make: Callable[[BenchmarkSettings], AnyBenchmark] = load_object(BENCHMARKS.get(name, name), "benchmark")
    return make(settings)
