"""One subcommand per stage: it takes the knobs of its stage, and is nothing but a recipe with one stage."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from tunalm.cli.completion import complete_knobs
from tunalm.cli.running import (
    DryRun,
    Limit,
    Log,
    MaxCost,
    PriceTable,
    RetryFailed,
    RunDir,
    Trust,
    execute,
    money,
    write_logs,
)
from tunalm.errors import RecipeError

KNOBS = {"ignore_unknown_options": True}
Given = Annotated[
    list[str] | None,
    typer.Argument(metavar="KNOB=VALUE", help="Knobs of the stage.", autocompletion=complete_knobs),
]
ListKnobs = Annotated[bool, typer.Option("--knobs", help="List every knob of this stage.")]
OF_A_FILE = "'rankings={{source: FILE, rows: \":{}\"}}'"
SLICES = {"rank": "rows=:{}", "train": OF_A_FILE, "proxy": OF_A_FILE}
"""What to type in the place of --limit for stages that read lists, and no instructions."""


def _stage_recipe(
    kind: str, arguments: list[str], limit: int | None, max_cost: float | None, prices: Path | None, **knobs: Any
) -> Any:
    """The recipe whose one stage has the knobs that the command line gives; `knobs` are those it need not give."""
    from tunalm.recipe.loading import build_recipe

    if limit is not None and kind in SLICES:
        fix = f"Use {SLICES[kind].format(limit)}."
        raise RecipeError("command line", found="--limit", expected="a slice of the lists", fix=fix)
    tree: dict[str, Any] = {"name": kind, "stages": {kind: {"kind": kind, **knobs}}}
    pairs = [*(f"stages.{kind}.{pair}" for pair in _pairs(arguments)), *money(max_cost, prices)]
    return build_recipe(tree, pairs, limit=limit, where="command line")


def stage_command(kind: str, summary: str) -> Callable[..., None]:
    """The function of the subcommand that runs one stage of the given kind on files."""

    def command(
        given: Given = None,
        run_dir: RunDir = None,
        limit: Limit = None,
        max_cost: MaxCost = None,
        prices: PriceTable = None,
        retry_failed: RetryFailed = False,
        dry_run: DryRun = False,
        trust_remote_code: Trust = False,
        knobs: ListKnobs = False,
    ) -> None:
        if knobs:
            _print_knobs(kind)
            return
        recipe = _stage_recipe(kind, given or [], limit, max_cost, prices)
        execute(recipe, run_dir, dry_run, retry_failed, trust_remote_code)

    command.__doc__ = f"{summary} Knobs as key=value or --key value; --knobs lists them."
    return command


def rank(
    given: Given = None,
    run_dir: RunDir = None,
    limit: Limit = None,
    max_cost: MaxCost = None,
    prices: PriceTable = None,
    retry_failed: RetryFailed = False,
    dry_run: DryRun = False,
    trust_remote_code: Trust = False,
    knobs: ListKnobs = False,
    scan_beta: Annotated[
        str | None,
        typer.Option("--scan-beta", help="Rank nothing; show what these length penalties of Eq. 3 would change."),
    ] = None,
    out: Annotated[Path | None, typer.Option("--out", help="Folder for what --scan-beta shows: JSON, PNG.")] = None,
) -> None:
    """Rank the responses of each list. Knobs as key=value or --key value; --knobs lists them."""
    if knobs:
        _print_knobs("rank")
        return
    if scan_beta is not None:
        from tunalm.auditing.beta_scan import scan_betas

        recipe = _stage_recipe("rank", given or [], limit, max_cost, prices, by="likelihood")
        scan_betas(recipe.stages["rank"], scan_beta, out)
        return
    if out is not None:
        raise RecipeError("command line", found="--out belongs to --scan-beta", fix="Use --run-dir to say where.")
    recipe = _stage_recipe("rank", given or [], limit, max_cost, prices)
    execute(recipe, run_dir, dry_run, retry_failed, trust_remote_code)


def evaluate(
    given: Given = None,
    run_dir: RunDir = None,
    limit: Limit = None,
    max_cost: MaxCost = None,
    prices: PriceTable = None,
    retry_failed: RetryFailed = False,
    dry_run: DryRun = False,
    trust_remote_code: Trust = False,
    knobs: ListKnobs = False,
    log: Log = None,
) -> None:
    """Score models on held-out instructions. Knobs as key=value or --key value; --knobs lists them."""
    if knobs:
        _print_knobs("evaluate")
        return
    recipe = _stage_recipe("evaluate", given or [], limit, max_cost, prices)
    folder = run_dir or Path("runs") / recipe.name
    try:
        execute(recipe, run_dir, dry_run, retry_failed, trust_remote_code)
    finally:  # answers that failed are in the logs, too
        if log is not None and not dry_run and (folder / "results.json").is_file():
            write_logs(folder)


def _pairs(arguments: list[str]) -> list[str]:
    """Turn `--key value`, `--key=value` and `key=value` into `key=value`."""
    pairs, rest = [], list(arguments)
    while rest:
        word = rest.pop(0)
        if word.startswith("--") and "=" not in word:
            if not rest:
                raise RecipeError("command line", found=f"'{word}'", expected="a value after it", fix="Add it.")
            pairs.append(f"{word[2:].replace('-', '_')}={rest.pop(0)}")
        elif word.startswith("--"):
            key, _, value = word[2:].partition("=")
            pairs.append(f"{key.replace('-', '_')}={value}")
        else:
            pairs.append(word)
    return pairs


def _print_knobs(kind: str) -> None:
    from rich.console import Console
    from rich.table import Table

    from tunalm.recipe import STAGES

    table = Table("knob", "default", "meaning", title=f"tunalm {kind}", show_lines=False)
    for name, info in STAGES[kind].model_fields.items():
        if name != "kind":
            default = "required" if info.is_required() else repr(info.get_default(call_default_factory=True))
            table.add_row(name, default, " ".join((info.description or "").split()))
    Console().print(table)
