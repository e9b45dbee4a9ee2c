"""The commands that run a recipe, `tunalm run` and `tunalm plan`, and those that report what has run."""

from __future__ import annotations

import json
import sys
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from tunalm.cli.completion import complete_inputs, complete_recipe
from tunalm.errors import EXIT_FAILED_ROWS, EXIT_INTERRUPTED, spelled_out

if TYPE_CHECKING:
    from tunalm.records import StageState

KINDS_SHOWN = 3

RunDir = Annotated[Path | None, typer.Option("--run-dir", help="Where everything is kept; runs/NAME by default.")]
Limit = Annotated[int | None, typer.Option("--limit", min=1, help="At most so many rows from every data source.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Say what would run and how much; run nothing.")]
MaxCost = Annotated[
    float | None, typer.Option("--max-cost", min=0, help="Dollars that all calls of the run may cost together.")
]
PriceTable = Annotated[Path | None, typer.Option("--prices", help="A table of prices in YAML, read before your own.")]
RetryFailed = Annotated[bool, typer.Option("--retry-failed", help="Ask again for what failed in stages that are done.")]
Trust = Annotated[bool, typer.Option("--trust-remote-code", help="Let models run code of their own.")]


Named = Annotated[
    str, typer.Argument(help="A recipe in YAML, or the name of a shipped one.", autocompletion=complete_recipe)
]
Overrides = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="KEY=VALUE",
        help="Inputs and knobs as key=value, for instance base=FOLDER.",
        autocompletion=complete_inputs,
    ),
]


def run(
    recipe: Named,
    overrides: Overrides = None,
    run_dir: RunDir = None,
    limit: Limit = None,
    max_cost: MaxCost = None,
    prices: PriceTable = None,
    retry_failed: RetryFailed = False,
    dry_run: DryRun = False,
    trust_remote_code: Trust = False,
) -> None:
    """Run a recipe; what is done already is skipped."""
    from tunalm.progress import console
    from tunalm.recipe.loading import load_recipe
    from tunalm.recipe.shipped import find_recipe

    path = find_recipe(recipe)
    if str(path) != recipe:
        console().print(f"recipe: {path}", markup=False, soft_wrap=True)
    loaded = load_recipe(path, [*(overrides or []), *money(max_cost, prices)], limit=limit)
    execute(loaded, run_dir, dry_run, retry_failed, trust_remote_code)


def plan(
    recipe: Named,
    overrides: Overrides = None,
    run_dir: RunDir = None,
    limit: Limit = None,
    max_cost: MaxCost = None,
    prices: PriceTable = None,
) -> None:
    """Say what every stage of a recipe would take: calls, tokens, dollars, disk, memory. Nothing is sent or loaded."""
    run(recipe, overrides, run_dir, limit, max_cost, prices, dry_run=True)


def money(max_cost: float | None, prices: Path | None) -> list[str]:
    """The options as overrides of the recipe."""
    pairs = [] if max_cost is None else [f"max_cost={max_cost!r}"]
    return pairs if prices is None else [*pairs, f"prices={json.dumps(str(prices))}"]


def execute(recipe: Any, run_dir: Path | None, dry_run: bool, retry_failed: bool, trust_remote_code: bool) -> None:
    """Run a recipe, or say what it would take, and leave with the exit code that fits the outcome."""
    from tunalm.pipeline.running import run_recipe

    if dry_run:
        _print_plan(recipe, run_dir)
        return
    try:
        states = run_recipe(recipe, run_dir, trust_remote_code=trust_remote_code, retry_failed=retry_failed)
    except KeyboardInterrupt:
        print("tunalm: interrupted; the same command goes on from here", file=sys.stderr)
        raise typer.Exit(EXIT_INTERRUPTED) from None
    folder = run_dir or Path("runs") / recipe.name
    _print_outcome(folder, states)
    if any(state.failed or state.unknown for state in states.values()):
        _print_remedies(folder / "ledger.sqlite")
        raise typer.Exit(EXIT_FAILED_ROWS)


def _print_remedies(ledger: Path) -> None:
    """What to do about the commonest failures of calls, and whether asking again may help."""
    from tunalm.calls.spending import failures_in
    from tunalm.calls.stopping import failure_kind
    from tunalm.engines.remedies import remedy

    failures = failures_in(ledger)
    kinds: Counter[str] = Counter()
    examples: dict[str, str] = {}
    for reason, count in failures.items():
        kinds[failure_kind(reason)] += count
        examples.setdefault(failure_kind(reason), reason)
    for kind, count in kinds.most_common(KINDS_SHOWN):
        print(f"tunalm: {count} x '{spelled_out(examples[kind][:120])}'. {remedy(kind).advice}", file=sys.stderr)
    advice = (
        "the same command with --retry-failed asks again for what failed"
        if any(remedy(reason).passes for reason in failures)
        else "what failed would fail again; the report names the reasons, change what they name"
    )
    print(f"tunalm: {advice}", file=sys.stderr)


def _print_plan(recipe: Any, run_dir: Path | None) -> None:
    from tunalm.calls.prices import load_prices
    from tunalm.data.sources import Sources
    from tunalm.pipeline.checks import check
    from tunalm.pipeline.folder import RunFolder
    from tunalm.pipeline.planning import estimate
    from tunalm.pipeline.planning.table import print_estimate
    from tunalm.pipeline.resolving import resolve
    from tunalm.pipeline.settling import settle

    folder = RunFolder(run_dir or Path("runs") / recipe.name)
    recipe = settle(recipe, folder)
    stages = resolve(recipe, folder)
    sources = Sources(tell=True)
    check(stages, recipe, sources)
    estimated = estimate(recipe, stages, folder, load_prices(recipe.prices), sources)
    print_estimate(estimated, recipe.name, recipe.max_cost)


def _print_outcome(folder: Path, states: Mapping[str, StageState]) -> None:
    from rich.console import Console

    from tunalm.progress import is_main_process

    if not is_main_process():
        return
    screen = Console()
    for name, state in states.items():
        if state.failed or state.unknown:
            counts = f"{state.failed} failed, {state.unknown} unknown of {state.requested}"
            screen.print(f"{name}: {counts}", markup=False)
    if (folder / "results.json").is_file():
        from tunalm.reporting.files import read_results
        from tunalm.reporting.table import results_table

        screen.print(results_table(read_results(folder / "results.json")))
    screen.print(f"Report: {folder / 'report.html'}", markup=False, soft_wrap=True)


PublishedFile = Annotated[
    Path | None,
    typer.Option(
        "--published", help="Numbers of others to show beside: a YAML list of benchmark, model, value, source."
    ),
]


Log = Annotated[
    Literal["inspect"] | None,
    typer.Option("--log", help="Write each evaluation as logs of inspect_ai, too, into RUN/inspect."),
]


def report(
    run_dir: Annotated[Path, typer.Argument(help="Folder of a run.")],
    published: PublishedFile = None,
    log: Log = None,
) -> None:
    """Write the report of a run again and print its results."""
    from tunalm.pipeline.manifest import report_again
    from tunalm.reporting.published import read_published

    numbers = read_published(published) if published else []
    _print_outcome(run_dir, report_again(run_dir, numbers))
    if log is not None:
        write_logs(run_dir)


def write_logs(folder: Path) -> None:
    """Write the logs of every evaluation of a run that has finished, and say where."""
    from tunalm.reporting.inspect_logs import write_inspect_logs

    stages = [path.parent for path in sorted(folder.glob("*/results.json")) if (path.parent / "rows.jsonl").is_file()]
    logs = [path for stage in stages for path in write_inspect_logs(stage, folder / "inspect")]
    print(f"{len(logs)} logs. To see them: inspect view --log-dir {folder / 'inspect'}")


def compare(
    run_dirs: Annotated[list[Path], typer.Argument(help="Folders of runs.", metavar="RUN")],
    out: Annotated[Path, typer.Option("--out", help="Folder for results.json and report.html.")] = Path(
        "runs/comparison"
    ),
    published: PublishedFile = None,
) -> None:
    """Put several runs into one report: their models side by side, what differs between them, means over seeds."""
    from tunalm.pipeline.comparison import compare_runs
    from tunalm.reporting.published import read_published

    compare_runs(run_dirs, out, read_published(published) if published else [])
    _print_outcome(out, {})
