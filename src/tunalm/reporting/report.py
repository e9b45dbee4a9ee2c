"""report.html: one file that holds everything and asks for nothing, so that it can be mailed and opened anywhere.

    Run (recipe, states, files) ---> runs, stages ---> tables and figures --.
                                                                             +--> report.html.j2 --> report.html
    results.json, predictions, verdicts --> numbers, outcome, changes -----'

It shows one run, or several beside each other.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tunalm.recipe import Evaluate
from tunalm.records import EvaluationResults
from tunalm.reporting.changes import NUM_CHANGES, Answers
from tunalm.reporting.judges import study_table
from tunalm.reporting.numbers import headline
from tunalm.reporting.outcome import BenchmarkView, benchmark_views
from tunalm.reporting.pages import environment, page_text
from tunalm.reporting.published import Published
from tunalm.reporting.rounds import by_round, starts_of
from tunalm.reporting.run import Run
from tunalm.reporting.runs import differences, run_view
from tunalm.reporting.stages import ranked_responses
from tunalm.reporting.svg import Drawing
from tunalm.reporting.tables import Table
from tunalm.reporting.variants import Sweep, sweep
from tunalm.store import read_record, write_text


@dataclass(frozen=True)
class EvaluationView:
    """What the report shows of one evaluation."""

    name: str
    headline: Table
    sweep: Sweep | None
    rounds: list[Drawing]
    benchmarks: list[BenchmarkView]


def write_report(run: Run, published: Sequence[Published] = ()) -> None:
    """Write `report.html` into the folder of a run from what lies in it; what is missing is left out.

    Args:
        run: its folder, recipe and states.
        published: numbers to stand beside those of the run.

    Raises:
        StoreError: the file cannot be written.
    """
    evaluations = []
    for name, stage in run.recipe.stages.items():
        if not isinstance(stage, Evaluate):
            continue
        results = read_record(run.path / name / "results.json", EvaluationResults)
        if results is not None:
            sources = [Answers(run.path / name, {model: model for model in results.models})]
            starts = starts_of(run.recipe, stage)
            evaluations.append(evaluation_view(name, results, sources, published, starts))
    name, description = run.recipe.name, run.recipe.description
    _write(run.path / "report.html", name, description, {name: run}, evaluations)


def write_comparison(
    path: Path,
    runs: Mapping[str, Run],
    results: EvaluationResults,
    sources: Sequence[Answers],
    published: Sequence[Published] = (),
    notes: Sequence[str] = (),
) -> None:
    """Write one page for several runs.

    Args:
        path: of the page.
        runs: by the names that tell them apart.
        results: of the models of all runs together.
        sources: where the answers of these models are.
        published: numbers to stand beside those of the runs.
        notes: what a reader must know of the results.

    Raises:
        StoreError: the file cannot be written.
    """
    evaluation = evaluation_view("all runs", results, sources, published)
    _write(path, " and ".join(runs), f"{len(runs)} runs beside each other.", runs, [evaluation], notes)


def evaluation_view(
    name: str,
    results: EvaluationResults,
    sources: Sequence[Answers],
    published: Sequence[Published],
    starts: Mapping[str, str] | None = None,
) -> EvaluationView:
    """Everything to show of an evaluation; `starts` as in `by_round`."""
    table, views = headline(results, published), benchmark_views(results, sources)
    return EvaluationView(name, table, sweep(results), by_round(results, starts or {}), views)


def _write(
    path: Path,
    title: str,
    description: str,
    runs: Mapping[str, Run],
    evaluations: Sequence[EvaluationView],
    notes: Sequence[str] = (),
) -> None:
    views = [run_view(name, run) for name, run in runs.items()]
    problems = [f"{run.name}: {problem}" if len(views) > 1 else problem for run in views for problem in run.problems]
    page = environment("tunalm.reporting", by_rank=ranked_responses, study_table=study_table)
    text = page.get_template("report.html.j2").render(
        title=title,
        description=description,
        evaluations=evaluations,
        runs=views,
        knobs=differences(runs),
        problems=[*notes, *problems],
        num_changes=NUM_CHANGES,
    )
    write_text(path, page_text(text))
