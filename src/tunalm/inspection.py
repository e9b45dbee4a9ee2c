"""What `tunalm preview` and `tunalm doctor` print."""

from __future__ import annotations

import os
import platform
import shutil
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Literal

from rich.console import Console
from rich.table import Table
from rich.text import Text

from tunalm.data import load
from tunalm.data.prompts import PromptEncoder
from tunalm.engines.huggingface import hardware, load_tokenizer
from tunalm.engines.models import EMBEDDED, embedded_version
from tunalm.errors import DataError, ModelError
from tunalm.recipe import Data
from tunalm.records import Ranking
from tunalm.store import read_rows
from tunalm.training.preview import preview

PACKAGES = ("tunalm", "torch", "transformers", "accelerate", "peft", "datasets", "openai", "pydantic")
OPTIONAL = {"xllamacpp": "serves GGUF models on this machine (extra llamacpp)"}


def print_preview(rows: Path, model: str, template: Literal["chat", "alpaca"], max_length: int, count: int) -> None:
    """Print the sequences of a few training rows: what is only read is dim, what is learned is bright.

    Args:
        rows: ranked rows, or any file of instructions with references (then as `tunalm sft` would see them).
    """
    encoder = PromptEncoder(load_tokenizer(model), template, model)
    screen = Console(highlight=False)
    for shown in preview(_ranked_or_plain(rows)[:count], encoder, max_length):
        screen.rule(Text(f"{shown.row_id}: {shown.label}"), align="left")
        line = Text()
        for token in shown.tokens:
            line.append(visible(token.text), style="bold green" if token.trained else "dim")
        screen.print(line, soft_wrap=True)
        trained = sum(token.trained for token in shown.tokens)
        screen.print(f"{trained} of {len(shown.tokens)} tokens are learned", style="italic", markup=False)


def _ranked_or_plain(path: Path) -> list[Ranking]:
    try:
        return read_rows(path, Ranking)
    except DataError:
        return [Ranking.model_validate({**row.model_dump(), "responses": []}) for row in load(Data(source=str(path)))]


def visible(text: str) -> str:
    """Text in which control characters, terminal escapes included, can be seen and do nothing."""
    return "".join(char if char.isprintable() else "\u23ce\n" if char == "\n" else repr(char)[1:-1] for char in text)


def print_doctor() -> None:
    """Print versions, hardware, free space, embedded models and optional packages."""
    table = Table("what", "found", title="tunalm doctor", show_header=False)
    table.add_row("python", f"{platform.python_version()} on {platform.platform()}")
    for package in PACKAGES:
        table.add_row(package, _installed(package) or "missing")
    for what, found in hardware().items():
        table.add_row(what, found)
    table.add_row("cores", str(os.cpu_count()))
    table.add_row("free disk here", f"{shutil.disk_usage('.').free / 1e9:.0f} GB")
    for name in EMBEDDED:
        try:
            table.add_row(name, embedded_version(name))
        except ModelError as error:
            table.add_row(name, f"not installed. {error.fix}")
    for package, purpose in OPTIONAL.items():
        table.add_row(package, f"{_installed(package) or 'not installed'}: {purpose}")
    Console(highlight=False).print(table)


def _installed(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
