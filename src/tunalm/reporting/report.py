"""report.html: one file that holds everything and asks for nothing, so that it can be mailed and opened anywhere.

It shows one run, or several beside each other. What it is made of stands in `pages`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tunalm.reporting.changes import NUM_CHANGES, Answers
from tunalm.reporting.files import read_results
from tunalm.reporting.headline import Headline, headline
from tunalm.reporting.outcome import BenchmarkView, benchmark_views
from tunalm.reporting.pages import environment, page_text
from tunalm.reporting.published import Published
from tunalm.reporting.runs import Run, RunView, States, differences, run_view
from tunalm.reporting.stages import ranked_responses
from tunalm.reporting.tables import Table
from tunalm.reporting.variants import Sweep, sweep
from tunalm.store import write_text


@dataclass(frozen=True)
class EvaluationView:
    """What the report shows of one evaluation."""

    name: str
    headline: Headline
    sweep: Sweep | None
    benchmarks: list[BenchmarkView]


def write_report(run_path: Path, recipe: dict[str, Any], states: States, published: Sequence[Published] = ()) -> None:
    """Write `report.html` into the folder of a run from what lies in it; what is missing is left out.

    Args:
        run_path: folder of the run.
        recipe: as `Recipe.model_dump(mode="json")` gives it.
        states: what stage.json says of every stage; empty for one that has not run.
        published: numbers to stand beside those of the run.

    Raises:
        StoreError: the file cannot be written.
    """
    evaluations = []
    for name, stage in recipe.get("stages", {}).items():
        results = read_results(run_path / name / "results.json") if stage.get("kind") == "evaluate" else None
        if results is not None:
            sources = [Answers(run_path / name, {model: model for model in results["models"]})]
            evaluations.append(evaluation_view(name, results, sources, published))
    title = str(recipe.get("name", run_path.name))
    view = run_view(title, Run(run_path, recipe, states))
    _write(run_path / "report.html", title, recipe.get("description", ""), evaluations, [view])


def write_comparison(
    path: Path,
    runs: Mapping[str, Run],
    results: dict[str, Any],
    sources: Sequence[Answers],
    published: Sequence[Published] = (),
    notes: Sequence[str] = (),
) -> None:
    """Write one page for several runs.

    Args:
        path: of the page.
        runs: by the names that tell them apart.
        results: of the models of all runs together, in the form of results.json.
        sources: where the answers of these models are.
        published: numbers to stand beside those of the runs.
        notes: what a reader must know of the results.

    Raises:
        StoreError: the file cannot be written.
    """
    evaluation = evaluation_view("all runs", results, sources, published)
    views = [run_view(name, run) for name, run in runs.items()]
    _write(
        path, " and ".join(runs), f"{len(runs)} runs beside each other.", [evaluation], views, notes, differences(runs)
    )


def evaluation_view(
    name: str, results: dict[str, Any], sources: Sequence[Answers], published: Sequence[Published]
) -> EvaluationView:
    """Everything to show of an evaluation whose results.json has this content."""
    return EvaluationView(name, headline(results, published), sweep(results), benchmark_views(results, sources))


def _write(
    path: Path,
    title: str,
    description: str,
    evaluations: Sequence[EvaluationView],
    runs: Sequence[RunView],
    notes: Sequence[str] = (),
    knobs: Table | None = None,
) -> None:
    problems = [f"{run.name}: {problem}" if len(runs) > 1 else problem for run in runs for problem in run.problems]
    page = environment("tunalm.reporting", by_rank=ranked_responses).get_template("report.html.j2")
    text = page.render(
        title=title,
        description=description,
        evaluations=evaluations,
        runs=runs,
        knobs=knobs,
        problems=[*notes, *problems],
        num_changes=NUM_CHANGES,
        widest=max((len(table.columns) for table in _tables(evaluations)), default=0),
    )
    write_text(path, page_text(text))


def _tables(evaluations: Sequence[EvaluationView]) -> Iterator[Table]:
    """Tables that a reader can sort."""
    for evaluation in evaluations:
        yield evaluation.headline.table
        if evaluation.sweep is not None:
            yield evaluation.sweep.table
        for view in evaluation.benchmarks:
            yield from (view.numbers, view.totals, view.pairs, view.tasks)
