"""Ranking by a program: right responses stand above wrong ones, partly right ones between them, equals tie.

The program is the checker that came with the instruction, or a function of the user's. A function that says how good a
response is on any other scale ranks as well (`FunctionRanker`).
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Sequence
from inspect import iscoroutinefunction
from typing import Any, SupportsFloat

from tunalm.calls.context import Calls
from tunalm.data.checkable import check
from tunalm.errors import DataError, RecipeError
from tunalm.extensions import load_object, said
from tunalm.progress import tracked
from tunalm.ranking.base import REASONS_SHOWN, with_some_scores
from tunalm.ranking.time_limit import OutOfTimeError, within
from tunalm.recipe import Rank
from tunalm.records import Instruction, Ranking

Function = Callable[[Instruction, str], Any]
"""Of an instruction and the text of one response: a number or a bool."""
Checks = tuple[list[float | None], dict[int, str]]
"""Of a list: a score per response, None where there is none; and by place why a usable response has none."""
_SHOWN = (str, bytes, list, tuple, dict, type(None))
"""What a reason shows as it is; the text of other values may hold an address, and differ from call to call."""
_OF_THE_LIST = set(Ranking.model_fields) - set(Instruction.model_fields)


class FunctionRanker:
    """Ranks by a function of the user's that sees one response at a time: more is better, equal is a tie.

    Args:
        function: called with an `Instruction` and the text of a response. A response for which it raises an error, or
            returns no finite number, is not ranked.
        name: what `Ranking.ranked_by` says.
        noun: what the reasons call it.
        seconds: what it may take for one response; None sets no limit.
    """

    lowest, highest = -math.inf, math.inf
    where = "responses"
    """File of the lists, for errors."""

    def __init__(
        self, function: Function | None, name: str, *, noun: str = "ranker", seconds: float | None = None
    ) -> None:
        if function is not None and not callable(function):
            raise RecipeError(name, found=f"it is a {type(function).__name__}", fix="Name a function of the module.")
        if iscoroutinefunction(function):
            raise RecipeError(name, found="it is an async function", fix="Name a plain one.")
        self.function, self.name = function, name
        self._noun, self._seconds = noun, seconds
        self._checked = 0
        self._reasons: Counter[str] = Counter()

    def rank(self, rows: Sequence[Ranking]) -> list[Ranking]:
        """Score every usable response; a list that has fewer than two scores is not ranked.

        Raises:
            DataError: a list has no checker and there is no function; or the function never works.
        """
        ranked = []
        for row in tracked(rows, "checking"):
            checks = self.check(row)
            if checks is None:
                raise DataError(
                    f"{self.where}: row '{row.id}'",
                    found="no checker",
                    fix="Give a verifier of your own (verifier: FILE.py:FUNCTION), rank with by: judge, or take "
                    "instructions that have checkers, such as checkable:train.",
                )
            ranked.append(with_some_scores(row, *checks, self.name))
        self.require_scores()
        return ranked

    def check(self, row: Ranking) -> Checks | None:
        """Score the usable responses of a list; None where there is nothing to check it with."""
        if self.function is None and row.checker is None:
            return None
        instruction = Instruction.model_validate(row.model_dump(exclude=_OF_THE_LIST))
        scores: list[float | None] = []
        reasons: dict[int, str] = {}
        for place, response in enumerate(row.responses):
            score = self._score(instruction, response.text) if response.is_usable else None
            if isinstance(score, str):
                reasons[place] = score
            scores.append(None if isinstance(score, str) else score)
        self._checked += sum(score is not None for score in scores)
        self._reasons.update(reasons.values())
        return scores, reasons

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
                expected="FUNCTION(instruction, text) to return a number",
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
        """The score of a response, or why there is none."""
        if self.function is None:
            assert instruction.checker is not None  # `check` has seen to it
            return check(instruction.checker, text)
        function = self.function
        try:
            value = within(self._seconds, lambda: function(instruction, text))
            score = float(value) if isinstance(value, SupportsFloat) else None
        except OutOfTimeError:
            return f"the {self._noun} took more than {self._seconds:g} seconds (imports do not count)"
        except (Exception, SystemExit) as error:
            return f"the {self._noun} failed: {said(error)}"
        if score is None:
            shown = repr(value)[:80] if isinstance(value, _SHOWN) else type(value).__name__
            return f"the {self._noun} returned {shown} and no number"
        if not math.isfinite(score):
            return f"the {self._noun} returned {score:g}, which is not a finite number"
        if not self.lowest <= score <= self.highest:
            return f"the {self._noun} returned {score:g}, which is not between {self.lowest} and {self.highest}"
        return score


class VerifierRanker(FunctionRanker):
    """Ranks by what a checker says of each response, from 0 (wrong) to 1 (right); most lists have ties."""

    lowest, highest = 0, 1

    def __init__(self, settings: Rank, calls: Calls) -> None:
        function = None if settings.verifier is None else load_object(settings.verifier, "verifier")
        name = "verifier" if settings.verifier is None else f"verifier {settings.verifier}"
        super().__init__(function, name, noun="verifier", seconds=settings.verifier_timeout)
        self.where = settings.responses
