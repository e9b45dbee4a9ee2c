"""An audit in the words and the order in which people read it, for the terminal, the page and the figures."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from tunalm.auditing.agreement import RATERS, TOGETHER
from tunalm.auditing.audit import Audit
from tunalm.auditing.estimates import Estimate
from tunalm.reporting.formats import interval, number, percent, plain
from tunalm.reporting.plots import Rows


class FigureLine(NamedTuple):
    """One figure."""

    label: str
    value: str
    interval: str = ""
    of: str = ""
    """How many lists it is of."""


@dataclass(frozen=True)
class Section:
    """Figures that belong together."""

    name: str
    """Also that of its PNG."""
    title: str
    note: str
    lines: list[FigureLine]
    plot: Rows = field(default_factory=list)
    """What `interval_plot` draws; nothing to draw if empty."""
    axis: str = ""


def sections(audit: Audit) -> Iterator[Section]:
    """The parts of an audit that have something to say."""
    yield _lists(audit["lists"])
    yield _ties(audit["ties"])
    for unit, found in audit["lengths"].items():
        yield _lengths(unit, found)
    if audit["positions"]:
        yield _positions(audit["positions"])
    if audit["models"]:
        yield _models(audit["models"])
    if audit["self_preference"]:
        yield _self_preference(audit["self_preference"])
    if audit["agreement"]:
        yield from _agreement(audit["agreement"])


def _lists(found: Mapping[str, Any]) -> Section:
    lines = [FigureLine(name, plain(found[name])) for name in ("lists", "ranked", "failed", "responses")]
    lines += [FigureLine(f"ranked by {name}", plain(count)) for name, count in found["ranked_by"].items()]
    return Section("lists", "Lists", "Responses are those with a rank.", lines)


def _ties(found: Mapping[str, Estimate]) -> Section:
    lines = [
        _share("pairs with equal ranks", found["tied_pairs"]),
        _share("lists whose first rank is shared", found["tied_best"]),
        _share("lists in which all are equal", found["all_tied"]),
    ]
    return Section("ties", "Ties", "Pairs with equal ranks teach nothing.", lines)


def _lengths(unit: str, found: Mapping[str, Any]) -> Section:
    by_rank = [(f"rank {each['rank']}", each) for each in found["by_rank"]]
    lines = [_figure(label, each, 1) for label, each in by_rank]
    lines += [
        _figure("Kendall's tau of rank and length", found["tau"]),
        _share(f"best is the longest (by chance {percent(found['by_chance'])})", found["best_is_longest"]),
    ]
    note = "Mean length at each rank, 0 the best. A tau of 1: the longer one is always the better one; of 0: no bias."
    return Section(f"length_{unit}", f"Length in {unit}", note, lines, _plot(by_rank), f"mean {unit}")


def _positions(found: Mapping[str, Any]) -> Section:
    by_place = [(f"shown as number {each['place']}", each) for each in found["score_by_place"]]
    lines = [
        FigureLine("judgements", plain(found["orders"]), of=plain(found["lists"])),
        _share("pairs that the earlier one wins", found["earlier_wins"]),
        *(_figure(f"mean score {label}", each) for label, each in by_place),
    ]
    if found["lists_in_several_orders"]:
        lines += [
            _share("lists with the same order every time", found["survival"]),
            _share("pairs with the same verdict every time", found["same_verdicts"]),
            _share("pairs turned round", found["flipped"]),
            _figure("Kendall's W of the judgements", found["concordance"]),
        ]
    note = "What the place in the prompt does. Without an effect the earlier one wins 50 %."
    return Section("position", "Place in the prompt", note, lines, _plot(by_place), "mean score")


def _models(found: list[dict[str, Any]]) -> Section:
    by_model = [(each["model"] or "not said", each["wins"]) for each in found]
    note = "Share of pairs with a response of another model that a model's responses win, a tie as a half."
    lines = [_share(label, each) for label, each in by_model]
    return Section("models", "Models", note, lines, _plot(by_model, 100), "pairs won, %")


def _self_preference(found: Mapping[str, Any]) -> Section:
    lines = [_share("pairs that the judge's own win", found["wins"])]
    if found["wins_elsewhere"]:
        lines += [
            _share("the same by the others", found["wins_elsewhere"]),
            _share("difference", found["difference"]),
        ]
    note = (
        f"Own: {', '.join(found['own'])}. Its own may simply be better: only a difference to the order of somebody "
        "else is a preference for itself."
    )
    return Section("self_preference", "The judge's own", note, lines)


def _agreement(found: Mapping[str, Any]) -> Iterator[Section]:
    lines = [
        FigureLine("lists that others rank too", plain(found["lists"])),
        FigureLine("ranked lists in the first file alone", plain(found["lists_alone"])),
        FigureLine("responses in the first file alone", plain(found["responses_alone"])),
        *(FigureLine(f"lists ranked by {name}", plain(count)) for name, count in found["raters"].items()),
    ]
    note = "How far raters agree with each other is the most that can be asked of a judge."
    plotted = [(name, figures["kendall_tau"]) for name, figures in found["comparisons"].items()]
    yield Section("agreement", "Other raters", note, lines, _plot(plotted), "Kendall's tau-b")
    for place, (name, figures) in enumerate(found["comparisons"].items()):
        yield _compared(f"agreement_{place}", f"Agreement: {name}", figures)
    if found["categories"]:
        whole = [name for name in found["comparisons"] if name in (RATERS, TOGETHER)] or list(found["comparisons"])
        lines = [
            _figure(f"{task}: {name}", compared[name]["kendall_tau"])
            for task, compared in found["categories"].items()
            for name in whole
        ]
        note = "Kendall's tau-b; audit.json has the other figures."
        yield Section("categories", "Agreement by category", note, lines)


def _compared(name: str, title: str, found: Mapping[str, Any]) -> Section:
    lines = [
        _figure("Kendall's tau-b", found["kendall_tau"]),
        _figure("weighted tau", found["weighted_tau"]),
        _figure("Spearman's rho", found["spearman_rho"]),
        _share("same best response", found["top1"]),
        _share("decided pairs alike", found["pair_accuracy"]),
        _share("same verdict on a pair", found["same_verdict"]),
        _figure("Cohen's kappa of the verdicts", found["kappa"]),
        _figure("tau-b of all pairs together", found["pooled_tau"]),
        _figure("the same without the influence of length", found["tau_without_length"]),
    ]
    note = (
        f"Of {plain(found['pairs'])} pairs the other rater decides {plain(found['decided_pairs'])}. The verdicts on "
        "a pair are three: the one, the other, or a tie."
    )
    return Section(name, title, note, lines)


def _share(label: str, found: Estimate) -> FigureLine:
    ends = found["ci95"] and [100 * end for end in found["ci95"]]
    return FigureLine(label, percent(found["value"]), interval(ends), plain(found["lists"]))


def _figure(label: str, found: Estimate, digits: int = 2) -> FigureLine:
    return FigureLine(label, number(found["value"], digits), interval(found["ci95"], digits), plain(found["lists"]))


def _plot(estimates: list[tuple[str, Estimate]], factor: float = 1) -> Rows:
    known = [(label, each["value"], each["ci95"]) for label, each in estimates if each["value"] is not None]
    return [(label, factor * value, ends and [factor * end for end in ends]) for label, value, ends in known]
