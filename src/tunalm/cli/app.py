"""The command line: parse, import late, call. One subcommand per stage, and `run` for a whole recipe.

Stage commands take the knobs of their stage as `key=value` or `--key value`; a stage command is nothing but a recipe
with one stage.
"""

from __future__ import annotations

import json
import os
import sys
from collections import Counter
from collections.abc import Mapping
from io import TextIOWrapper
from pathlib import Path
from typing import Annotated, Any, Literal, TextIO, cast

import typer

from tunalm.cli.hub import push
from tunalm.cli.judging import evaluate_judge, score_pairs
from tunalm.cli.lists import audit, convert
from tunalm.cli.scoring import score_app
from tunalm.cli.study import study_app
from tunalm.errors import EXIT_FAILED_ROWS, EXIT_INTERRUPTED, EXIT_USAGE, RecipeError, TrainingError, TunaError
from tunalm.records import StageState
from tunalm.redaction import CleanStream

app = typer.Typer(
    name="tunalm",
    help="Make an instruction-tuned language model better with ranking feedback from stronger models.",
    epilog="Add to any command: --debug, to see the traceback of an error; --allow-http, to speak plain http to "
    "servers on other machines, where everything that is sent can be read on the way.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.add_typer(score_app, name="score")
app.add_typer(study_app, name="study")
score_app.command("vicuna", help="Vicuna QA: a judge compares a model's answers with another's.")(score_pairs)
score_app.command("pairwise", help="Like vicuna, with any other questions.")(score_pairs)
app.command("evaluate-judge")(evaluate_judge)
app.command()(audit)
app.command()(convert)
app.command()(push)

ALLOW_HTTP = "TUNALM_ALLOW_HTTP"
"""Read by `tunalm.engines.endpoint.addresses`; a recipe cannot set it."""
KINDS_SHOWN = 3
KNOBS = {"allow_extra_args": True, "ignore_unknown_options": True}

RunDir = Annotated[Path | None, typer.Option("--run-dir", help="Where everything is kept; runs/NAME by default.")]
Limit = Annotated[int | None, typer.Option("--limit", min=1, help="At most so many rows from every data source.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Say what would run and how much; run nothing.")]
MaxCost = Annotated[
    float | None, typer.Option("--max-cost", min=0, help="Dollars that all calls of the run may cost together.")
]
PriceTable = Annotated[Path | None, typer.Option("--prices", help="A table of prices in YAML, read before your own.")]
RetryFailed = Annotated[bool, typer.Option("--retry-failed", help="Ask again for what failed in stages that are done.")]
Trust = Annotated[bool, typer.Option("--trust-remote-code", help="Let models run code of their own.")]


@app.callback()
def options(
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress, only results and errors.")] = False,
) -> None:
    """Options of every command."""
    if quiet:
        os.environ["TUNALM_QUIET"] = "1"


@app.command()
def run(
    recipe: Annotated[Path, typer.Argument(help="A recipe in YAML.")],
    overrides: Annotated[list[str] | None, typer.Argument(help="key=value, for instance base=... .")] = None,
    run_dir: RunDir = None,
    limit: Limit = None,
    max_cost: MaxCost = None,
    prices: PriceTable = None,
    retry_failed: RetryFailed = False,
    dry_run: DryRun = False,
    trust_remote_code: Trust = False,
) -> None:
    """Run a recipe; what is done already is skipped."""
    from tunalm.recipe.loading import load_recipe

    loaded = load_recipe(recipe, [*(overrides or []), *_money(max_cost, prices)], limit=limit)
    _execute(loaded, run_dir, dry_run, retry_failed, trust_remote_code)


@app.command()
def plan(
    recipe: Annotated[Path, typer.Argument(help="A recipe in YAML.")],
    overrides: Annotated[list[str] | None, typer.Argument(help="key=value, for instance base=... .")] = None,
    run_dir: RunDir = None,
    limit: Limit = None,
    max_cost: MaxCost = None,
    prices: PriceTable = None,
) -> None:
    """Say what every stage of a recipe would take: calls, tokens, dollars, disk, memory. Nothing is sent or loaded."""
    run(recipe, overrides, run_dir, limit, max_cost, prices, dry_run=True)


def _money(max_cost: float | None, prices: Path | None) -> list[str]:
    """The options as overrides of the recipe."""
    pairs = [] if max_cost is None else [f"max_cost={max_cost!r}"]
    return pairs if prices is None else [*pairs, f"prices={json.dumps(str(prices))}"]


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
    pairs = [*(f"stages.{kind}.{pair}" for pair in _pairs(arguments)), *_money(max_cost, prices)]
    return build_recipe(tree, pairs, limit=limit, where="command line")


def _stage_command(kind: str, summary: str) -> None:
    """Make the subcommand that runs one stage of the given kind on files."""

    def command(
        context: typer.Context,
        run_dir: RunDir = None,
        limit: Limit = None,
        max_cost: MaxCost = None,
        prices: PriceTable = None,
        retry_failed: RetryFailed = False,
        dry_run: DryRun = False,
        trust_remote_code: Trust = False,
        knobs: Annotated[bool, typer.Option("--knobs", help="List every knob of this stage.")] = False,
    ) -> None:
        if knobs:
            _print_knobs(kind)
            return
        recipe = _stage_recipe(kind, context.args, limit, max_cost, prices)
        _execute(recipe, run_dir, dry_run, retry_failed, trust_remote_code)

    command.__doc__ = f"{summary} Knobs as key=value or --key value; --knobs lists them."
    app.command(name=kind, context_settings=KNOBS)(command)


_stage_command("sft", "Fine-tune a model on instructions with references.")
_stage_command("sample", "Draw N responses per instruction.")


@app.command(context_settings=KNOBS)
def rank(
    context: typer.Context,
    run_dir: RunDir = None,
    limit: Limit = None,
    max_cost: MaxCost = None,
    prices: PriceTable = None,
    retry_failed: RetryFailed = False,
    dry_run: DryRun = False,
    trust_remote_code: Trust = False,
    knobs: Annotated[bool, typer.Option("--knobs", help="List every knob of this stage.")] = False,
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

        recipe = _stage_recipe("rank", context.args, limit, max_cost, prices, by="likelihood")
        scan_betas(recipe.stages["rank"], scan_beta, out)
        return
    if out is not None:
        raise RecipeError("command line", found="--out belongs to --scan-beta", fix="Use --run-dir to say where.")
    recipe = _stage_recipe("rank", context.args, limit, max_cost, prices)
    _execute(recipe, run_dir, dry_run, retry_failed, trust_remote_code)


_stage_command("train", "Train a model on ranked lists.")
_stage_command("proxy", "Train a small model to rank as ranked lists do.")
_stage_command("rl", "Train a model against a proxy by reinforcement learning, with TRL.")
_stage_command("evaluate", "Score models on held-out instructions.")


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


def _execute(recipe: Any, run_dir: Path | None, dry_run: bool, retry_failed: bool, trust_remote_code: bool) -> None:
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
        print(f"tunalm: {count} x '{examples[kind]:.120}'. {remedy(kind).advice}", file=sys.stderr)
    advice = (
        "the same command with --retry-failed asks again for what failed"
        if any(remedy(reason).passes for reason in failures)
        else "what failed would fail again; the report names the reasons, change what they name"
    )
    print(f"tunalm: {advice}", file=sys.stderr)


def _print_plan(recipe: Any, run_dir: Path | None) -> None:
    from tunalm.calls.prices import load_prices
    from tunalm.pipeline.checks import check
    from tunalm.pipeline.folder import RunFolder
    from tunalm.pipeline.planning import estimate
    from tunalm.pipeline.planning.table import print_estimate
    from tunalm.pipeline.resolving import resolve

    folder = RunFolder(run_dir or Path("runs") / recipe.name)
    stages = resolve(recipe, folder)
    check(stages, recipe)
    estimated = estimate(recipe, stages, folder, load_prices(recipe.prices))
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
        from tunalm.reporting import results_table
        from tunalm.reporting.files import read_results

        screen.print(results_table(read_results(folder / "results.json")))
    screen.print(f"Report: {folder / 'report.html'}", markup=False, soft_wrap=True)


PublishedFile = Annotated[
    Path | None,
    typer.Option(
        "--published", help="Numbers of others to show beside: a YAML list of benchmark, model, value, source."
    ),
]


@app.command()
def report(
    run_dir: Annotated[Path, typer.Argument(help="Folder of a run.")],
    published: PublishedFile = None,
) -> None:
    """Write the report of a run again and print its results."""
    from tunalm.pipeline.manifest import report_again
    from tunalm.reporting.published import read_published

    numbers = read_published(published) if published else []
    _print_outcome(run_dir, report_again(run_dir, numbers))


@app.command()
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


@app.command()
def preview(
    rows: Annotated[Path, typer.Argument(help="A file of ranked rows, or of instructions with references.")],
    model: Annotated[str, typer.Option(help="Whose tokenizer and template to use.")],
    template: Annotated[
        Literal["chat", "alpaca", "raw"] | None,
        typer.Option(help="How prompts are written.", show_default="the model's own"),
    ] = None,
    max_length: Annotated[int, typer.Option(min=8, help="Tokens of prompt and response.")] = 512,
    count: Annotated[int, typer.Option(min=1, help="Rows to show.")] = 2,
) -> None:
    """Show the tokens that training would see: dim ones are read, bright ones are learned."""
    from tunalm.cli.inspection import print_preview

    print_preview(rows, model, template, max_length, count)


@app.command()
def doctor(
    engine: Annotated[
        str | None, typer.Argument(help="A server's base_url, or a model for this process; none looks at the machine.")
    ] = None,
    model: Annotated[str, typer.Option(help="Name of the model as the server knows it.")] = "",
    api_key_env: Annotated[str | None, typer.Option(help="Environment variable that holds the key.")] = None,
    protocol: Annotated[Literal["chat", "completions"], typer.Option(help="How the server is asked.")] = "chat",
) -> None:
    """Say what this machine and installation can do, or what an engine can, by asking it."""
    from tunalm.cli.inspection import print_doctor, print_model, print_server

    if engine is None:
        print_doctor()
    elif "://" in engine:
        print_server(engine, model, api_key_env, protocol)
    else:
        print_model(engine)


def main() -> None:
    """Entry point: one line and exit code 2 for what a user can mend, a traceback only for defects; never a key."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):  # what a terminal or file cannot show is spelled out, and is no error
            stream.reconfigure(errors="backslashreplace")
    sys.stdout, sys.stderr = (cast(TextIO, CleanStream(stream)) for stream in (sys.stdout, sys.stderr))
    arguments = [word for word in sys.argv[1:] if word not in ("--debug", "--allow-http")]
    if "--allow-http" in sys.argv:
        os.environ[ALLOW_HTTP] = "1"
    try:
        app(args=arguments)
    except TunaError as error:
        if "--debug" in sys.argv:
            raise
        from tunalm.progress import is_main_process

        # In a launch of several processes all meet the same error, but a training step may fail in one alone.
        if is_main_process() or isinstance(error, TrainingError):
            print(f"tunalm: {error}", file=sys.stderr)
        sys.exit(EXIT_USAGE)
