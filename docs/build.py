"""Writes what the program says of itself: docs/reference.md, with every command, stage and knob, and the JSON schema of
recipes. Run by `make docs`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from pydantic import BaseModel
from typer.main import get_command
from typer.testing import CliRunner

from tunalm import recipe
from tunalm.cli.app import app
from tunalm.engines.remedies import REMEDIES
from tunalm.recipe.engines import ENGINES
from tunalm.recipe.schema import SCHEMA_FILE, recipe_schema
from tunalm.store import write_json

TARGET = Path(__file__).with_name("reference.md")
SCHEMA = Path(__file__).resolve().parents[1] / "recipes" / SCHEMA_FILE


def reference() -> str:
    """The whole page."""
    return "\n".join(_lines()).rstrip() + "\n"


def _lines() -> Iterator[str]:
    yield "# Reference"
    yield ""
    yield "Written by `make docs` from the program; a test fails when it is out of date."
    yield ""
    yield "## Recipe"
    yield ""
    yield from _section(recipe.Recipe)
    for kind, stage in recipe.STAGES.items():
        yield f"## Stage `{kind}`"
        yield ""
        yield from _section(stage)
    yield "## Rounds"
    yield ""
    yield from _section(recipe.Rounds)
    yield "## PPO"
    yield ""
    yield from _section(recipe.Ppo)
    yield "## Data"
    yield ""
    yield from _section(recipe.Data)
    yield "## Benchmark"
    yield ""
    yield from _section(recipe.BenchmarkSettings)
    for kind, engine in ENGINES.items():
        yield f"## Engine `{kind}`"
        yield ""
        yield from _section(engine)
    yield "## Failures of calls"
    yield ""
    yield "A row that failed says why in `failure`; how that begins tells what helps. `--retry-failed` asks again."
    yield ""
    yield "| the reason begins | do | asking again may help |"
    yield "| --- | --- | --- |"
    for start, (advice, passes) in REMEDIES.items():
        yield f"| {f'`{start}`' if start else 'otherwise'} | {advice} | {'yes' if passes else 'no'} |"
    yield ""
    yield "## Commands"
    yield ""
    for name in ["", *get_command(app).commands]:  # type: ignore[attr-defined]
        yield f"### `tunalm{' ' + name if name else ''}`"
        yield ""
        yield "```text"
        yield from _help(name)
        yield "```"
        yield ""


def _section(kind: type[BaseModel]) -> Iterator[str]:
    yield " ".join((kind.__doc__ or "").split())
    yield ""
    yield "| knob | default | meaning |"
    yield "| --- | --- | --- |"
    for name, info in kind.model_fields.items():
        value = None if info.is_required() else info.get_default(call_default_factory=True)
        default = "required" if info.is_required() else "below" if isinstance(value, BaseModel) else f"`{value!r}`"
        if name != "kind" or info.is_required():
            yield f"| `{name}` | {default} | {' '.join((info.description or '').split())} |"
    yield ""


def _help(command: str) -> Iterator[str]:
    words = [command, "--help"] if command else ["--help"]
    shown = CliRunner().invoke(app, words, prog_name="tunalm", env={"COLUMNS": "100", "TERM": "dumb", "NO_COLOR": "1"})
    yield from (line.rstrip() for line in shown.output.strip().splitlines())


if __name__ == "__main__":
    TARGET.write_text(reference(), encoding="utf-8")
    write_json(SCHEMA, recipe_schema())
