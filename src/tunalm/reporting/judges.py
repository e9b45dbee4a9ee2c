"""What the report says of a judge that ranked: a small table, and the alarms that stand above all results."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from tunalm.reporting.formats import number, percent, plain

Line = tuple[str, str]
"""What was measured, and its value."""


def judge_lines(health: Any) -> list[Line]:
    """The table of a judge's health, from `details.judge` of the stage's record; empty if there is none."""
    return list(_lines(health)) if isinstance(health, Mapping) else []


def alarms(details: Any) -> list[str]:
    """What a reader must know of the judge before believing the ranks."""
    health = details.get("judge") if isinstance(details, Mapping) else None
    found = health.get("alarms") if isinstance(health, Mapping) else None
    return [str(alarm) for alarm in found] if isinstance(found, list) else []


def _lines(health: Mapping[str, Any]) -> Iterator[Line]:
    replies = _mapping(health.get("replies"))
    yield "protocol", plain(health.get("protocol"))
    yield "valid replies", f"{plain(replies.get('valid'))} of {plain(replies.get('asked'))}"
    yield "of those salvaged", plain(replies.get("salvaged"))
    yield "why others were not valid", plain(health.get("failed_replies"))
    yield "order contradicts the marks", plain(health.get("contradictions"))
    yield "lists ranked by some of the orders only", plain(health.get("partial_lists"))
    yield "agreement of the orders (Kendall's W, mean)", _decimal(health.get("mean_agreement"), 3)
    yield "pairs that change places with the order (flip rate)", _share(health.get("flip_rate"))
    yield "lists of low agreement", plain(health.get("low_agreement_lists"))
    scores = health.get("mean_score_by_position")
    shown = [_decimal(score, 2) for score in scores] if isinstance(scores, list) else []
    yield "mean score by the place in which a response was shown", ", ".join(shown) or "-"
    yield "responses not shown to the judge", plain(health.get("degenerate"))
    for kind, counts in _mapping(health.get("canaries")).items():
        count = _mapping(counts)
        yield f"canaries passed: {kind}", f"{plain(count.get('passed'))} of {plain(count.get('answered'))}"


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _decimal(value: Any, digits: int) -> str:
    return number(value, digits) if isinstance(value, int | float) else "-"


def _share(value: Any) -> str:
    return percent(value) if isinstance(value, int | float) else "-"
