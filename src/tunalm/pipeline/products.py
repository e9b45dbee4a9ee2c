"""Whether what a stage has made is still there, still whole, and still as the stage made it.

A product that was edited is as good as one that a stage made: whatever reads it runs again. One that is gone, empty or
cut is made again.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

from tunalm.errors import DataError
from tunalm.records import Instruction, Product, Ranking, StageState
from tunalm.store import CARD, digest, file_digest, iterate_rows

MADE = {
    "model": "model",
    "proxy": "model",
    "instructions": "instructions.jsonl",
    "responses": "responses.jsonl",
    "rankings": "rankings.jsonl",
    "results": "results.json",
}
"""What a stage makes -> its name in the stage's folder."""


@dataclass(frozen=True)
class Condition:
    """What has become of the products of a finished stage."""

    edited: dict[str, str] = field(default_factory=dict)
    """Files that are others than the stage made, and can be read: name in the stage's folder -> hash of its content."""
    broken: dict[str, str] = field(default_factory=dict)
    """Products that are gone or cannot be read -> what is wrong."""

    @property
    def identity(self) -> str:
        """Tells edits from other edits; empty if there are none."""
        return digest(self.edited)[:16] if self.edited else ""


def products_of(folder: Path) -> dict[str, Product]:
    """Size, time and hash of every product in the folder of a stage."""
    found = {}
    for path in _files(folder):
        stat = path.stat()
        content = _content(path, stat.st_size, stat.st_mtime_ns)
        found[path.relative_to(folder).as_posix()] = Product(
            size=stat.st_size, mtime_ns=stat.st_mtime_ns, sha256=content
        )
    return found


def content_of(products: dict[str, Product]) -> str:
    """One hash for the content of all products."""
    return digest({name: product.sha256 for name, product in products.items()})


def examine(folder: Path, state: StageState) -> Condition:
    """Compare the products of a finished stage with what the stage wrote down; large files are read only if they seem
    to have changed."""
    known = state.products
    there = {path.relative_to(folder).as_posix(): path for path in _files(folder)}
    if not known:  # an earlier version of tunalm wrote nothing down
        known = {name: Product(size=0, mtime_ns=0, sha256="") for name in there}
    broken = dict.fromkeys(known.keys() - there.keys(), "it is gone") if there else {"all": "nothing is there"}
    edited = {}
    for name, path in there.items():
        stat, was = path.stat(), known.get(name)
        if was is not None and (stat.st_size, stat.st_mtime_ns) == (was.size, was.mtime_ns):
            continue
        content = _content(path, stat.st_size, stat.st_mtime_ns)
        if was is not None and content == was.sha256:
            continue
        if problem := _problem(path, stat.st_size, stat.st_mtime_ns):
            broken[name] = problem
        elif state.products:
            edited[name] = content
    return Condition(edited, broken)


def _files(folder: Path) -> list[Path]:
    """The products, sorted; the card of a model is none, as it says what is known later."""
    tops = [folder / name for name in dict.fromkeys(MADE.values())]
    inner = [path for top in tops for path in ([top] if top.is_file() else sorted(top.rglob("*")))]
    return [path for path in inner if path.is_file() and path.name != CARD and not path.name.startswith(".")]


@lru_cache(None)
def _content(path: Path, size: int, mtime_ns: int) -> str:
    """SHA-256 of a file that has this size and time."""
    return file_digest(path)


@lru_cache(None)
def _problem(path: Path, size: int, mtime_ns: int) -> str:
    """Why a file cannot be what a stage would read; empty if it can."""
    check = _READERS.get(path.name) or _READERS.get(path.suffix)
    if size == 0:
        return "it is empty"
    try:
        if check is not None:
            check(path)
    except DataError as error:
        return f"{error.where.removeprefix(str(path))} {error.found}".strip(": ")
    except (OSError, ValueError, UnicodeDecodeError) as error:
        return str(error)
    return ""


def _read_lists(path: Path) -> None:
    for _ in iterate_rows(path, Ranking):
        pass


def _read_instructions(path: Path) -> None:
    for _ in iterate_rows(path, Instruction):
        pass


def _read_json(path: Path) -> None:
    json.loads(path.read_text(encoding="utf-8"))


def _read_weights(path: Path) -> None:
    """Check the frame of a safetensors file: the length of its header, the header, and the bytes that it describes."""
    with open(path, "rb") as file:
        length = int.from_bytes(file.read(8), "little")
        size = path.stat().st_size
        if length > size - 8:
            raise ValueError("it is cut")
        header = json.loads(file.read(length))
    ends = [each["data_offsets"][1] for name, each in header.items() if name != "__metadata__"]
    if 8 + length + max(ends, default=0) != size:
        raise ValueError("it is cut")


_READERS: dict[str, Callable[[Path], None]] = {
    MADE["instructions"]: _read_instructions,
    ".jsonl": _read_lists,
    ".json": _read_json,
    ".safetensors": _read_weights,
}
