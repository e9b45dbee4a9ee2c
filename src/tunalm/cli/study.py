"""The commands `tunalm study ...`: a blind study in which people put answers in order."""

from __future__ import annotations

import socket
from pathlib import Path
from typing import Annotated

import typer

from tunalm.errors import RecipeError

study_app = typer.Typer(
    help="A blind study in which people put the answers of several systems in order.", no_args_is_help=True
)

Folder = Annotated[Path, typer.Argument(help="Folder of the study.")]


@study_app.command()
def make(
    run: Annotated[Path, typer.Argument(help="Folder of a run that has been evaluated, or a predictions.jsonl.")],
    systems: Annotated[str, typer.Option("--systems", help="Models of the evaluation, with commas between them.")],
    out: Annotated[
        Path | None, typer.Option("--out", help="Folder of the new study; `study` in that of the run by default.")
    ] = None,
    questions: Annotated[
        Path | None, typer.Option("--questions", help="Only the questions of this file, for instance vicuna.jsonl.")
    ] = None,
    benchmark: Annotated[str, typer.Option("--benchmark", help="What the evaluation calls the questions.")] = "vicuna",
    raters: Annotated[int, typer.Option("--raters", min=1, help="Raters for each question.")] = 2,
    people: Annotated[
        int, typer.Option("--people", min=0, help="Raters in all, who share the questions; 0: each rates all.")
    ] = 0,
    checks: Annotated[int, typer.Option("--checks", min=0, help="Attention checks for each rater.")] = 2,
    consent: Annotated[
        Path | None, typer.Option("--consent", help="A file with a text that raters agree to, in place of ours.")
    ] = None,
    seed: Annotated[int, typer.Option("--seed", help="Of all orders.")] = 0,
) -> None:
    """Make a study: what raters see, the key to it, and a link for each rater."""
    from tunalm.data import load
    from tunalm.recipe import Data
    from tunalm.store import read_text
    from tunalm.study import design

    names = [name.strip() for name in systems.split(",") if name.strip()]
    text = read_text(consent) if consent else design.CONSENT
    out = out or (run if run.is_dir() else run.parent) / "study"
    plan = design.Plan(names, raters=raters, people=people, checks=checks, seed=seed, consent=text)
    answers = design.read_answers(run, plan, benchmark)
    if questions is not None:
        wanted = {row.id for row in load(Data(source=str(questions)))}
        if missing := sorted(wanted - answers.keys()):
            raise RecipeError(
                questions,
                found=f"question '{missing[0]}', which nobody has answered",
                expected="questions of the run",
                fix="Evaluate the run on these questions first.",
            )
        answers = {name: own for name, own in answers.items() if name in wanted}
    tokens = design.make(answers, plan, out)
    typer.echo(f"{len(answers)} questions for {len(tokens)} raters in {out}. Keep key.json to yourself.")
    typer.echo(f"Start it with: tunalm study serve {out}")


@study_app.command()
def serve(
    folder: Folder,
    host: Annotated[str, typer.Option("--host", help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option("--port", help="0 takes a free one.")] = 8017,
) -> None:
    """Serve a study to its raters until Ctrl-C. Extra `study`."""
    try:
        import uvicorn

        from tunalm.study.serve import make_app
    except ImportError as error:
        raise RecipeError(
            "tunalm study",
            found=f"no package {error.name}",
            expected="the extra `study`",
            fix="Run: pip install 'tunalm[study]'.",
        ) from error
    server = uvicorn.Server(uvicorn.Config(make_app(folder), log_config=None, log_level="warning", access_log=False))
    try:
        listener = socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET)
    except OSError as error:
        fix = "Give another --host or --port."
        raise RecipeError("tunalm study serve", found=f"{host}:{port} cannot be had ({error})", fix=fix) from error
    port = listener.getsockname()[1]
    if host in ("127.0.0.1", "::1", "localhost"):
        typer.echo("Only this machine can reach the study. --host 0.0.0.0 opens it to the network.")
    else:
        typer.echo(
            f"Everybody who reaches {host}:{port} and has a link can take part. The links are secrets: without https "
            "in front of this server, whoever listens on the network can read them."
        )
    from tunalm.store import read_text

    for line in read_text(folder / "links.txt").splitlines():
        rater, _, path = line.partition(" ")
        typer.echo(f"{rater}: http://{f'[{host}]' if ':' in host else host}:{port}{path}")
    server.run(sockets=[listener])


@study_app.command()
def score(
    folder: Folder,
    judge: Annotated[
        Path | None,
        typer.Option("--judge", help="The answers.jsonl of the study as a judge has ranked it, to put beside people."),
    ] = None,
) -> None:
    """Score what raters have saved so far: scores.json, ratings.jsonl and ratings.csv."""
    from rich.box import SIMPLE
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from tunalm.auditing import audit_files, audit_table, read_lists, write_audit
    from tunalm.reporting.judges import study_table
    from tunalm.study.scoring import score as score_study

    found = score_study(folder, read_lists(judge) if judge else ())
    shown = study_table(found)
    table = Table(box=SIMPLE, pad_edge=False)
    for column in shown.columns:
        table.add_column(column.heading, overflow="fold", no_wrap=column.heading == "95 %")
    for row in shown.rows:
        table.add_row(*(Text(cell.text) for cell in row))
    screen = Console(highlight=False)
    screen.print(table)
    alpha, w = (f"{value:.2f}" if value is not None else "-" for value in (found.alpha, found.kendall_w))
    screen.print(
        f"{found.ratings} ratings of {found.questions} questions, {found.unfinished} unfinished; attention checks "
        f"{found.checks_passed} of {found.checks_answered} passed; Krippendorff's alpha {alpha}, Kendall's W {w}; "
        f"median {found.median_seconds:.0f} s a question."
        + (f" The judge ranks all systems on {found.judged} of the questions." if judge else ""),
        markup=False,
    )
    if judge is not None:
        audited = audit_files(judge, [folder / "ratings.csv"])
        screen.print(audit_table(audited))
        typer.echo(f"Page: {write_audit(audited, folder / 'audit')[-1]}")
