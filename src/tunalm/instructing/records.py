"""Files of the stage beside its instructions."""

from __future__ import annotations

from tunalm.records import Record


class WrittenReply(Record):
    """A line of replies.jsonl: what a model wrote when it was asked for new instructions."""

    key: str
    """Of the request: round and place in it."""
    text: str = ""
    cut: bool = False
    """Whether the reply reached the token limit."""
    failure: str | None = None


class Rejected(Record):
    """A line of rejected.jsonl: what a model wrote and was not kept, or why nothing came."""

    text: str
    reason: str
    step: str = ""
    """What the model was asked for."""
    instruction: str | None = None
    """What it was to write an example of."""
    nearest: str | None = None
    """The instruction that it is too similar to."""
    rouge_l: float | None = None
    """ROUGE-L F1 (0-1) with that one."""
