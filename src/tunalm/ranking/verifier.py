"""Ranking by a program: where an instruction came with a checker, right responses stand above wrong ones."""

from __future__ import annotations

from collections.abc import Sequence

from tunalm.data.checkable import check
from tunalm.errors import DataError
from tunalm.progress import progress
from tunalm.ranking.base import is_usable, with_scores
from tunalm.recipe import Rank
from tunalm.records import Ranking
from tunalm.store import StageContext


class VerifierRanker:
    """Ranks by what the checker of each instruction says; most lists have ties."""

    name = "verifier"

    def __init__(self, settings: Rank, context: StageContext) -> None:
        self._where = settings.responses

    def rank(self, rows: Sequence[Ranking]) -> list[Ranking]:
        """Score every usable response with the row's checker (0 wrong, 1 right)."""
        ranked = []
        with progress("checking", len(rows)) as advance:
            for row in rows:
                ranked.append(with_scores(row, self._scores(row), self.name))
                advance(1)
        return ranked

    def _scores(self, row: Ranking) -> list[float | None]:
        if row.checker is None:
            raise DataError(
                f"{self._where}: row '{row.id}'",
                found="no checker",
                expected="one, which by: verifier runs",
                fix="Rank with by: judge, or take instructions that have checkers, such as checkable:train.",
            )
        return [check(row.checker, response.text) if is_usable(response) else None for response in row.responses]
