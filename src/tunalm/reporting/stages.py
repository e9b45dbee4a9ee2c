"""What the report shows of every stage: its counts, and figures from the rows and metrics that it wrote."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from pathlib import Path
from statistics import fmean

from matplotlib.figure import Figure

from tunalm.measures.means import known_mean
from tunalm.measures.ranks import length_bias, length_tau
from tunalm.recipe import AnyStage, FromLists, Proxy, Rank, Reinforce, Sample, Sft
from tunalm.records import CallAccount, HeldOut, JudgeHealth, Ranking, Response, StageState, TrainingStep
from tunalm.reporting.files import as_record, read_records
from tunalm.reporting.formats import number, percent
from tunalm.reporting.judges import held_out_table, judge_table
from tunalm.reporting.plots import Points, curves, histogram
from tunalm.reporting.svg import Drawing, to_svg
from tunalm.reporting.tables import Table, table

REASONS_SHOWN = 10
NUM_LISTS = 3
"""Ranked lists that are shown."""


@dataclass
class StageView:
    """What the report shows of one stage."""

    name: str
    kind: str
    state: StageState
    facts: dict[str, object] = field(default_factory=dict)
    """What else it counted, by name."""
    calls: dict[str, CallAccount] = field(default_factory=dict)
    """By engine."""
    failures: dict[str, int] = field(default_factory=dict)
    """How many rows failed, by reason."""
    warnings: list[str] = field(default_factory=list)
    """What a reader must know before believing the numbers."""
    tables: list[Table] = field(default_factory=list)
    figures: list[Drawing] = field(default_factory=list)
    lists: list[Ranking] = field(default_factory=list)

    def draw(self, figure: Figure, caption: str) -> None:
        """Add a figure."""
        self.figures.append(Drawing(caption, to_svg(figure, f"{self.name}: {caption}")))


PANELS = (
    ("Loss and its parts", "loss", r"(loss.*)"),
    (
        "Pairs in which the better response scores higher; pairs whose margin is met",
        "share",
        r"(pair_accuracy|margins_met)",
    ),
    ("The same by the distance between the ranks", "share", r"pair_accuracy_(gap_\d+)"),
    ("Mean score by rank, and of the reference", "score", r"v_(.+)"),
    ("Log-probability of the end token", "log p", r"(eos_logprob)"),
    ("Length of the responses", "tokens", r"(?:completions/)?(response_tokens|mean_length)"),
    ("Reward of the responses", "reward", r"(reward)"),
    ("Divergence from the start, over the response", "nats", r"(kl)"),
    ("Entropy of the policy", "nats per token", r"(entropy)"),
    ("Loss of the policy and of the value model", "loss", r"(policy|value)_loss"),
    ("Tokens whose ratio is clipped; responses without an end", "share", r"(clip_fraction|without_end)"),
    ("Gradient norm before clipping", "norm", r"(grad_norm)"),
    ("Learning rate", "learning rate", r"(learning_rate)"),
)
"""Figures of training: caption, axis, and the metrics in it, whose whole names match; the group is the label.

Each kind of training logs some of them. The score v of a response is that of Eq. 4, or a proxy's own.
"""


def stage_view(folder: Path, name: str, settings: AnyStage, state: StageState) -> StageView:
    """Gather what is known of a stage from its folder; anything may be missing."""
    view = StageView(name, settings.kind, state, dict(state.details))
    calls, failures = (view.facts.pop(name, None) for name in ("calls", "failures"))
    for engine, account in calls.items() if isinstance(calls, dict) else ():
        if (known := as_record(account, CallAccount)) is not None:
            view.calls[engine] = known
    view.failures = dict(failures) if isinstance(failures, dict) else {}
    if isinstance(settings, Sample):
        _add_samples(view, folder, settings.max_rouge_l)
    elif isinstance(settings, Rank):
        _add_ranks(view, folder)
    elif isinstance(settings, Proxy):
        _add_agreement(view)
    if isinstance(settings, Sft | FromLists | Proxy | Reinforce):
        _add_curves(view, folder)
    return view


def _add_agreement(view: StageView) -> None:
    held_out = as_record(view.facts.pop("held_out", None), HeldOut)
    if held_out is not None:
        view.facts |= {
            "held-out lists": held_out.lists,
            "held-out lists left out": held_out.left_out,
            "length baseline": held_out.length_prefers,
        }
        view.tables.append(held_out_table(view.name, held_out))


def _add_curves(view: StageView, folder: Path) -> None:
    metrics: defaultdict[str, list[tuple[float, float]]] = defaultdict(list)
    for line in read_records(folder / "metrics.jsonl", TrainingStep):
        for key, value in line.metrics.items():
            metrics[key].append((line.step, value))
    for caption, axis, pattern in PANELS:
        series: dict[str, Points] = {
            found[1].replace("_", " "): points
            for key, points in sorted(metrics.items())
            if (found := re.fullmatch(pattern, key)) and any(value != 0 for _, value in points)
        }
        if series:
            view.draw(curves(series, axis), caption)


def _add_samples(view: StageView, folder: Path, limit: float | None) -> None:
    tokens: list[float] = []
    similarity: list[float] = []
    redrawn = total = 0
    failures: Counter[str] = Counter()
    for row in read_records(folder / "responses.jsonl", Ranking):
        for response in row.responses:
            total += 1
            redrawn += (response.attempts or 1) > 1
            if response.failure is not None:
                failures[response.failure] += 1
                continue
            if response.num_tokens is not None:
                tokens.append(response.num_tokens)
            if response.max_rouge_l is not None:
                similarity.append(response.max_rouge_l)
    if total and limit is not None:
        view.facts["responses drawn again"] = f"{redrawn} of {total} ({percent(redrawn / total)})"
    if failures:
        view.failures = dict(failures.most_common(REASONS_SHOWN))
    if tokens:
        view.draw(histogram(tokens, "tokens"), "Length of the responses")
    if similarity:
        caption = "Largest ROUGE-L with another response of the list"
        if limit is not None:
            caption += f"; the limit is {limit:g}"
        view.draw(histogram(similarity, "ROUGE-L F1", mark=limit), caption)


def _add_ranks(view: StageView, folder: Path) -> None:
    at_rank: defaultdict[int, list[tuple[int, int | None, float | None]]] = defaultdict(list)
    lengths: list[tuple[list[int | None], list[int]]] = []
    for row in read_records(folder / "rankings.jsonl", Ranking):
        ranked = ranked_responses(row)
        for response in ranked:
            at_rank[response.rank or 0].append((len(response.text), response.num_tokens, response.score))
        if len({response.rank for response in ranked}) > 1:
            lengths.append(([each.rank for each in ranked], [len(each.text) for each in ranked]))
            if len(view.lists) < NUM_LISTS:
                view.lists.append(row)
    view.facts.pop("mean_characters_by_rank", None)
    rows = []
    for rank, responses in sorted(at_rank.items()):
        characters, tokens, scores = zip(*responses, strict=True)
        means = (number(fmean(characters)), number(known_mean(tokens)), number(known_mean(scores), 3))
        rows.append([str(rank), str(len(responses)), *means])
    if rows:
        names = ["rank", "responses", "mean characters", "mean tokens", "mean score"]
        view.tables.append(table(f"Responses of {view.name} by rank", [], names, rows))
    if (warning := length_bias(length_tau(lengths))) is not None:
        view.warnings.append(warning)
    if (health := as_record(view.facts.pop("judge", None), JudgeHealth)) is not None:
        view.tables.append(judge_table(view.name, health))
        view.warnings += health.alarms


def ranked_responses(row: Ranking) -> list[Response]:
    """Responses that have a rank, best first."""
    ranked = [response for response in row.responses if response.rank is not None]
    return sorted(ranked, key=lambda response: response.rank or 0)
