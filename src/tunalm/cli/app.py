"""The command line: parse, import late, call. This module has the groups of commands, and an example of each.

One subcommand per stage, and `run` for a whole recipe.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from io import TextIOWrapper
from typing import Annotated, Any, TextIO, cast

import typer
from rich.markup import escape

from tunalm.cli.hub import push
from tunalm.cli.judging import evaluate_judge, score_pairs
from tunalm.cli.lists import audit, convert
from tunalm.cli.running import compare, plan, report, run
from tunalm.cli.scoring import score_app
from tunalm.cli.showing import show
from tunalm.cli.stages import KNOBS, evaluate, rank, stage_command
from tunalm.cli.starting import init, recipes, schema
from tunalm.cli.study import study_app
from tunalm.cli.tools import doctor, preview
from tunalm.errors import EXIT_USAGE, TrainingError, TunaError, of_the_system
from tunalm.progress import is_main_process
from tunalm.redaction import CleanStream

app = typer.Typer(
    name="tunalm",
    help="Make an instruction-tuned language model better with ranking feedback from stronger models.",
    epilog="Add to any command: --debug, to see the traceback of an error; --allow-http, to speak plain http to "
    "servers on other machines, where everything that is sent can be read on the way.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)
ALLOW_HTTP = "TUNALM_ALLOW_HTTP"
"""Read by `tunalm.engines.endpoint.addresses`; a recipe cannot set it."""
JUDGE = "--judge base_url=http://127.0.0.1:8000/v1 --judge model=NAME"

Command = Callable[..., None]
COMMANDS: dict[str, dict[str, tuple[Command | typer.Typer, list[str]]]] = {
    "Run": {
        "recipes": (recipes, ["recipes"]),
        "init": (init, ["init tuna", "init tuna base=Qwen/Qwen3-0.6B --out mine.yaml"]),
        "plan": (plan, ["plan quickstart"]),
        "run": (run, ["run quickstart", "run quickstart stages.tuna.margin=0.05 --run-dir runs/narrow"]),
        "show": (
            show,
            ["show runs/quickstart --follow", "show rankings.jsonl --sort margin --html lists.html"],
        ),
        "report": (report, ["report runs/quickstart"]),
        "compare": (compare, ["compare runs/quickstart runs/narrow"]),
    },
    "Stages, one at a time": {
        "instruct": (
            stage_command("instruct", "Write new instructions like those of people (Self-Instruct)."),
            ["instruct engine=embedded:smollm2 seeds=seed_tasks.jsonl \\\n    num_instructions=20"],
        ),
        "sft": (
            stage_command("sft", "Fine-tune a model on instructions with references."),
            ["sft model=embedded:smollm2 data=alpaca.jsonl --run-dir runs/sft"],
        ),
        "sample": (
            stage_command("sample", "Draw N responses per instruction."),
            ["sample engine=embedded:smollm2 data=alpaca.jsonl num_responses=4"],
        ),
        "rank": (
            rank,
            [
                "rank responses=responses.jsonl by=likelihood",
                "rank responses=responses.jsonl by=judge engine.model=NAME \\\n"
                "    engine.base_url=http://127.0.0.1:8000/v1",
            ],
        ),
        "train": (
            stage_command("train", "Train a model on ranked lists."),
            ["train start=embedded:smollm2 rankings=rankings.jsonl margin=0.05"],
        ),
        "proxy": (
            stage_command("proxy", "Train a small model to rank as ranked lists do."),
            ["proxy start=embedded:smollm2 rankings=rankings.jsonl"],
        ),
        "rl": (
            stage_command("rl", "Train a model against a proxy by reinforcement learning, with TRL."),
            ["rl start=runs/sft/sft/model reward=runs/proxy/proxy/model \\\n    data=alpaca.jsonl"],
        ),
        "evaluate": (
            evaluate,
            ["evaluate models.base=embedded:smollm2 'benchmarks=[checkable]'"],
        ),
    },
    "Data and rankings": {
        "convert": (convert, ["convert rankings.jsonl pairs.jsonl --to trl-pairs"]),
        "preview": (preview, ["preview rankings.jsonl --model embedded:smollm2"]),
        "audit": (audit, ["audit rankings.jsonl --out audit"]),
        "push": (push, ["push runs/quickstart tuna OWNER/NAME --dry-run"]),
    },
    "Evaluation": {
        "score": (score_app, []),
        "evaluate-judge": (
            evaluate_judge,
            [f"evaluate-judge --data pairs.jsonl --output out.json --rows out.jsonl \\\n    {JUDGE}"],
        ),
        "study": (study_app, []),
    },
    "Tools": {
        "doctor": (doctor, ["doctor", "doctor http://127.0.0.1:8000/v1 --model NAME"]),
        "schema": (schema, ["schema --out schema.json"]),
    },
}
"""Commands by group, in the order of the help, each with what to type for example."""


def _said(examples: list[str]) -> str | None:
    """Examples under a help text."""
    return escape("\n".join(["For example:", *(f"  tunalm {each}" for each in examples)])) if examples else None


for _panel, _commands in COMMANDS.items():
    for _name, (_command, _examples) in _commands.items():
        _how: dict[str, Any] = {"rich_help_panel": _panel, "epilog": _said(_examples)}
        if isinstance(_command, typer.Typer):
            app.add_typer(_command, name=_name, **_how)
        else:
            app.command(_name, context_settings=KNOBS if _panel.startswith("Stages") else None, **_how)(_command)
score_app.command("vicuna", help="Vicuna QA: a judge compares a model's answers with another's.")(score_pairs)
score_app.command("pairwise", help="Like vicuna, with any other questions.")(score_pairs)


def _print_version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        print(f"tunalm {version('tunalm')}")
        raise typer.Exit


@app.callback()
def options(
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress, only results and errors.")] = False,
    _version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Options of every command."""
    if quiet:
        os.environ["TUNALM_QUIET"] = "1"


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
    except (TunaError, OSError) as escaped:
        error = escaped if isinstance(escaped, TunaError) else of_the_system(escaped)
        if "--debug" in sys.argv or error is None:
            raise
        # In a launch of several processes all meet the same error, but a training step may fail in one alone.
        if is_main_process() or isinstance(error, TrainingError):
            print(f"tunalm: {error}", file=sys.stderr)
        sys.exit(EXIT_USAGE)
