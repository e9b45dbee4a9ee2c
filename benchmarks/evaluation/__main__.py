"""Command line: `python -m benchmarks.evaluation [--parts scoring,generation] [--rounds 3] [--json PATH]`."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path

from benchmarks.evaluation.comparison import COLUMNS, NOTES
from benchmarks.measure import machine, show, write_json

PARTS = ("scoring", "generation")
"""Modules of this package; each has `measure(rounds)`."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print one table and write it as JSON."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.evaluation", description=main.__doc__)
    parser.add_argument("--parts", default=",".join(PARTS), help="of %(default)s")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", type=Path, metavar="PATH")
    asked = parser.parse_args(arguments)
    parts = asked.parts.split(",")
    if not set(parts) <= set(PARTS):
        parser.error(f"--parts must be of {', '.join(PARTS)}, not {asked.parts}")
    if asked.rounds < 1:
        parser.error("--rounds must be at least 1")
    found = [each for part in parts for each in import_module(f"benchmarks.evaluation.{part}").measure(asked.rounds)]
    taken_on = machine()
    title = f"Evaluation on {taken_on['device']}, {taken_on['threads']} threads, {asked.rounds} rounds"
    show(title, COLUMNS, [each.row() for each in found], NOTES)
    if asked.json:
        write_json(asked.json, "evaluation", "cpu", [each.as_json() for each in found])
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
