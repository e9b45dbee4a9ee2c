"""The diversity rule of contextual ranking (section 2.3 of the paper), as pure logic.

Every pair of responses to one instruction shall have a ROUGE-L F1 below tau (`max_rouge_l`). Slots are settled in
order. A draw for a slot is compared with what the slots before it keep: if it is similar to none of them it is kept,
else it is discarded and the slot drawn again at a raised temperature. When no draw is left to make, the least similar
of those made is kept (the earliest of equals). A draw that failed or is blank ends its slot too: only what is too
similar is redrawn. Such draws are compared with nothing.

That is a rule for one slot after the other, but a draw does not depend on another, so many can be made at once: a slot
may be redrawn as soon as its draw is similar to *any* response that is settled already, for whatever the slots between
will keep cannot save it. `next_step` therefore never asks for a draw that the rule would not make, and what is kept is
the same however the draws are grouped.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import combinations

Similarity = Callable[[str, str], float]


@dataclass(frozen=True)
class Rule:
    """When a draw is discarded."""

    max_rouge_l: float | None
    """tau; None keeps every draw."""
    max_attempts: int
    similarity: Similarity

    def closeness(self, text: str, others: Sequence[str]) -> float:
        """Largest similarity of a text with any of the others, 0 when there are none."""
        return max((self.similarity(text, other) for other in others), default=0.0)

    def discards(self, text: str | None, others: Sequence[str]) -> bool:
        """Whether a draw is too similar to one of the others; a failed one never is."""
        if self.max_rouge_l is None or text is None:
            return False
        return self.closeness(text, others) >= self.max_rouge_l


@dataclass(frozen=True)
class Settled:
    """What follows from the draws made so far for one instruction."""

    kept: list[int | None]
    """Per slot the index of the draw that is kept; None if that is still open."""
    redraw: list[int]
    """Slots to draw again. Empty exactly when every slot is settled."""


def next_step(draws: Sequence[Sequence[str | None]], rule: Rule) -> Settled:
    """Settle the slots that can be settled and find those that have to be drawn again.

    Args:
        draws: per slot the texts drawn so far, in order, at least one; None is a draw that failed or is blank.
        rule: when a draw is discarded.
    """
    kept: list[int | None] = []
    redraw: list[int] = []
    texts: list[str] = []
    for slot, drawn in enumerate(draws):
        if len(drawn) < rule.max_attempts and rule.discards(drawn[-1], texts):
            redraw.append(slot)
            kept.append(None)
        elif None in kept:
            kept.append(None)
        else:
            choice = _least_similar(drawn, texts, rule)
            kept.append(choice)
            texts += [text for text in [drawn[choice]] if text is not None]
    return Settled(kept, redraw)


def _least_similar(drawn: Sequence[str | None], others: Sequence[str], rule: Rule) -> int:
    """Index of the draw to keep. An accepted draw is the least similar one, as those before it were discarded."""
    usable = [(rule.closeness(text, others), index) for index, text in enumerate(drawn) if text is not None]
    return min(usable)[1] if usable else len(drawn) - 1


def closest(texts: Sequence[str | None], similarity: Similarity) -> list[float | None]:
    """Per text its largest similarity with another one of the list; None if it failed or has nobody beside it."""
    largest: list[float | None] = [None] * len(texts)
    usable = [(index, text) for index, text in enumerate(texts) if text is not None]
    for (first, text), (second, other) in combinations(usable, 2):
        score = similarity(text, other)
        for index in (first, second):
            largest[index] = max(score, largest[index] or 0.0)
    return largest
