"""Command line: `python -m benchmarks.ranking_step [--settings A,B] [--rounds 5] [--json PATH] [--device cpu|cuda]`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import torch

from benchmarks.measure import machine, show, write_json
from benchmarks.ranking_step.results import COLUMNS, NOTES, Result, measure
from benchmarks.ranking_step.settings import SETTINGS
from benchmarks.ranking_step.variants import DisagreementError
from tunalm.engines.huggingface import fast_bf16
from tunalm.progress import console


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print one table and write it as JSON; 1 if the variants do not compute the same."""
    asked = _parse(arguments)
    if asked.device == "cpu":
        torch.set_num_threads(1)
    results: list[Result] = []
    try:
        for name in asked.settings:
            results.append(measure(name, asked.rounds))
            ratios = ", ".join(f"{against} {spread}" for against, spread in results[-1].spreads().items())
            console().print(f"{name}: {ratios}", soft_wrap=True)
            if asked.json:
                write_json(asked.json, "ranking_step", asked.device, [result.as_json() for result in results])
    except DisagreementError as error:
        print(f"setting {name}: {error}", file=sys.stderr)
        return 1
    finally:
        if results:
            here = machine(asked.device)
            title = f"A step over ranked lists on {here['device']}, {asked.rounds} rounds, torch {here['torch']}"
            show(title, COLUMNS, [result.row() for result in results], [*NOTES, *asked.notes])
    return 0


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.ranking_step", description=main.__doc__)
    parser.add_argument("--settings", help=f"of {','.join(SETTINGS)}; all that suit the device if left out")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", type=Path, metavar="PATH")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cuda" if torch.cuda.is_available() else "cpu")
    asked = parser.parse_args(arguments)
    if asked.rounds < 1:
        parser.error("--rounds must be at least 1")
    of_device = [name for name, setting in SETTINGS.items() if setting.device == asked.device]
    asked.notes = []
    if asked.settings is None:
        asked.settings = [name for name in of_device if name != "tiny"]
        if asked.device == "cpu" and not fast_bf16():
            asked.settings.remove("A-bf16")
            asked.notes.append("A-bf16 was left out: this processor only emulates bf16. Ask for it by name.")
        return asked
    asked.settings = asked.settings.split(",")
    unknown = [name for name in asked.settings if name not in of_device]
    if unknown:
        parser.error(f"no setting {', '.join(unknown)} on {asked.device}; there are {', '.join(of_device)}")
    return asked


if __name__ == "__main__":
    sys.exit(main())
