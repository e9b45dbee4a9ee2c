"""Held-out ranked lists: whether a model finds the better responses likelier, which is what ranking trains.

All models score the same given responses, each by its own v of Eq. 4 (the log-probability over the length). Lists in
which no response is better than another say nothing of that and are left out.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from itertools import combinations
from pathlib import Path
from statistics import fmean

import numpy as np

from tunalm.calls.context import Calls
from tunalm.data.lists import load_lists
from tunalm.engines.base import Request
from tunalm.errors import DataError
from tunalm.evaluation.base import Curve, Measure
from tunalm.evaluation.draws import by_row, length_normalised, verdict
from tunalm.measures.ranks import kendall_tau, pair_accuracy
from tunalm.recipe import BenchmarkSettings, Lists
from tunalm.records import Instruction, Prediction, Ranking, Response, Verdict

PARTS = 4
"""Into which pairs are divided by the difference of v."""


class ListsBenchmark:
    """Pairs in the right order, lists whose likeliest response is a best one, and Kendall's tau.

    A list that a model cannot score whole has no pair in order, counts 0 as well in `top1`, and has no tau.
    """

    metric = "pairs_in_order"

    def __init__(self, settings: BenchmarkSettings) -> None:
        self._settings = settings
        self._lists: list[Ranking] | None = None
        self._left_out = 0

    @property
    def _source(self) -> Lists:
        assert self._settings.rankings is not None
        return self._settings.rankings

    @property
    def note(self) -> str:
        """How many lists, and how many were left out."""
        said = f"{len(self.rows())} lists; every pair weighs the same"
        return f"{said}; {self._left_out} lists in which no response is better are left out" if self._left_out else said

    def rows(self) -> list[Ranking]:
        """The lists in which some response is better than another."""
        if self._lists is None:
            rows = load_lists(Path(self._source.source))[self._source.select()]
            self._lists = decided(rows)
            self._left_out = len(rows) - len(self._lists)
            if not self._lists:
                found = f"{len(rows)} lists, in none of which a response ranks better than another"
                raise DataError(self._source.source, found=found, fix="Rank them first, or take other rows.")
        return self._lists

    def check(self, models: Collection[str]) -> None:
        """Read the lists, if they are there already; raises as `rows`."""
        if Path(self._source.source).is_file():
            self.rows()

    def asked(self, row: Instruction, seed: int, max_new_tokens: int) -> list[Request]:
        """How likely each ranked response of a list is."""
        assert isinstance(row, Ranking)
        return [
            Request.to_score(row.messages(), each.text, ended=each.finish_reason != "length") for each in _ranked(row)
        ]

    def measures(self, answers: Sequence[Prediction], calls: Calls) -> list[Measure]:
        """Pairs in order, the likeliest is best, and tau; the curve is calibration: pairs in order by |difference|."""
        label = self._settings.label
        ranks = {row.id: [each.rank or 0 for each in _ranked(row)] for row in self.rows()}
        sizes = {name: pair_accuracy(own, own)[1] for name, own in ranks.items()}
        found: dict[str, list[Verdict]] = {"pairs_in_order": [], "top1": [], "tau": []}
        pairs: dict[str, list[list[tuple[float, float]]]] = {}
        for own in by_row(answers):
            name, model = own[0].id, own[0].model
            values = [length_normalised(answer, self._settings.length_penalty) for answer in own]
            scored = all(np.isfinite(values))
            scores = _scores(ranks[name], values) if scored else dict.fromkeys(found)
            for metric, score in scores.items():
                each = verdict(label if metric == self.metric else f"{label}: {metric}", metric, own, score)
                found[metric].append(each)
                if not scored:
                    each.failure = each.failure or "the model gives no log-probability of a response"
            found["pairs_in_order"][-1].weight = sizes[name] / fmean(sizes.values())
            found["tau"][-1].unjudged = scores["tau"] is None
            pairs.setdefault(model, []).append(_differences(ranks[name], values) if scored else [])
        curves = {model: _calibration(own) for model, own in pairs.items()}
        return [
            Measure(each[0].benchmark, metric, answers, each, curves if metric == self.metric else {})
            for metric, each in found.items()
        ]


def decided(rows: Sequence[Ranking]) -> list[Ranking]:
    """The lists in which a response ranks better than another."""
    return [row for row in rows if len({each.rank for each in _ranked(row)}) > 1]


def _ranked(row: Ranking) -> list[Response]:
    return [each for each in row.responses if each.rank is not None]


def _scores(ranks: Sequence[int], values: Sequence[float]) -> dict[str, float | None]:
    """Three scores of a list; ties of the model are half right in pairs, and share the first place."""
    order = [-value for value in values]
    right, count = pair_accuracy(ranks, order)
    likeliest = [rank for rank, value in zip(ranks, values, strict=True) if value == max(values)]
    top1 = fmean(rank == min(ranks) for rank in likeliest)
    return {"pairs_in_order": right / count, "top1": top1, "tau": kendall_tau(ranks, order)}


def _differences(ranks: Sequence[int], values: Sequence[float]) -> list[tuple[float, float]]:
    """For every pair with a better response, |difference of v|, and whether the better one is likelier (1/2: a tie)."""
    pairs = [
        (one, other) if one[0] < other[0] else (other, one)
        for one, other in combinations(zip(ranks, values, strict=True), 2)
        if one[0] != other[0]
    ]
    return [(abs(better - worse), float(np.sign(better - worse) + 1) / 2) for (_, better), (_, worse) in pairs]


def _calibration(lists: Sequence[Sequence[tuple[float, float]]]) -> Curve:
    """Pairs in order in four parts of a model's pairs, from the smallest difference of v to the largest."""
    sizes = np.array([difference for own in lists for difference, _ in own])
    edges = np.quantile(sizes, np.arange(1, PARTS) / PARTS) if len(sizes) else np.zeros(0)
    points = {}
    for part in range(PARTS):
        own = [[right for size, right in each if np.searchsorted(edges, size, side="left") == part] for each in lists]
        points[str(part + 1)] = [(100 * sum(each), float(len(each))) for each in own]
    return Curve("pairs by difference of v, in quarters", points)
