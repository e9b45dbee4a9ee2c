"""The commands that read files of ranked lists: `tunalm audit` and `tunalm convert`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from tunalm.errors import DataError, RecipeError


def audit(
    rankings: Annotated[Path, typer.Argument(help="A file of ranked lists.")],
    others: Annotated[
        list[Path] | None,
        typer.Argument(help="The same lists as others rank them: files of lists, or CSV id,position,rank[,rater]."),
    ] = None,
    out: Annotated[Path | None, typer.Option("--out", help="Folder for audit.json, figures and audit.html.")] = None,
    own: Annotated[
        list[str] | None,
        typer.Option("--own", help="A model that counts as the judge's own; repeated. By default those of its family."),
    ] = None,
) -> None:
    """Say what a ranking goes by: ties, length, place in the prompt, own models; and how far other raters agree."""
    from rich.console import Console

    from tunalm.auditing import audit_files, audit_table, write_audit

    found = audit_files(rankings, others or (), tuple(own or ()))
    Console(highlight=False).print(audit_table(found))
    if out is not None:
        print(f"Page: {write_audit(found, out)[-1]}")


def convert(
    source: Annotated[Path, typer.Argument(metavar="IN", help="Lists: JSONL, JSON or Parquet, also gzipped.")],
    target: Annotated[Path, typer.Argument(metavar="OUT", help="Ends in .jsonl, .json or .parquet.")],
    to: Annotated[
        Literal["trl-pairs", "trl-tpo", "llama-factory", "axolotl", "nemo-rl", "tunalm"],
        typer.Option("--to", help="What to write."),
    ],
    pairs: Annotated[
        Literal["best-worst", "adjacent", "all"] | None,
        typer.Option("--pairs", help="Which pairs of a list; best-worst by default, for nemo-rl the whole list."),
    ] = None,
    shape: Annotated[
        Literal["auto", "tunalm", "pairs", "lmops", "ultrafeedback", "nectar", "nemo-rl"],
        typer.Option("--from", help="Whose shape the rows have; auto goes by the fields of each."),
    ] = "auto",
) -> None:
    """Turn lists into the formats of TRL, LLaMA-Factory, axolotl, NeMo-RL, and pairs and lists of others into ours."""
    from tunalm.data.exports import Exporter
    from tunalm.data.files import existing_file
    from tunalm.data.lists import stream_lists
    from tunalm.data.streaming import write_stream
    from tunalm.progress import progress

    if to == "tunalm" and target.suffix != ".jsonl":
        raise DataError(target, found=f"'{target.suffix}' for lists of tunalm", fix="Let the name end in .jsonl.")
    if to == "tunalm" and pairs is not None:
        raise RecipeError("command line", found=f"--pairs {pairs} for whole lists", fix="Leave it out.")
    path = existing_file(source)
    if target.exists() and target.samefile(path):
        raise DataError(target, found="the file that is read", fix="Name another OUT.")
    exporter = Exporter(to, pairs)

    def rows() -> Iterator[dict[str, Any]]:
        with progress("converting", None) as advance:
            for ranking in stream_lists(path, None if shape == "auto" else shape):
                yield from exporter.rows([ranking])
                advance(1)
        if not exporter.counts["rows"]:
            raise DataError(path, found=f"nothing to write ({exporter.said()})", fix="Run `tunalm rank` first.")

    write_stream(target, rows())
    print(f"{target}: {exporter.said()}")
