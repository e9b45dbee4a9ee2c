"""Numbers, metrics and foreign text as people read them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

LONGEST_TEXT = 600
"""Characters of a text of somebody else's that are shown."""
SIGNIFICANT = 0.05
"""Level of the p-values, after Holm's correction, below which a difference is called one."""
MOST_TOLD = 5
"""Models that are all spoken of in words; of more, the first, the best and the last are, and tables have the rest."""

MINUS = "\N{MINUS SIGN}"
_DIRECTION = [*range(0x202A, 0x202F), *range(0x2066, 0x206A)]
"""Characters that turn the direction of what follows them, numbers of ours included."""
_CONTROLS = (
    {code: 0x2400 + code for code in range(32) if chr(code) not in "\n\t"}
    | {0x7F: 0x2421}
    | dict.fromkeys(range(0x80, 0xA0), 0xFFFD)
    | dict.fromkeys(_DIRECTION, 0xFFFD)
)
"""Control characters, those of eight bits included, and the pictures that stand for them."""


def number(value: float | None, digits: int = 1) -> str:
    """A number with so many digits after the point."""
    return "-" if value is None or not math.isfinite(value) else f"{value:.{digits}f}".replace("-", MINUS)


def signed(value: float | None, digits: int = 1) -> str:
    """A difference, with its sign."""
    text = number(value, digits)
    return f"+{text}" if value is not None and value > 0 else text


def interval(ends: Sequence[float] | None, digits: int = 1) -> str:
    """Both ends of an interval."""
    return "-" if ends is None else f"{number(ends[0], digits)} to {number(ends[1], digits)}"


def p_value(value: float | None) -> str:
    """A p-value; the smallest that a test with some thousand permutations tells is about 0.0002."""
    return "-" if value is None else "< 0.001" if value < 0.001 else f"{value:.3f}"


def percent(share: float | None) -> str:
    """A share (0-1)."""
    return "-" if share is None else f"{number(100 * share)} %"


def duration(seconds: float | None) -> str:
    """Seconds, minutes or hours."""
    if seconds is None:
        return "-"
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"


def plain(value: object) -> str:
    """A value of any kind in one line."""
    if isinstance(value, bool) or value is None:
        return {True: "yes", False: "no", None: "-"}[value]
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, int):
        return f"{value:,}" if abs(value) >= 10_000 else str(value)
    if isinstance(value, Mapping):
        return ", ".join(f"{key}: {plain(item)}" for key, item in value.items()) or "-"
    if isinstance(value, list | tuple):
        return ", ".join(map(plain, value)) or "-"
    return shown(str(value))


def shown(text: str) -> str:
    """A text of somebody else's, not too long."""
    cut = len(text) - LONGEST_TEXT
    return text[:LONGEST_TEXT] + (f" ... ({cut:,} more characters)" if cut > 0 else "")


def visible(value: Any) -> Any:
    """A text with pictures in the place of its control characters; anything else as it is."""
    return value.translate(_CONTROLS) if type(value) is str else value


@dataclass(frozen=True)
class Metric:
    """How to speak of a metric; values are 0-100 unless it says otherwise."""

    label: str
    phrase: str
    """`{}` is the value."""
    unit: str = "points"
    """Of differences."""
    digits: int = 1


METRICS = {
    "success": Metric("answers that are right, %", "answers {} % right"),
    "adjusted_win_rate": Metric("questions won, a tie as half, %", "wins {} % of the questions (a tie is half a win)"),
    "accuracy": Metric("accuracy, 0-100", "has an accuracy of {}"),
    "rougeL": Metric("ROUGE-L with the references, 0-100", "reaches a ROUGE-L of {} with the references"),
    "pass@1": Metric("sampled answers that are right, %", "is right in {} % of its samples"),
    "pass@": Metric("a right answer among @ samples, %", "has a right answer among @ samples {} % of the time"),
    "likeliest@": Metric(
        "the likeliest of @ samples is right, %", "is right in {} % with the likeliest of @ of its samples"
    ),
    "pairs_in_order": Metric("pairs of responses in the right order, %", "puts {} % of the pairs in the right order"),
    "top1": Metric(
        "lists whose likeliest response is a best one, %", "finds a best response likeliest in {} % of lists"
    ),
    "tau": Metric("Kendall's tau with the ranks", "has a Kendall's tau of {} with the ranks", "", 2),
    "nats_per_token": Metric("nats per token, less is likelier", "needs {} nats per token", "nats", 3),
    "kl_per_token": Metric("KL to the start, nats per token", "is {} nats per token from the start", "nats", 3),
    "kl_per_response": Metric("KL to the start, nats per response", "is {} nats per response from it", "nats", 2),
}
"""By name; `@` is for every number behind it."""


def metric(name: str) -> Metric:
    """How to speak of a metric, known or not."""
    kind, at, size = name.partition("@")
    known = METRICS.get(name) or METRICS.get(kind + at)
    if known is None:
        return Metric(f"{name}, 0-100", f"has a {name} of {{}}")
    return replace(known, label=known.label.replace("@", size), phrase=known.phrase.replace("@", size))
