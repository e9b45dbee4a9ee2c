"""What `tunalm preview` and `tunalm doctor` print."""

from __future__ import annotations

import os
import platform
import shutil
import time
from pathlib import Path
from typing import Literal

from rich.console import Console
from rich.table import Table
from rich.text import Text

from tunalm.data import load
from tunalm.data.files import stream_raw
from tunalm.data.lists import load_lists
from tunalm.data.prompts import PromptEncoder
from tunalm.engines import open_engine
from tunalm.engines.base import Journal, Request
from tunalm.engines.endpoint.probe import examine
from tunalm.engines.huggingface import hardware, load_tokenizer
from tunalm.errors import ModelError
from tunalm.pipeline.manifest import PACKAGES, versions
from tunalm.recipe import Data, EndpointSettings, HuggingFaceSettings, PromptTemplate
from tunalm.recipe.models import EMBEDDED, embedded_version
from tunalm.records import Message, Ranking
from tunalm.training.preview import preview

OPTIONAL = {"xllamacpp": "serves GGUF models on this machine (extra llamacpp)"}


def print_preview(rows: Path, model: str, template: PromptTemplate | None, max_length: int, count: int) -> None:
    """Print the sequences of a few training rows: what is only read is dim, what is learned is bright.

    Args:
        rows: ranked rows, or any file of instructions with references (then as `tunalm sft` would see them).
    """
    encoder = PromptEncoder(load_tokenizer(model), template, model)
    screen = Console(highlight=False)
    sequences = list(preview(_ranked_or_plain(rows)[:count], encoder, max_length))
    if not sequences:
        screen.print("Nothing in these rows is learned: they have no reference and no ranked response.")
    for shown in sequences:
        screen.rule(Text(f"{shown.row_id}: {shown.label}"), align="left")
        line = Text()
        for tokens, style in ((shown.read, "dim"), (shown.learned, "bold green")):
            for token in tokens:
                line.append(visible(token), style=style)
        screen.print(line, soft_wrap=True)
        trained = len(shown.learned)
        screen.print(f"{trained} of {len(shown.read) + trained} tokens are learned", style="italic", markup=False)


def _ranked_or_plain(path: Path) -> list[Ranking]:
    first = next(stream_raw(path)).value
    if isinstance(first, dict) and "responses" in first:
        return load_lists(path)
    return [row.with_responses([]) for row in load(Data(source=str(path)))]


def visible(text: str) -> str:
    """Text in which control characters, terminal escapes included, can be seen and do nothing."""
    return "".join(char if char.isprintable() else "\u23ce\n" if char == "\n" else repr(char)[1:-1] for char in text)


def print_doctor() -> None:
    """Print versions, hardware, free space, embedded models and optional packages."""
    table = Table("what", "found", title="tunalm doctor", show_header=False)
    table.add_row("python", f"{platform.python_version()} on {platform.platform()}")
    installed = versions([*PACKAGES, *OPTIONAL])
    for package in PACKAGES:
        table.add_row(package, installed.get(package, "missing"))
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
        table.add_row(package, f"{installed.get(package, 'not installed')}: {purpose}")
    Console(highlight=False).print(table)


def print_server(base_url: str, model: str, api_key_env: str | None, protocol: Literal["chat", "completions"]) -> None:
    """Ask a server what it can do and print that, and what it is good for.

    Raises:
        EngineError: there is no such server, or it does not accept the key.
    """
    settings = EndpointSettings(base_url=base_url, model=model, api_key_env=api_key_env, protocol=protocol)
    examined = examine(settings)
    marks = {True: "yes", False: "no", None: "-"}
    table = Table("what", "", "found", title=Text(f"{model or 'no model named'} at {base_url}"))
    for finding in examined.findings:
        table.add_row(finding.what, marks[finding.good], Text(visible(finding.found)))
    screen = Console(highlight=False)
    screen.print(table)
    uses = Table("it suits", "")
    for use, verdict in examined.suits():
        uses.add_row(use, verdict)
    screen.print(uses)
    screen.print(f"{examined.requests} requests were sent.", markup=False)


def print_model(source: str) -> None:
    """Let a model in this process answer a few tokens and print what it can do.

    Raises:
        ModelError: it cannot be loaded.
    """
    engine = open_engine(HuggingFaceSettings(model=source))
    question = [Message(role="user", content="Name a colour.")]
    request = Request(key="doctor", messages=question, max_new_tokens=8, logprobs=True)
    started = time.perf_counter()
    ((reply,),) = engine.generate([[request]], Journal())
    seconds = time.perf_counter() - started
    table = Table("what", "found", title=Text(engine.identity), show_header=False)
    table.add_row("answers", Text(visible(reply.failure or f"yes: {reply.text!r} ({seconds:.1f} s, loading included)")))
    for name in ("logprobs", "seeded", "n", "scores", "json_schema"):
        table.add_row(name, "yes" if getattr(engine.capabilities, name) else "no")
    for note in engine.capabilities.notes:
        table.add_row("note", note)
    Console(highlight=False).print(table)
