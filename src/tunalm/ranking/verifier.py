"""Ranking by a program: right responses stand above wrong ones, partly right ones between them, equals tie.

The program is the checker that came with the instruction, or a function of the user's.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from tunalm.calls.context import StageContext
from tunalm.data.checkable import check
from tunalm.errors import DataError
from tunalm.progress import progress
from tunalm.ranking.base import is_usable, with_some_scores
from tunalm.ranking.user_code import load_checker, score_of
from tunalm.recipe import Rank
from tunalm.records import Instruction, Ranking

REASONS_SHOWN = 5


@dataclass(frozen=True)
class Checks:
    """What the verifier says of the responses of a list."""

    scores: list[float | None]
    """0-1 (1 is right), one per response; None where it was not checked, or could not be."""
    reasons: dict[int, str]
    """Why a usable response could not be checked, by its place."""


class VerifierRanker:
    """Ranks by what a checker says of each response (0 wrong, 1 right); most lists have ties."""

    def __init__(self, settings: Rank, context: StageContext) -> None:
        self._where = settings.responses
        self._function = None if settings.verifier is None else load_checker(settings.verifier)
        self._seconds = settings.verifier_timeout
        self.name = "verifier" if settings.verifier is None else f"verifier {settings.verifier}"
        self._checked = 0
        self._reasons: Counter[str] = Counter()

    def rank(self, rows: Sequence[Ranking]) -> list[Ranking]:
        """Score every usable response; a list that has fewer than two scores is not ranked."""
        ranked = []
        with progress("checking", len(rows)) as advance:
            for row in rows:
                checks = self.check(row)
                if checks is None:
                    raise DataError(
                        f"{self._where}: row '{row.id}'",
                        found="no checker",
                        expected="one, which by: verifier runs",
                        fix="Give a verifier of your own (verifier: FILE.py:FUNCTION), rank with by: judge, or take "
                        "instructions that have checkers, such as checkable:train.",
                    )
                ranked.append(with_some_scores(row, checks.scores, checks.reasons, self.name))
                advance(1)
        self.require_scores()
        return ranked

    def check(self, row: Ranking) -> Checks | None:
        """Score the usable responses of a list; None where it has no checker."""
        if self._function is None and row.checker is None:
            return None
        instruction = Instruction.model_validate(row.model_dump(exclude=_NOT_OF_THE_INSTRUCTION))
        scores: list[float | None] = []
        reasons: dict[int, str] = {}
        for place, response in enumerate(row.responses):
            score = self._score(instruction, response.text) if is_usable(response) else None
            if isinstance(score, str):
                reasons[place] = score
                score = None
            scores.append(score)
        self._checked += sum(score is not None for score in scores)
        self._reasons.update(reasons.values())
        return Checks(scores, reasons)

    def require_scores(self) -> None:
        """Refuse a function that has scored nothing at all.

        Raises:
            DataError: it was asked, and failed every time.
        """
        if self._reasons and not self._checked:
            reason, count = self._reasons.most_common(1)[0]
            raise DataError(
                self.name,
                found=f"{reason} ({count} of {self._reasons.total()} responses, and no score for the others)",
                expected="a number from 0 to 1, or a bool, from FUNCTION(instruction, text)",
                fix="Correct the function; text is a string, instruction has .instruction, .input, .reference.",
            )

    def figures(self) -> dict[str, Any]:
        """How many responses were checked, and why others could not be."""
        figures: dict[str, Any] = {"responses_checked": self._checked}
        if self._reasons:
            figures["responses_not_checked"] = self._reasons.total()
            figures["reasons_not_checked"] = dict(self._reasons.most_common(REASONS_SHOWN))
        return figures

    def _score(self, instruction: Instruction, text: str) -> float | str:
        if self._function is not None:
            return score_of(self._function, instruction, text, self._seconds)
        assert instruction.checker is not None  # `check` has seen to it
        return check(instruction.checker, text)


_NOT_OF_THE_INSTRUCTION = set(Ranking.model_fields) - set(Instruction.model_fields)
