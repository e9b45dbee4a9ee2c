"""The commands that look at rows, machines and servers: `tunalm preview` and `tunalm doctor`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer


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
