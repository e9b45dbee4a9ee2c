"""YAML that people write: plain values, no key twice, no tricks. Whatever else it holds is an error with its line."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from tunalm.errors import RecipeError, TunaError

LARGEST = 1_000_000
"""Bytes of a file."""
MOST_NODES = 100_000
"""Keys and values, those that an alias repeats counted again."""
DEEPEST = 60
"""Mappings and lists in each other."""
FIX = "Correct the line; quote text with ':' or '#'."


def read_yaml(path: Path, error: type[TunaError] = RecipeError, fix: str = "Check the path.") -> str:
    """The text of a file.

    Raises:
        TunaError: of the kind `error`: it cannot be read, or is too large.
    """
    try:
        if path.stat().st_size > LARGEST:
            raise error(path, found="over 1 MB", fix="Give a file that people wrote, not the data it names.")
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as wrong:
        line = wrong.object.count(b"\n", 0, wrong.start) + 1
        found = f"byte 0x{wrong.object[wrong.start]:02x}, which is not UTF-8"
        raise error(f"{path}:{line}", found=found, fix="Save the file as UTF-8.") from wrong
    except OSError as wrong:
        raise error(path, found=str(wrong.strerror), fix=fix) from wrong


def parse_yaml(text: str, where: object, error: type[TunaError] = RecipeError) -> tuple[Any, dict[str, int]]:
    """The value that a text stands for, and the lines of its keys by their dotted paths.

    Raises:
        TunaError: of the kind `error`, with the line where it is known.
    """
    try:
        node = yaml.compose(text, Loader=yaml.SafeLoader)
        if node is None:
            return None, {}
        _measure(node, where, error)
        lines = dict(_lines(node, "", where, error))
        return yaml.safe_load(text), lines
    except yaml.YAMLError as wrong:
        mark = getattr(wrong, "problem_mark", None)
        place = f"{where}:{mark.line + 1}" if mark else where
        problem = str(getattr(wrong, "problem", None) or wrong).splitlines()[0]
        raise error(place, found=f"text that is no plain YAML ({problem})", fix=FIX) from wrong
    except RecursionError as wrong:
        raise error(where, found="brackets in brackets without end", expected="plain YAML", fix=FIX) from wrong
    except ValueError as wrong:  # a date that is none, a number of too many digits
        raise error(where, found=str(wrong), expected="plain YAML", fix="Quote the value.") from wrong


def _measure(node: yaml.Node, where: object, error: type[TunaError]) -> None:
    """Refuse aliases that unfold to very much, or to themselves, before anybody follows them."""
    sizes: dict[int, int] = {}

    def size(node: yaml.Node, depth: int) -> int:
        if isinstance(node, yaml.ScalarNode):
            return 1
        if id(node) not in sizes:
            sizes[id(node)] = MOST_NODES + 1  # if it is met within itself
            inner = [part for pair in node.value for part in (pair if isinstance(pair, tuple) else (pair,))]
            total = 1 + sum(size(part, depth + 1) for part in inner) + (MOST_NODES if depth > DEEPEST else 0)
            sizes[id(node)] = min(total, MOST_NODES + 1)
        return sizes[id(node)]

    if size(node, 0) > MOST_NODES:
        found = f"more than {MOST_NODES} values, or values within themselves (aliases and brackets counted unfolded)"
        raise error(where, found=found, expected="plain YAML", fix="Write it without aliases (*name).")


def _lines(node: yaml.Node, prefix: str, where: object, error: type[TunaError]) -> Iterator[tuple[str, int]]:
    """Dotted path and line of every key; a key that stands twice in one mapping, or is no text, is an error."""
    if isinstance(node, yaml.SequenceNode):
        for number, value in enumerate(node.value):
            yield from _lines(value, f"{prefix.removesuffix('.')}[{number}].", where, error)
    if not isinstance(node, yaml.MappingNode):
        return
    seen: dict[str, int] = {}
    for key, value in node.value:
        line = key.start_mark.line + 1
        if not isinstance(key, yaml.ScalarNode):
            raise error(f"{where}:{line}", found="a list or mapping as a key", expected="a name", fix=FIX)
        if key.value in seen:
            found = f"'{key.value}' a second time (first on line {seen[key.value]})"
            raise error(f"{where}:{line}", found=found, fix="Remove or rename one.")
        seen[key.value] = line
        yield f"{prefix}{key.value}", line
        yield from _lines(value, f"{prefix}{key.value}.", where, error)
