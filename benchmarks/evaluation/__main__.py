"""Command line: `python -m benchmarks.evaluation PART [--rounds 3] [--json PATH]`."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path

from benchmarks.measure import machine, show, write_json

PARTS = ("scoring", "generation")
"""Modules of this package; each has `measure(rounds)`, `COLUMNS` and `NOTES`."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure one part, print its table and write it as JSON."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.evaluation", description=main.__doc__)
    parser.add_argument("part", choices=PARTS)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", type=Path, metavar="PATH")
    asked = parser.parse_args(arguments)
    if asked.rounds < 1:
        parser.error("--rounds must be at least 1")
    part = import_module(f"benchmarks.evaluation.{asked.part}")
    results = part.measure(asked.rounds)
    title = f"Evaluation, {asked.part}, on {machine()['device']}, {asked.rounds} rounds"
    show(title, part.COLUMNS, [result.row() for result in results], part.NOTES)
    if asked.json:
        write_json(asked.json, f"evaluation {asked.part}", "cpu", [result.as_json() for result in results])
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
