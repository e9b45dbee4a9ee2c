"""The command `tunalm show`: a run, or what lies in one, for people to read."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from tunalm.errors import RecipeError

if TYPE_CHECKING:
    from rich.console import Console

    from tunalm.reporting.run import Run

SECONDS_BETWEEN_LOOKS = 2.0
PRODUCTS = ("rankings.jsonl", "responses.jsonl", "predictions.jsonl")
"""What is shown of the folder of a stage: the first of these that is there."""


def show(
    target: Annotated[
        Path,
        typer.Argument(
            metavar="RUN_OR_FILE",
            help="Folder of a run or a stage; a file of lists, pairs or predictions; results.json; a ledger.sqlite.",
        ),
    ],
    failed: Annotated[bool, typer.Option("--failed", help="Only what failed.")] = False,
    sort: Annotated[
        Literal["file", "margin"],
        typer.Option(
            "--sort", help="margin: lists whose best responses are closest first; of answers, the largest losses."
        ),
    ] = "file",
    limit: Annotated[int | None, typer.Option("--limit", min=1, help="At most so many lists or answers.")] = None,
    html: Annotated[
        Path | None, typer.Option("--html", help="Write all to this page, which filters and sorts, instead.")
    ] = None,
    follow: Annotated[bool, typer.Option("--follow", help="Watch a run in progress until it ends.")] = False,
) -> None:
    """Show the stages of a run, or lists, answers and ledgers one a screen, with their differences marked."""
    from rich.console import Console

    from tunalm.reporting.files import read_results
    from tunalm.reporting.showing import browse, ledger_table, print_items, read_items, select, write_items
    from tunalm.reporting.table import results_table

    screen = Console(highlight=False)
    if (target / "config.yaml").is_file():
        if html is not None or sort != "file" or limit is not None:
            fix = f"Name a stage or a file in it; the page of a run is {target / 'report.html'}."
            raise RecipeError("command line", found="an option for lists, and a whole run", fix=fix)
        _show_run(target, screen, failed, follow)
        return
    if follow:
        raise RecipeError(target, found="no folder of a run", fix="Give the --run-dir of tunalm run with --follow.")
    path = _product(target)
    if path.name == "results.json":
        screen.print(results_table(read_results(path)))
        return
    items = read_items(path)
    if path.suffix == ".sqlite":
        screen.print(ledger_table(path))
        if html is None and not failed and limit is None:
            print("--failed shows the requests that failed, --limit the first ones, --html all of them.")
            return
    chosen = select(items, failed=failed, order=sort, limit=limit)
    if html is not None:
        write_items(html, str(path), chosen)
        print(f"Page: {html} ({len(chosen)} of {len(items)})")
    elif not chosen:
        print(f"{path}: nothing to show of {len(items)}")
    elif sys.stdin.isatty() and screen.is_terminal:
        browse(chosen, screen, typer.getchar)
    else:
        print_items(chosen, screen)


def _product(target: Path) -> Path:
    """The file to show."""
    if not target.is_dir():
        return target
    for name in PRODUCTS:
        if (target / name).is_file():
            return target / name
    found = "a folder without config.yaml of a run and without rows of a stage"
    raise RecipeError(target, found=found, fix=f"Give the folder of a run, or one that holds {' or '.join(PRODUCTS)}.")


def _show_run(path: Path, screen: Console, failed: bool, follow: bool) -> None:
    """Show the stages once, or again and again until the run ends or somebody presses Ctrl-C."""
    from rich.live import Live

    from tunalm.reporting.showing import stages_table

    run, shown = None, None
    with suppress(KeyboardInterrupt):
        if follow and screen.is_terminal:
            with Live(console=screen, auto_refresh=False) as live:
                for run in _looks(path, follow):
                    live.update(stages_table(run, failed=failed), refresh=True)
        else:
            for run in _looks(path, follow):
                states = {name: (state.status, state.failed) for name, state in run.states.items()}
                if states != shown:
                    screen.print(stages_table(run, failed=failed))
                shown = states
        if follow and run and not all(state.done for state in run.states.values()):
            screen.print("No process works in this folder any more; the command of the run goes on from here.")


def _looks(path: Path, follow: bool) -> Iterator[Run]:
    """The run as it is now, and, to follow it, as it is every other second until nobody works on it."""
    from tunalm.pipeline.folder import RunFolder
    from tunalm.pipeline.manifest import states, stored_recipe
    from tunalm.reporting.run import Run

    folder = RunFolder(path)
    while True:
        recipe = stored_recipe(folder)
        run = Run(path, recipe, states(recipe, folder))
        yield run
        if not follow or all(state.done for state in run.states.values()) or not folder.in_progress():
            return
        time.sleep(SECONDS_BETWEEN_LOOKS)
