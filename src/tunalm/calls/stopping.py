"""Stops a stage whose calls all fail, or most of them: they would be paid for, and fail, to the end."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable

from tunalm.engines.base import Completion
from tunalm.engines.remedies import remedy
from tunalm.errors import EngineError
from tunalm.records import UNKNOWN

FIRST = 20
"""Answers that may all fail in one way."""
MANY = 100
"""Answers of which half may fail."""
WORDS = 6
"""Of a reason without a kind, by which it is told from others."""


class Failures:
    """Counts the answers of one call of `complete`, those that the ledger had included: a stage that is asked again
    only for its few failures is not stopped by them.

    Args:
        where: who is asked, for the error.
        unusable: why the stage cannot use an answer, None if it can.
    """

    def __init__(self, where: str, unusable: Callable[[Completion], str | None] | None) -> None:
        self._where, self._unusable = where, unusable
        self._good = 0
        self._failed: Counter[str] = Counter()
        self._example: dict[str, str] = {}

    def check(self, answers: Iterable[Completion]) -> None:
        """Count answers.

        Raises:
            EngineError: of at least 20 answers none is good and all failed in the same way, or of at least 100 more
                than half failed.
        """
        for answer in answers:
            failure = answer.failure or (self._unusable(answer) if self._unusable else None)
            if failure is None:
                self._good += 1
            else:
                kind = failure_kind(failure)
                self._failed[kind] += 1
                self._example.setdefault(kind, failure)
        failed = self._failed.total()
        total = self._good + failed
        alike = not self._good and total >= FIRST and len(self._failed) == 1
        if alike or (total >= MANY and 2 * failed > total):
            raise self._error(total)

    def _error(self, total: int) -> EngineError:
        kind, count = self._failed.most_common(1)[0]
        return EngineError(
            self._where,
            found=f"{self._failed.total()} of the first {total} answers failed, {count} of them with "
            f"'{self._example[kind]}'",
            fix=f"{remedy(kind).advice} Then run the same command again: what was answered is kept.",
        )


def failure_kind(failure: str) -> str:
    """What failures of one cause have in common: the words before the colon, else the first few."""
    kind, colon, _ = failure.removeprefix(UNKNOWN).partition(": ")
    return kind if colon else " ".join(kind.split()[:WORDS])
