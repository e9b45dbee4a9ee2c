"""Draws beyond the first, which the diversity rule of contextual ranking wants (section 2.3 of the paper)."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from tunalm.measures.rouge import rouge_l
from tunalm.pipeline.estimate.figures import Amount
from tunalm.recipe import Sample
from tunalm.sampling.diverse import Rule, next_step

DISCARDED = 0.05
"""Share of the draws that the rule is taken to discard as long as nothing is known."""
DISCARDED_AGAIN = 0.5
"""Share of the draws made in their place that it is taken to discard, too."""
LISTS_COMPARED = 200
"""Lists from which the first share is found out."""


def discarded_share(drawn: Sequence[Sequence[str | None]], settings: Sample) -> float | None:
    """Share of the draws that the rule discards, of all that it compares; None if no list is whole.

    Args:
        drawn: per list the first draw of every slot; None is not drawn yet.
        settings: of the stage.
    """
    rule = Rule(settings.max_rouge_l, settings.max_attempts, partial(rouge_l, tokenizer=settings.rouge_tokenizer))
    whole = [[[text] for text in own] for own in drawn if None not in own][:LISTS_COMPARED]
    compared = len(whole) * (settings.num_responses - 1)
    return sum(len(next_step(own, rule).redraw) for own in whole) / compared if compared else None


def redraws(lists: int, settings: Sample, share: float) -> Amount:
    """Draws beyond the first. The first slot of a list is compared with nothing, so it is never drawn again."""
    slots, again = lists * (settings.num_responses - 1), settings.max_attempts - 1
    return Amount(slots * share * sum(DISCARDED_AGAIN**attempt for attempt in range(again)), slots * again)
