"""The command `tunalm push`, which sends what a run has made to a hub."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tunalm.errors import EXIT_INTERRUPTED

if TYPE_CHECKING:
    from tunalm.pipeline.hub import Parcel


def push(
    run_dir: Annotated[Path, typer.Argument(metavar="RUN", help="Folder of a run.")],
    stage: Annotated[str, typer.Argument(help="A finished stage that trains, samples or ranks.")],
    repo_id: Annotated[str, typer.Argument(metavar="REPO_ID", help="OWNER/NAME on the hub.")],
    private: Annotated[bool, typer.Option("--private", help="Only those who are invited shall see it.")] = False,
    endpoint: Annotated[
        str | None, typer.Option("--endpoint", help="Address of the hub; HF_ENDPOINT or huggingface.co by default.")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="List the files and their sizes; send nothing.")] = False,
) -> None:
    """Send a trained model, or lists as a data set, to a hub, with its card. The token is HF_TOKEN or your login's."""
    from tempfile import TemporaryDirectory

    from huggingface_hub.utils.tqdm import disable_progress_bars

    from tunalm.pipeline.hub import pack, send

    if not sys.stderr.isatty():
        disable_progress_bars()
    with TemporaryDirectory(prefix="tunalm-push-") as room:
        parcel = pack(run_dir, stage, Path(room))
        if dry_run:
            _list(parcel, repo_id)
            return
        try:
            print(send(parcel, repo_id, private=private, endpoint=endpoint))
        except KeyboardInterrupt:
            print("tunalm: interrupted; the same command sends only what has not arrived", file=sys.stderr)
            raise typer.Exit(EXIT_INTERRUPTED) from None


def _list(parcel: Parcel, repo_id: str) -> None:
    for name, size in parcel.files.items():
        print(f"{size:>16,}  {name}")
    print(f"{sum(parcel.files.values()):>16,}  bytes in {len(parcel.files)} files for the {parcel.kind} {repo_id}")
