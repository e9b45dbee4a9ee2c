"""What verdicts on known pairs say of a judge."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

from tunalm.evaluation.judge_check.pairs import Choice, KnownPair
from tunalm.measures.agreement import cohen_kappa, kappa_interval
from tunalm.measures.means import mean_interval

DIGITS = 4


@dataclass(frozen=True)
class Judged:
    """A pair and what the judge said of it."""

    pair: KnownPair
    verdicts: tuple[Choice | None, Choice | None]
    """In the order given and in the swapped one, in terms of the pair as given; None could not be read."""


def figures(judged: Sequence[Judged], samples: int, seed: int) -> dict[str, Any]:
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
    right = [[verdict == each.pair.label for verdict in each.verdicts] for each in judged]
    per_pair = [100 * fmean(both) for both in right]
    read = [each.verdicts for each in judged if None not in each.verdicts]
    known = [(verdict, each.pair.label) for each in judged for verdict in each.verdicts if verdict is not None]
    longer = [share for each in judged if (share := _longer(each.pair, each.verdicts)) is not None]
    labels = [share for each in judged if (share := _longer(each.pair, [each.pair.label])) is not None]
    return {
        "accuracy": _mean(per_pair),
        "accuracy_ci95": _interval(mean_interval(per_pair, samples, seed)),
        "accuracy_given": _percent([given for given, _ in right]),
        "accuracy_swapped": _percent([swapped for _, swapped in right]),
        "both_correct": _percent([all(both) for both in right]),
        "positional_agreement": _percent(
            [None not in each.verdicts and len(set(each.verdicts)) == 1 for each in judged]
        ),
        "kappa_orders": _rounded(cohen_kappa([one for one, _ in read], [other for _, other in read])),
        "kappa_orders_ci95": _interval(
            kappa_interval([one for one, _ in read], [other for _, other in read], samples, seed)
        ),
        "kappa_label": _kappa_label(judged),
        "prefers_longer": _mean([100 * share for share in longer]),
        "prefers_longer_ci95": _interval(mean_interval([100 * share for share in longer], samples, seed)),
        "label_longer": _mean([100 * share for share in labels]),
        "pairs": len(judged),
        "ties": sum(verdict == "tie" for verdict, _ in known),
        "unparsed": 2 * len(judged) - len(known),
    }


def _kappa_label(judged: Sequence[Judged]) -> float | None:
    kappas = []
    for order in (0, 1):
        known = [(each.verdicts[order], each.pair.label) for each in judged if each.verdicts[order] is not None]
        kappas.append(cohen_kappa([verdict for verdict, _ in known], [label for _, label in known]))
    found = [kappa for kappa in kappas if kappa is not None]
    return _rounded(fmean(found)) if found else None


def _longer(pair: KnownPair, choices: Sequence[Choice | None]) -> float | None:
    """Share of choices, ties aside, that are for the longer answer; None where there are none, or no longer one."""
    if len(pair.first) == len(pair.second):
        return None
    longer: Choice = "first" if len(pair.first) > len(pair.second) else "second"
    decided = [choice == longer for choice in choices if choice in ("first", "second")]
    return fmean(decided) if decided else None


def _percent(flags: Sequence[bool]) -> float:
    return round(100 * fmean(flags), DIGITS)


def _mean(values: Sequence[float]) -> float | None:
    return round(fmean(values), DIGITS) if values else None


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, DIGITS)


def _interval(ends: tuple[float, float] | None) -> list[float] | None:
    return None if ends is None else [round(end, DIGITS) for end in ends]
