"""Tables of those who ranked: a judge's health, how far a proxy agrees with the judge, and what people preferred."""

from __future__ import annotations

from collections.abc import Iterator

from tunalm.records import Agreement, Estimate, HeldOut, JudgeHealth, StudyScores
from tunalm.reporting.formats import interval, number, percent, plain
from tunalm.reporting.tables import Table, table

MEASURES = {
    "kendall_tau": "Kendall's tau with the judge, mean",
    "top1": "same best response",
    "pair_accuracy": "pairs in the judge's order",
}


def judge_table(stage: str, health: JudgeHealth) -> Table:
    """What was measured while the judge worked."""
    return table(f"The judge of {stage}", ["the judge"], [""], _lines(health))


def _lines(health: JudgeHealth) -> Iterator[tuple[str, str]]:
    yield "protocol", plain(health.protocol)
    yield "valid replies", f"{health.replies.valid} of {health.replies.asked}"
    yield "of those salvaged", plain(health.replies.salvaged)
    yield "why others were not valid", plain(health.failed_replies)
    yield "order contradicts the marks", plain(health.contradictions)
    yield "lists ranked by some of the orders only", plain(health.partial_lists)
    yield "agreement of the orders (Kendall's W, mean)", number(health.mean_agreement, 3)
    yield "pairs that change places with the order (flip rate)", percent(health.flip_rate)
    yield "lists of low agreement", plain(health.low_agreement_lists)
    scores = ", ".join(number(score, 2) for score in health.mean_score_by_position)
    yield "mean score by the place in which a response was shown", scores or "-"
    yield "responses not shown to the judge", plain(health.degenerate)
    for kind, counts in health.canaries.items():
        yield f"canaries passed: {kind}", f"{counts.passed} of {counts.answered}"


def held_out_table(stage: str, held_out: HeldOut) -> Table:
    """A row per measure, for the proxy and its baselines."""
    rows = []
    for name, words in MEASURES.items():
        found: Agreement | None = getattr(held_out, name)
        if held_out.lists and found is not None:
            figures = (found.proxy, found.length, found.chance, found.gain)
            rows.append([words, *map(_estimate, figures)])
    names = ["proxy", "by length", "by chance", "proxy less length"]
    return table(f"How {stage} agrees with the judge", ["on held-out lists"], names, rows)


def study_table(scores: StudyScores) -> Table:
    """A row per system of a human study, best first: points, and how often it beats each other one, a tie as a half."""
    systems = sorted(scores.systems, key=lambda each: -each.points)
    rates: dict[tuple[str, str], float] = {}
    for each in scores.wins:
        rate = (each.wins + each.ties / 2) / (each.wins + each.ties + each.losses)
        rates |= {(each.system, each.against): rate, (each.against, each.system): 1 - rate}
    rows = [[each.name, number(each.points, 2), interval(each.interval, 2)] for each in systems]
    columns = ["points", "95 %"]
    if scores.judged:
        columns.append("by the judge")
        rows = [[*row, number(each.judge_points, 2)] for row, each in zip(rows, systems, strict=True)]
    if rates:
        columns += [f"beats {other.name}" for other in systems]
        rows = [
            [*row, *(percent(rates.get((each.name, other.name))) for other in systems)]
            for row, each in zip(rows, systems, strict=True)
        ]
    return table("Human study", ["system"], columns, rows)


def _estimate(found: Estimate) -> str:
    ends = f" ({interval(found.ci95, 3)})" if found.ci95 else ""
    return number(found.value, 3) + ends
