"""`tunalm rank --scan-beta`: a table, and on request JSON and a figure, of what the length penalty changes."""

from __future__ import annotations

from collections.abc import Sequence
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
        raise RecipeError(
            WHERE,
            found="a stage that does more than read log-probabilities",
            expected="by: likelihood without an engine or a veto",
            fix="Rank once with the engine, then scan the rankings.jsonl that it makes.",
        )
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
        raise RecipeError(
            WHERE,
            found=f"'{text}'",
            expected="numbers from 0 to 10 with commas between them",
            fix="0,0.5,1,1.3,2 are some.",
        ) from error
    return sorted(set(betas))


def _print(found: Scan) -> None:
    from rich.console import Console
    from rich.table import Table

    screen = Console()
    table = Table("beta", "characters by rank", "tokens by rank", "tau", "other best", "tau with length")
    for row in found.betas:
        table.add_row(
            f"{row.beta:g}",
            _lengths(row.characters_by_rank),
            _lengths(row.tokens_by_rank),
            _number(row.tau),
            f"{row.top1_changed:.1%}",
            _number(row.length_correlation),
        )
    screen.print(table)
    skipped = f", {found.skipped} without two responses to rank left out" if found.skipped else ""
    screen.print(
        f"{found.lists} lists{skipped}; length in {found.length_unit}. tau and other best: compared with beta = "
        f"{found.compared_with:g}. tau with length: above 0, the order prefers longer responses.",
        markup=False,
    )


def _lengths(means: Sequence[float]) -> str:
    return " ".join(f"{mean:.0f}" for mean in means)


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:+.2f}"


def _write(found: Scan, out: Path) -> None:
    from matplotlib.figure import Figure

    from tunalm.store import write_json

    write_json(out / "beta_scan.json", found.as_json())
    figure = Figure(figsize=(8.4, 3.2), layout="constrained")
    lengths, orders = figure.subplots(1, 2)
    betas = [row.beta for row in found.betas]
    for rank in range(max(len(row.characters_by_rank) for row in found.betas)):
        means = [row.characters_by_rank[rank : rank + 1] or [float("nan")] for row in found.betas]
        lengths.plot(betas, [mean[0] for mean in means], marker="o", label=f"rank {rank}")
    lengths.set_ylabel("characters, mean")
    orders.plot(betas, [_or_nan(row.tau) for row in found.betas], marker="o", label="tau with the chosen beta")
    orders.plot(betas, [_or_nan(row.length_correlation) for row in found.betas], marker="s", label="tau with length")
    orders.plot(betas, [row.top1_changed for row in found.betas], marker="^", label="share with another best")
    for axes in (lengths, orders):
        axes.axvline(found.compared_with, color="grey", linestyle=":")
        axes.set_xlabel("beta")
        axes.legend(fontsize=8)
    figure.savefig(out / "beta_scan.png", dpi=150)


def _or_nan(value: float | None) -> float:
    return float("nan") if value is None else value
