"""What every benchmark looks like to the evaluation: instructions to answer, and a score for every answer.

To add one, write a class that is made from its settings and has the three members of `Benchmark`, give it a row in
`BENCHMARKS` and its name in `tunalm.recipe.Benchmark`; from another package, an entry point in the group
`tunalm.benchmarks`, for a recipe's `name: custom`. One that scores answers beside those of another model is a
`Comparing` instead; one whose headline is more than a mean over rows has the members of `WithTotals` as well.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from pydantic import Field

from tunalm.calls.context import StageContext
from tunalm.data import data_identity
from tunalm.extensions import extension_identity, load_extension
from tunalm.recipe import Benchmark as BenchmarkSettings
from tunalm.records import Instruction, Prediction, Verdict
from tunalm.store import digest, file_digest

BENCHMARKS = {
    "checkable": "tunalm.evaluation.checkable:CheckableBenchmark",
    "lmentry": "tunalm.evaluation.lmentry.benchmark:LMentryBenchmark",
    "pairwise": "tunalm.evaluation.pairwise.benchmark:PairwiseBenchmark",
    "reference": "tunalm.evaluation.reference:ReferenceBenchmark",
    "superni": "tunalm.evaluation.superni.benchmark:SuperNIBenchmark",
    "vicuna": "tunalm.evaluation.pairwise.benchmark:PairwiseBenchmark",
}
"""Name in a recipe -> module:class; the module is imported when the benchmark is opened, not before."""

GROUP = "tunalm.benchmarks"
"""Of the entry points by which other packages bring benchmarks."""

LARGE_FILE = 1 << 20  # bytes


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


class HeldOut(Protocol):
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
class Benchmark(HeldOut, Protocol):
    """Held-out instructions and a way to score answers to them."""

    def score(self, prediction: Prediction) -> float:
        """Score (0-1) of one answer; failed answers never come here."""


@runtime_checkable
class Comparing(HeldOut, Protocol):
    """Held-out instructions whose answers are scored beside those of another model."""

    def compare(self, predictions: Sequence[Prediction], context: StageContext) -> list[Verdict]:
        """One verdict per answer, in their order.

        An answer that could not be compared has a verdict with `failure` and no score, and is left out of the mean;
        one that failed itself weighs as the worst, as everywhere.

        Args:
            predictions: of all models to all instructions, model by model, failed ones included.
            context: of the stage.
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


def benchmark_identity(settings: BenchmarkSettings) -> str:
    """What the questions are, for fingerprints; large files go by size and time, code of others by its version.

    Raises:
        RecipeError: no installed package brings the benchmark that is named.
    """
    if settings.custom is not None:
        return digest([extension_identity(GROUP, settings.custom), data_identity(settings.data)])
    benchmark = open_benchmark(settings)
    if not isinstance(benchmark, WithTotals):
        return data_identity(settings.data)
    return digest([[path.name, _content(path)] for path in benchmark.files()])


def _content(path: Path) -> object:
    stat = path.stat()
    return file_digest(path) if stat.st_size < LARGE_FILE else [stat.st_size, stat.st_mtime_ns]


def open_benchmark(settings: BenchmarkSettings) -> Benchmark | Comparing:
    """Make the benchmark that `settings` describe.

    Raises:
        RecipeError: no installed package brings the benchmark that is named.
    """
    make: Callable[[BenchmarkSettings], Benchmark | Comparing]
    if settings.custom is not None:
        make = load_extension(GROUP, settings.custom.name)
    else:
        module, name = BENCHMARKS[settings.name].split(":")
        make = getattr(import_module(module), name)
    return make(settings)
