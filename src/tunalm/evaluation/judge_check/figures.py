"""What verdicts on known pairs say of a judge."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from tunalm.evaluation.judge_check.pairs import Choice, KnownPair
from tunalm.measures.agreement import cohen_kappa, kappa_interval
from tunalm.measures.means import known_mean, mean_interval, rounded

DIGITS = 4


@dataclass(frozen=True)
class JudgedPair:
    """A pair and what the judge said of it."""

    pair: KnownPair
    verdicts: tuple[Choice | None, Choice | None]
    """In the order given and in the swapped one, in terms of the pair as given; None could not be read."""

    @property
    def right(self) -> tuple[bool, bool]:
        """Whether each verdict is the label."""
        given, swapped = self.verdicts
        return given == self.pair.label, swapped == self.pair.label


def figures(judged: Sequence[JudgedPair], samples: int, seed: int) -> dict[str, Any]:
    """Figures of a judge on some pairs; rates in 0-100.

    `accuracy` is the mean over both orders, `accuracy_given` and `accuracy_swapped` are those of each, `both_correct`
    the share of pairs that are right twice; a verdict that could not be read is not right. `positional_agreement` is
    the share of pairs with the same verdict in both orders, `kappa_orders` their Cohen's kappa, `kappa_label` that of
    verdicts and labels (the mean of both orders), both where verdicts could be read. `prefers_longer` is the share of
    verdicts, ties aside, for the longer answer (in characters); `label_longer` that of the labels.

    Args:
        judged: at least one.
        samples: bootstrap resamples behind intervals.
        seed: of the resampling.
    """
    per_pair = [50.0 * sum(each.right) for each in judged]
    read = [each.verdicts for each in judged if None not in each.verdicts]
    orders = [one for one, _ in read], [other for _, other in read]
    verdicts = [verdict for each in judged for verdict in each.verdicts if verdict is not None]
    longer = [_longer(each.pair, each.verdicts) for each in judged]
    return {
        "accuracy": known_mean(per_pair, DIGITS),
        "accuracy_ci95": _interval(mean_interval(per_pair, samples, seed)),
        "accuracy_given": _percent([each.right[0] for each in judged]),
        "accuracy_swapped": _percent([each.right[1] for each in judged]),
        "both_correct": _percent([all(each.right) for each in judged]),
        "positional_agreement": _percent([each.verdicts in read and len({*each.verdicts}) == 1 for each in judged]),
        "kappa_orders": rounded(cohen_kappa(*orders), DIGITS),
        "kappa_orders_ci95": _interval(kappa_interval(*orders, samples, seed)),
        "kappa_label": known_mean([_kappa_label(judged, order) for order in (0, 1)], DIGITS),
        "prefers_longer": known_mean(longer, DIGITS),
        "prefers_longer_ci95": _interval(mean_interval([each for each in longer if each is not None], samples, seed)),
        "label_longer": known_mean([_longer(each.pair, [each.pair.label]) for each in judged], DIGITS),
        "pairs": len(judged),
        "ties": verdicts.count("tie"),
        "unparsed": 2 * len(judged) - len(verdicts),
    }


def _kappa_label(judged: Sequence[JudgedPair], order: int) -> float | None:
    known = [(each.verdicts[order], each.pair.label) for each in judged if each.verdicts[order] is not None]
    return cohen_kappa([verdict for verdict, _ in known], [label for _, label in known])


def _longer(pair: KnownPair, choices: Sequence[Choice | None]) -> float | None:
    """Percent of choices, ties aside, that are for the longer answer; None where there are none, or no longer one."""
    if len(pair.first) == len(pair.second):
        return None
    longer = "first" if len(pair.first) > len(pair.second) else "second"
    decided = [choice == longer for choice in choices if choice in ("first", "second")]
    return 100 * sum(decided) / len(decided) if decided else None


def _percent(flags: Sequence[bool]) -> float:
    return round(100 * sum(flags) / len(flags), DIGITS)


def _interval(ends: tuple[float, float] | None) -> list[float] | None:
    return None if ends is None else [round(end, DIGITS) for end in ends]
