"""A plain way and ours, timed beside each other in one process."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from benchmarks.measure import Spread, interleaved, ratios

COLUMNS = (
    "what",
    "against",
    "rows",
    "theirs, s",
    "ours, s",
    "times as fast",
    "(on the wall)",
    "equal results",
    "wanted",
)
NOTES = (
    "Median (range) of the rounds. Seconds are those of the processor, all threads together, which others in need of it"
    " do not change; on the wall they do.",
    "Answers may differ where two tokens are as good as equal: batches round otherwise in the last bits.",
)


@dataclass(frozen=True)
class Comparison:
    """How the two compare on one thing."""

    what: str
    against: str
    rows: int
    theirs: Spread
    ours: Spread
    speedup: Spread
    wall_speedup: Spread
    equal: int
    """Rows with the same result."""
    wanted: float
    """The speedup that was to be reached."""

    def row(self) -> list[str]:
        """For a table."""
        seconds = (self.theirs, self.ours, self.speedup, self.wall_speedup)
        equal = f"{self.equal} of {self.rows}"
        return [self.what, self.against, str(self.rows), *map(str, seconds), equal, f"{self.wanted:g}"]

    def as_json(self) -> dict[str, Any]:
        """Medians and ranges."""
        return asdict(self)


def compare(
    what: str,
    against: str,
    theirs: Callable[[], Sequence[Any]],
    ours: Callable[[], Sequence[Any]],
    *,
    rounds: int,
    wanted: float,
    warm_up: int = 1,
) -> Comparison:
    """Time two ways to the same results, one per row, round by round.

    Args:
        what: is done.
        against: what the plain way is.
        theirs: the plain way.
        ours: the other.
        rounds: that count, at least one.
        wanted: speedup that was to be reached.
        warm_up: rounds before them.
    """
    wall: dict[str, list[float]] = {"theirs": [], "ours": []}
    results: dict[str, Sequence[Any]] = {}

    def timed(name: str, run: Callable[[], Sequence[Any]]) -> Callable[[], None]:
        def once() -> None:
            start = time.perf_counter()
            results[name] = run()
            wall[name].append(time.perf_counter() - start)

        return once

    seconds = interleaved({"theirs": timed("theirs", theirs), "ours": timed("ours", ours)}, rounds, warm_up=warm_up)
    pairs = list(zip(results["theirs"], results["ours"], strict=True))
    return Comparison(
        what=what,
        against=against,
        rows=len(pairs),
        theirs=Spread.of(seconds["theirs"]),
        ours=Spread.of(seconds["ours"]),
        speedup=ratios(seconds["theirs"], seconds["ours"]),
        wall_speedup=ratios(wall["theirs"][-rounds:], wall["ours"][-rounds:]),
        equal=sum(one == other for one, other in pairs),
        wanted=wanted,
    )
