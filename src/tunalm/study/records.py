"""The rows of a study's files: the key and ratings."""

from __future__ import annotations

from tunalm.records import Record


class StudyItem(Record):
    """One page of a human study in the key: who wrote the answers that a rater sees under each letter."""

    question: str
    category: str | None = None
    letters: dict[str, list[str]]
    """Systems by letter; several where they gave the same answer."""
    check: dict[str, int] | None = None
    """The right places by letter, for an attention check."""


class StudyKey(Record):
    """The key of a human study. The server of the study never reads it."""

    systems: list[str]
    seed: int
    items: dict[str, StudyItem]
    """By `rater/number` of the page."""


class StudyRating(Record):
    """The place that a rater gave to one system's answer."""

    question: str
    category: str | None = None
    position: str
    """The letter under which the answer was shown."""
    system: str
    place: float
    """1 is best; systems that share places have their mean."""
    rater: str
    seconds: float
    comment: str = ""
