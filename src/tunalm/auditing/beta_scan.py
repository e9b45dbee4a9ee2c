"""`tunalm rank --scan-beta`: a table, and on request JSON and a figure, of what the length penalty changes."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from tunalm.errors import RecipeError
from tunalm.recipe import Rank

if TYPE_CHECKING:
    from tunalm.ranking.scan import Scan

WHERE = "command line, --scan-beta"


def scan_betas(settings: Rank, betas: str, out: Path | None) -> None:
    """Print the table for the responses that `settings` name.

    Args:
        settings: of a stage with `by: likelihood`; its own length penalty is the one to compare with.
        betas: numbers with commas between them.
        out: a folder for beta_scan.json and beta_scan.png; None writes nothing.

    Raises:
        RecipeError: what is asked for is no such scan.
        DataError: the responses cannot be read, or lack log-probabilities.
    """
    if settings.by != "likelihood" or settings.engine is not None or settings.veto is not None:
        what = "only by: likelihood without an engine or a veto can be scanned"
        raise RecipeError(WHERE, found=what, fix="Rank once, then scan the rankings.jsonl that it makes.")
    numbers = _numbers(betas)
    from tunalm.ranking.scan import scan

    found = scan(
        Path(settings.responses),
        numbers,
        compared_with=settings.length_penalty,
        unit=settings.length_unit,
        rows=settings.select(),
    )
    _print(found)
    if out is not None:
        _write(found, out)


def _numbers(text: str) -> list[float]:
    try:
        betas = [float(part) for part in text.split(",")]
        if not all(0 <= beta <= 10 for beta in betas):
            raise ValueError("beta is a number from 0 to 10")
    except ValueError as error:
        fix = "Give numbers from 0 to 10 with commas between them: 0,0.5,1,1.3,2."
        raise RecipeError(WHERE, found=f"'{text}'", fix=fix) from error
    return sorted(set(betas))


def _print(found: Scan) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table("beta", "characters by rank", "tokens by rank", "tau", "other best", "tau with length")
    for row in found.betas:
        lengths = (" ".join(f"{mean:.0f}" for mean in means) for means in (row.characters_by_rank, row.tokens_by_rank))
        taus = ("-" if tau is None else f"{tau:+.2f}" for tau in (row.tau, row.length_correlation))
        table.add_row(f"{row.beta:g}", *lengths, next(taus), f"{row.top1_changed:.1%}", next(taus))
    screen = Console()
    screen.print(table)
    skipped = f", {found.skipped} without two responses to rank left out" if found.skipped else ""
    screen.print(
        f"{found.lists} lists{skipped}; length in {found.length_unit}. tau and other best: compared with beta = "
        f"{found.compared_with:g}. tau with length: above 0, the order prefers longer responses.",
        markup=False,
    )


def _write(found: Scan, out: Path) -> None:
    from matplotlib.figure import Figure

    from tunalm.store import write_json

    write_json(out / "beta_scan.json", asdict(found))
    lines: dict[str, list[float | None]] = {
        "tau with the chosen beta": [row.tau for row in found.betas],
        "tau with length": [row.length_correlation for row in found.betas],
        "share with another best": [row.top1_changed for row in found.betas],
    }
    figure = Figure(figsize=(6, 3.2), layout="constrained")
    axes = figure.subplots()
    betas = [row.beta for row in found.betas]
    for label, values in lines.items():
        axes.plot(betas, [float("nan") if value is None else value for value in values], "o-", label=label)
    axes.axvline(found.compared_with, color="grey", linestyle=":")
    axes.set_xlabel("beta")
    axes.legend(fontsize=8)
    figure.savefig(out / "beta_scan.png", dpi=150)
