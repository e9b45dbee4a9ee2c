"""What comes of the stage: rows, what was left out and why, and the counts of both."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, TypeVar

from tunalm.engines.base import Completion
from tunalm.instructing.records import Rejected, WrittenReply
from tunalm.instructing.replies import UnreadableError
from tunalm.recipe import Instruct
from tunalm.records import Instruction
from tunalm.redaction import without_secrets
from tunalm.store import Summary

REASONS_TOLD = 10
Value = TypeVar("Value")


@dataclass
class Instructed:
    """Rows in the order in which their instructions were kept, and what was left out."""

    prefix: str = "new"
    """Of the ids of new rows."""
    rows: list[Instruction] = field(default_factory=list)
    rejected: list[Rejected] = field(default_factory=list)
    failures: list[str | None] = field(default_factory=list)
    """Of every reply: why nothing of it could be read, None if something could."""
    instructions: int = 0
    """Kept, whether or not an input and output were found for them."""
    classifications: int = 0

    def read(
        self, step: str, reply: WrittenReply, reader: Callable[[WrittenReply], Value], instruction: str | None = None
    ) -> Value | None:
        """What a reply says, by its reader; None, and counted, if nothing of it can be read."""
        value, reason = attempt(reply, reader)
        self.failures.append(reason)
        if reason is not None:
            self.reject(step, reply.text, reason, instruction)
        return value

    def reject(self, step: str, text: str, reason: str, instruction: str | None = None) -> None:
        """Leave something out."""
        self.rejected.append(Rejected(text=text, reason=reason, step=step, instruction=instruction))

    def left_out(self) -> dict[str, int]:
        """How often something was left out, by step and reason."""
        return dict(Counter(f"{each.step}: {each.reason}" for each in self.rejected).most_common())

    def summary(self, settings: Instruct) -> Summary:
        """Count replies, and what was left out of them, by step and reason."""
        failures = Counter(failure for failure in self.failures if failure is not None)
        details: dict[str, Any] = {
            "instructions": self.instructions,
            "instructions_wanted": settings.num_instructions,
            "classifications": self.classifications,
            "rows": len(self.rows),
            "left_out": self.left_out(),
            "failures": dict(failures.most_common(REASONS_TOLD)),
        }
        return Summary.of(self.failures, details)


def written(answer: Completion) -> WrittenReply:
    """An answer, without what the stage does not read."""
    cut = answer.finish_reason == "length"
    return WrittenReply(key=answer.key, text=without_secrets(answer.text), cut=cut, failure=answer.failure)


def attempt(reply: WrittenReply, reader: Callable[[WrittenReply], Value]) -> tuple[Value | None, str | None]:
    """What a reply says, by its reader, or why nothing of it can be read."""
    if reply.failure is not None:
        return None, reply.failure
    try:
        return reader(reply), None
    except UnreadableError as error:
        return None, str(error)


def unusable(reader: Callable[[WrittenReply], object]) -> Callable[[Completion], str | None]:
    """Says why an answer is of no use to a reader, None if it is of some."""
    return lambda answer: attempt(written(answer), reader)[1]
