"""What the report says of a proxy ranking model: how far it agrees with the judge on lists that it has not seen."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tunalm.reporting.formats import number

MEASURES = {
    "kendall_tau": "Kendall's tau with the judge, mean",
    "top1": "same best response",
    "pair_accuracy": "pairs in the judge's order",
}
DIGITS = 3


@dataclass(frozen=True)
class Comparison:
    """One line of the table, as text."""

    measure: str
    proxy: str
    length: str
    chance: str
    gain: str


def comparisons(held_out: Any) -> list[Comparison]:
    """The table, from `details.held_out` of the stage's record; empty if nothing was held out."""
    if not isinstance(held_out, Mapping) or not held_out.get("lists"):
        return []
    rows = [(label, held_out.get(name)) for name, label in MEASURES.items()]
    return [
        Comparison(label, *(_estimate(row.get(of)) for of in ("proxy", "length", "chance", "gain")))
        for label, row in rows
        if isinstance(row, Mapping)
    ]


def _estimate(found: Any) -> str:
    value = found.get("value") if isinstance(found, Mapping) else None
    if not isinstance(value, int | float):
        return "-"
    ends = found.get("ci95")
    text = number(value, DIGITS)
    return f"{text} ({number(ends[0], DIGITS)} to {number(ends[1], DIGITS)})" if isinstance(ends, list) else text
