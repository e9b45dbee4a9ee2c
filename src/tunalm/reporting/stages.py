"""What the report shows of every stage: its counts, and figures from the rows and metrics that it wrote."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from statistics import fmean
from typing import Any

from tunalm.records import Ranking, Response
from tunalm.reporting.files import read_objects, read_records
from tunalm.reporting.formats import percent
from tunalm.reporting.judges import Line, judge_lines
from tunalm.reporting.plots import Points, columns, curves, histogram
from tunalm.reporting.proxies import Comparison, comparisons
from tunalm.reporting.svg import Drawing

REASONS_SHOWN = 10
NUM_LISTS = 3
"""Ranked lists that are shown."""


@dataclass(frozen=True)
class RankLength:
    """One line of a table like Table 4 of the paper: the responses at one rank."""

    rank: int
    count: int
    characters: float
    tokens: float | None
    score: float | None


@dataclass(frozen=True)
class Calls:
    """What a stage has asked of one engine."""

    engine: str
    answered: int
    """Requests, answered anew."""
    from_ledger: int
    """Requests that had been answered before the stage began."""
    unknown: int
    """Requests of which nobody knows whether they were answered, and paid for."""
    calls: int
    prompt_tokens: int
    completion_tokens: int
    cost: float | None
    """Dollars; None if the price is not known."""


@dataclass
class StageView:
    """What the report shows of one stage."""

    name: str
    kind: str
    state: dict[str, Any]
    facts: dict[str, Any]
    calls: list[Calls] = field(default_factory=list)
    failures: dict[str, Any] = field(default_factory=dict)
    """How many rows failed, by reason."""
    figures: list[Drawing] = field(default_factory=list)
    ranks: list[RankLength] = field(default_factory=list)
    judge: list[Line] = field(default_factory=list)
    proxy: list[Comparison] = field(default_factory=list)
    lists: list[Ranking] = field(default_factory=list)


@dataclass(frozen=True)
class Panel:
    """One figure of training and the metrics in it: `pattern` matches their whole names, its group is the label."""

    caption: str
    label: str
    pattern: str


PANELS = (
    Panel("Loss and its parts (Eq. 4-6)", "loss", r"(loss.*)"),
    Panel(
        "Pairs in which the better response scores higher; pairs whose margin is met",
        "share",
        r"(pair_accuracy|margins_met)",
    ),
    Panel("The same by the distance between the ranks", "share", r"pair_accuracy_(gap_\d+)"),
    Panel("Mean score v by rank, and of the reference (Eq. 4)", "log p per token", r"v_(.+)"),
    Panel("Log-probability of the end token", "log p", r"(eos_logprob)"),
    Panel("Length of the responses", "tokens", r"(response_tokens)"),
    Panel("Gradient norm before clipping", "norm", r"(grad_norm)"),
    Panel("Learning rate", "learning rate", r"(learning_rate)"),
)

PROXY_PANELS = (
    Panel("Loss: minus the log-likelihood of the judge's order", "loss", r"(loss)"),
    Panel("Pairs in which the better response scores higher", "share", r"(pair_accuracy)"),
    Panel("The same by the distance between the ranks", "share", r"pair_accuracy_(gap_\d+)"),
    Panel("Mean score by rank", "score", r"v_(.+)"),
    *PANELS[-2:],
)


def stage_view(folder: Path, name: str, settings: Mapping[str, Any], state: Mapping[str, Any]) -> StageView:
    """Gather what is known of a stage from its folder; `settings` and `state` may lack anything."""
    kind = str(settings.get("kind", state.get("kind", "")))
    details = state.get("details")
    view = StageView(name, kind, dict(state), dict(details) if isinstance(details, dict) else {})
    view.calls = _calls(view.facts.pop("calls", {}))
    failures = view.facts.pop("failures", {})
    view.failures = failures if isinstance(failures, dict) else {}
    if kind in _FILL:
        _FILL[kind](view, folder, settings)
    return view


def _calls(accounts: Any) -> list[Calls]:
    """The accounts that a stage has put down, by engine; those of an older or damaged run are left out."""
    names = {each.name for each in fields(Calls)} - {"engine"}
    known = accounts.items() if isinstance(accounts, Mapping) else ()
    return [
        Calls(str(engine), **{name: account[name] for name in names})
        for engine, account in known
        if isinstance(account, Mapping) and names <= account.keys()
    ]


def _fill_proxy(view: StageView, folder: Path, settings: Mapping[str, Any]) -> None:
    held_out = view.facts.pop("held_out", None)
    view.proxy = comparisons(held_out)
    if isinstance(held_out, Mapping):
        names = {"lists": "held-out lists", "left_out": "held-out lists left out", "length_prefers": "length baseline"}
        view.facts |= {label: held_out[name] for name, label in names.items() if name in held_out}
    _fill_training(view, folder, settings, PROXY_PANELS)


def _fill_training(
    view: StageView, folder: Path, settings: Mapping[str, Any], panels: Sequence[Panel] = PANELS
) -> None:
    metrics: defaultdict[str, list[tuple[float, float]]] = defaultdict(list)
    for line in read_objects(folder / "metrics.jsonl"):
        numbers = {key: float(value) for key, value in line.items() if isinstance(value, int | float)}
        if (step := numbers.pop("step", None)) is not None:
            for key, value in numbers.items():
                metrics[key].append((step, value))
    for panel in panels:
        series: dict[str, Points] = {
            found[1].replace("_", " "): points
            for key, points in sorted(metrics.items())
            if (found := re.fullmatch(panel.pattern, key)) and any(value != 0 for _, value in points)
        }
        if series:
            svg = curves(series, panel.label, f"{view.name}: {panel.caption}")
            view.figures.append(Drawing(panel.caption, svg))


def _fill_sampling(view: StageView, folder: Path, settings: Mapping[str, Any]) -> None:
    tokens: list[float] = []
    similarity: list[float] = []
    redrawn = total = 0
    failures: Counter[str] = Counter()
    for row in read_records(folder / "responses.jsonl", Ranking):
        for response in row.responses:
            total += 1
            if response.failure is not None:
                failures[response.failure] += 1
            redrawn += (response.attempts or 1) > 1
            if response.failure is None and response.num_tokens is not None:
                tokens.append(response.num_tokens)
            if response.failure is None and response.max_rouge_l is not None:
                similarity.append(response.max_rouge_l)
    limit = settings.get("max_rouge_l")
    if total and limit is not None:
        view.facts["responses drawn again"] = f"{redrawn} of {total} ({percent(redrawn / total)})"
    if failures:
        view.failures = dict(failures.most_common(REASONS_SHOWN))
    if tokens:
        view.figures.append(Drawing("Length of the responses", histogram(tokens, "tokens", f"{view.name}: lengths")))
    if similarity:
        caption = "Largest ROUGE-L with another response of the list"
        if limit is not None:
            caption += f"; the limit is {limit:g}"
        svg = histogram(similarity, "ROUGE-L F1", f"{view.name}: {caption}", mark=limit)
        view.figures.append(Drawing(caption, svg))


def _fill_ranking(view: StageView, folder: Path, settings: Mapping[str, Any]) -> None:
    at_rank: defaultdict[int, list[tuple[int, int | None, float | None]]] = defaultdict(list)
    for row in read_records(folder / "rankings.jsonl", Ranking):
        ranked = ranked_responses(row)
        for response in ranked:
            at_rank[response.rank or 0].append((len(response.text), response.num_tokens, response.score))
        if len({response.rank for response in ranked}) > 1 and len(view.lists) < NUM_LISTS:
            view.lists.append(row)
    for rank, responses in sorted(at_rank.items()):
        characters, tokens, scores = zip(*responses, strict=True)
        view.ranks.append(RankLength(rank, len(responses), fmean(characters), _mean(tokens), _mean(scores)))
    if view.ranks:
        view.facts.pop("mean_characters_by_rank", None)
        lengths = {str(line.rank): line.characters for line in view.ranks}
        svg = columns(lengths, ("rank", "mean characters"), f"{view.name}: length by rank")
        view.figures.append(Drawing("Length by rank (0 is best): a steady change is a sign of length bias", svg))
    view.judge = judge_lines(view.facts.pop("judge", None))


def ranked_responses(row: Ranking) -> list[Response]:
    """Responses that have a rank, best first."""
    ranked = [response for response in row.responses if response.rank is not None]
    return sorted(ranked, key=lambda response: response.rank or 0)


_FILL: dict[str, Callable[[StageView, Path, Mapping[str, Any]], None]] = {
    "sft": _fill_training,
    "train": _fill_training,
    "proxy": _fill_proxy,
    "rl": _fill_training,
    "sample": _fill_sampling,
    "rank": _fill_ranking,
}


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return fmean(known) if known else None
