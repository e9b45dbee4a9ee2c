"""How a judge does its work: what the record of the stage and the report say of it."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from statistics import fmean
from typing import Any

from tunalm.ranking.judge.outcomes import Outcome

LOWEST_PASS_RATE = 0.9
"""Canaries of a kind that a judge must put where they belong; below that its ranks are not to be trusted."""


def health(outcomes: Sequence[Outcome]) -> dict[str, Any]:
    """Figures of a judge's work on some lists.

    Returns:
        replies: asked, valid and salvaged ones, those to canaries left out.
        failed_replies: the commonest reasons why a reply is not valid -> how often.
        mean_agreement, flip_rate: Kendall's W and share of flipped pairs, means over the lists that have them.
        mean_score_by_position: of the responses shown first, second ...; the orders are balanced, so a slope is the
            judge's.
        contradictions: valid replies whose stated order is not that of their marks.
        partial_lists: ranked by some of the orders only.
        low_agreement_lists: whose orders agree less than `min_agreement`.
        degenerate: responses that were not shown, by reason.
        canaries: by kind, how many were shown, how many replies were valid, and in how many of those the canary came
            where it belongs.
        alarms: what a reader must know before believing the ranks.
    """
    readings = [pair for outcome in outcomes for pair in outcome.readings]
    replies = [reply for outcome in outcomes for reply in outcome.replies]
    agreed = [outcome.consensus for outcome in outcomes if outcome.consensus is not None]
    by_position: defaultdict[int, list[int]] = defaultdict(list)
    for question, reading in readings:
        for position, label in enumerate(question.labels):
            if label in reading.marks:
                by_position[position].append(reading.totals[label])
    canaries = _canaries(outcomes)
    return {
        "replies": {
            "asked": len(replies),
            "valid": len(readings),
            "salvaged": sum(reading.salvaged for _, reading in readings),
        },
        "failed_replies": dict(Counter(reply for reply in replies if isinstance(reply, str)).most_common(5)),
        "mean_agreement": _mean([each.agreement for each in agreed]),
        "flip_rate": _mean([each.flip_rate for each in agreed]),
        "mean_score_by_position": [round(fmean(by_position[position]), 3) for position in sorted(by_position)],
        "contradictions": sum(not reading.agrees for _, reading in readings),
        "partial_lists": sum(outcome.partial for outcome in outcomes),
        "low_agreement_lists": sum(outcome.low_agreement for outcome in outcomes),
        "degenerate": dict(Counter(why for each in outcomes for why in each.inquiry.degenerate.values())),
        "canaries": canaries,
        "alarms": _alarms(canaries),
    }


def _canaries(outcomes: Sequence[Outcome]) -> dict[str, dict[str, int]]:
    canaries: dict[str, dict[str, int]] = {}
    for outcome in outcomes:
        if outcome.inquiry.canary is not None:
            counts = canaries.setdefault(outcome.inquiry.canary.kind, {"shown": 0, "answered": 0, "passed": 0})
            counts["shown"] += 1
            counts["answered"] += outcome.canary_passed is not None
            counts["passed"] += outcome.canary_passed is True
    return canaries


def _alarms(canaries: dict[str, dict[str, int]]) -> list[str]:
    return [
        f"the judge put {counts['passed']} of {counts['answered']} canaries ({kind}) where they belong; "
        f"below {LOWEST_PASS_RATE:.0%} its ranks are not to be trusted"
        for kind, counts in canaries.items()
        if counts["passed"] < LOWEST_PASS_RATE * counts["answered"]
    ]


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return round(fmean(known), 4) if known else None
