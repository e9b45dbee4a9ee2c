"""Results of several runs put together: all their models, compared on the instructions that both of a pair have."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tunalm.errors import DataError
from tunalm.evaluation.results import compare, counted
from tunalm.records import EvaluationResults, ModelResults, Verdict
from tunalm.store import iterate_rows

Points = dict[tuple[str, str], dict[str, float | None]]
"""(model, benchmark) -> points by id of the instruction."""


@dataclass(frozen=True)
class Evaluated:
    """A finished evaluation of a run: its folder, and its results.json."""

    folder: Path
    results: EvaluationResults


@dataclass(frozen=True)
class Merged:
    """Several evaluations as one."""

    results: EvaluationResults
    """With the benchmarks that all evaluations have."""
    names: dict[str, dict[str, str]]
    """By run, what its models are called, by their names there; models that an earlier run has too are left out."""
    notes: list[str]
    """What a reader must know of the numbers."""


def merge(evaluations: Mapping[str, Evaluated], name_of: Callable[[str, str], str]) -> Merged:
    """Put evaluations together. Every model is compared with the first one, and with those of its name in other runs.

    Args:
        evaluations: by the name of the run; at least one.
        name_of: makes a name from that of a model and that of its run.

    Raises:
        DataError: the evaluations have no benchmark in common, or the answers of one cannot be read.
    """
    metrics = [set(_metrics(evaluated).items()) for evaluated in evaluations.values()]
    seen = {name: metric for evaluated in evaluations.values() for name, metric in _metrics(evaluated).items()}
    benchmarks = {name: metric for name, metric in seen.items() if all((name, metric) in each for each in metrics)}
    if not benchmarks:
        had = "; ".join(f"{run}: {', '.join(_metrics(evaluated))}" for run, evaluated in evaluations.items())
        raise DataError("runs", found=f"no benchmark in common ({had})", fix="Compare runs that evaluate on the same.")
    models: dict[str, ModelResults] = {}
    names: dict[str, dict[str, str]] = {}
    points: Points = {}
    plain: dict[str, str] = {}
    known: list[object] = []
    for run, evaluated in evaluations.items():
        names[run], own = {}, []
        for model, outcome in evaluated.results.models.items():
            kept = outcome.model_copy(update={"results": {name: outcome.results[name] for name in benchmarks}})
            if (same := _known(kept)) not in known:
                own.append(same)
                name = names[run][model] = name_of(model, run)
                models[name], plain[name] = kept, model
        known += own
        points |= _points(evaluated, names[run], benchmarks)
    settings = next(iter(evaluations.values())).results.settings
    comparisons = compare(points, list(_pairs(plain)), benchmarks, settings)
    results = EvaluationResults(baseline=next(iter(models)), models=models, comparisons=comparisons, settings=settings)
    return Merged(results, names, list(_notes(results, [name for name in seen if name not in benchmarks])))


def _metrics(evaluated: Evaluated) -> dict[str, str]:
    """Metrics by benchmark."""
    first = evaluated.results.models[evaluated.results.baseline]
    return {name: result.metric for name, result in first.results.items()}


def _known(outcome: ModelResults) -> object:
    """What two runs have in common that have asked the same model the same questions."""
    return outcome.identity, {name: (result.value, result.n) for name, result in outcome.results.items()}


def _notes(results: EvaluationResults, left_out: Sequence[str]) -> Iterator[str]:
    for name in left_out:
        yield f"{name} is left out: not all runs evaluate on it."
    for benchmark in results.benchmarks:
        counts = {model: result.n for model, result in results.on(benchmark).items()}
        if len(set(counts.values())) > 1:
            said = ", ".join(f"{model} {count}" for model, count in counts.items())
            yield f"{benchmark} has not as many rows in all runs ({said}); differences are those on common rows."


def _pairs(plain: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """Models to compare, the later one first; `plain` has the names that they have in their runs."""
    first, *_ = names = list(plain)
    for place, model in enumerate(names):
        yield from ((model, old) for old in names[:place] if old == first or plain[old] == plain[model])


def _points(evaluated: Evaluated, names: Mapping[str, str], benchmarks: Collection[str]) -> Points:
    found: Points = {(name, benchmark): {} for benchmark in benchmarks for name in names.values()}
    for verdict in iterate_rows(evaluated.folder / "rows.jsonl", Verdict):
        place = names.get(verdict.model, ""), verdict.benchmark
        if place in found:
            found[place][verdict.id] = counted(verdict)
    for model, name in names.items():
        for benchmark in benchmarks:
            known = [value for value in found[name, benchmark].values() if value is not None]
            if len(known) != evaluated.results.models[model].results[benchmark].n:
                said = "rows.jsonl and results.json do not belong together"
                raise DataError(evaluated.folder, found=said, fix="Run the evaluation of that run again.")
    return found
