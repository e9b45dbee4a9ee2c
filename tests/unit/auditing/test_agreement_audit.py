"""Raters beside a ranking, with figures that are computed a second time in other ways."""

from __future__ import annotations

import random
from collections.abc import Sequence
from itertools import combinations, permutations
from statistics import fmean
from typing import Any

import numpy as np
import pytest
from scipy import stats

from tunalm.auditing.agreement import RATERS, TOGETHER, agreement
from tunalm.auditing.matching import Matching, Orders, match
from tunalm.measures.agreement import cohen_kappa
from tunalm.records import Ranking, Response

NAMES = ("ann", "bob", "cem")


def study(lists: int, taste: float, seed: int = 0) -> tuple[list[Ranking], Matching]:
    """Lists of four that a judge ranks by length, and people by length with this weight, and by chance."""
    dice = random.Random(seed)
    rows: list[Ranking] = []
    raters: dict[str, Orders] = {name: {} for name in NAMES}
    for number in range(lists):
        sizes = [dice.randint(1, 60) for _ in range(4)]
        judged = ranks([-size for size in sizes])
        responses = [Response(text="x" * size, rank=rank) for size, rank in zip(sizes, judged, strict=True)]
        row = Ranking(id=str(number), instruction="?", task="odd" if number % 2 else "even", responses=responses)
        rows.append(row)
        for name in NAMES:
            scores = [-taste * size / 60 - (1 - taste) * dice.random() for size in sizes]
            raters[name][row.id] = dict(enumerate(map(float, ranks(scores))))
    return rows, match(rows, raters, "here")


def ranks(scores: Sequence[float]) -> list[int]:
    return [sum(other < score for other in scores) for score in scores]


def compared(rows: Sequence[Ranking], *orders: Sequence[float]) -> dict[str, Any]:
    """Figures of the first comparison with raters who give the same order to every list."""
    raters = {f"r{number}": {row.id: dict(enumerate(order)) for row in rows} for number, order in enumerate(orders)}
    return next(iter(agreement(match(rows, raters, ""))["comparisons"].values()))


def same_lists(*given: int) -> list[Ranking]:
    responses = [Response(text="x" * place, rank=rank) for place, rank in enumerate(given)]
    return [Ranking(id=str(number), instruction="?", responses=responses) for number in range(5)]


def test_agreement_is_what_scipy_and_plain_counting_say() -> None:
    _, matching = study(60, 0.5)
    found = agreement(matching)
    tau = [
        fmean(stats.kendalltau(a, b).statistic for a, b in combinations(each.raters.values(), 2))
        for each in matching.lists
    ]
    rho = [stats.spearmanr(each.others, each.ranks).statistic for each in matching.lists]
    right = total = 0.0
    verdicts = []
    for each in matching.lists:
        ann = each.raters["ann"]
        for one, other in permutations(range(4), 2):
            if ann[one] < ann[other]:
                total += 1
                right += each.ranks[one] < each.ranks[other] or (each.ranks[one] == each.ranks[other]) / 2
        for one, other in combinations(range(4), 2):
            verdicts.append([np.sign(order[one] - order[other]) for order in (ann, each.ranks)])
    comparisons = found["comparisons"]
    with_ann = comparisons["ranking with ann"]
    assert comparisons[RATERS]["kendall_tau"]["value"] == pytest.approx(fmean(tau), abs=1e-4)
    assert comparisons[TOGETHER]["spearman_rho"]["value"] == pytest.approx(np.nanmean(rho), abs=1e-4)
    assert with_ann["pair_accuracy"]["value"] == pytest.approx(right / total, abs=1e-4)
    assert with_ann["same_verdict"]["value"] == pytest.approx(np.mean([a == b for a, b in verdicts]), abs=1e-4)
    assert with_ann["kappa"]["value"] == pytest.approx(cohen_kappa(*zip(*verdicts, strict=True)), abs=1e-4)
    assert (with_ann["pairs"], with_ann["decided_pairs"]) == (len(verdicts), total)
    low, high = comparisons[TOGETHER]["kendall_tau"]["ci95"]
    assert low < comparisons[TOGETHER]["kendall_tau"]["value"] < high
    assert found["raters"] == dict.fromkeys(NAMES, 60)


def test_the_influence_of_length_is_that_of_a_regression_on_the_signs_of_pairs() -> None:
    _, matching = study(40, 0.7, seed=3)
    for each in matching.lists[::3]:
        each.ranks[:2] = each.ranks[1::-1]
    signs = []
    for each in matching.lists:
        lengths = [len(response.text) for response in each.row.responses]
        for a, b in combinations(range(4), 2):
            differences = (each.others[a] - each.others[b], each.ranks[a] - each.ranks[b], lengths[b] - lengths[a])
            signs.append(np.sign(differences))
    truth, judged, shorter = np.array([*signs, *(-sign for sign in signs)]).T
    rest = [values - shorter * (values @ shorter) / (shorter @ shorter) for values in (truth, judged)]
    together = agreement(matching)["comparisons"][TOGETHER]
    assert together["tau_without_length"]["value"] == pytest.approx(np.corrcoef(*rest)[0, 1], abs=1e-4)
    assert together["pooled_tau"]["value"] == pytest.approx(np.corrcoef(truth, judged)[0, 1], abs=1e-4)


def test_a_judge_of_length_alone_agrees_with_people_only_through_length() -> None:
    _, matching = study(200, 0.6)
    assert agreement(matching)["comparisons"][TOGETHER]["tau_without_length"]["value"] is None  # nothing is left
    for each in matching.lists[::9]:
        each.ranks[0], each.ranks[3] = each.ranks[3], each.ranks[0]
    together = agreement(matching)["comparisons"][TOGETHER]
    assert together["pooled_tau"]["value"] > 0.4
    assert abs(together["tau_without_length"]["value"]) < 0.1


def test_agreement_with_itself_is_full_and_with_its_reverse_none() -> None:
    rows = same_lists(0, 1, 2)
    names = ("kendall_tau", "weighted_tau", "spearman_rho", "pooled_tau", "top1", "pair_accuracy", "same_verdict")
    same, reverse = compared(rows, (0, 1, 2)), compared(rows, (2, 1, 0))
    assert [same[name]["value"] for name in names] == pytest.approx([1] * 7)
    assert [reverse[name]["value"] for name in names] == pytest.approx([-1, -1, -1, -1, 0, 0, 0])


def test_a_tie_is_a_verdict_of_its_own_and_half_right_where_the_other_decides() -> None:
    found = compared(same_lists(0, 0), (0, 1))
    assert found["pair_accuracy"]["value"] == 0.5
    assert found["same_verdict"]["value"] == 0
    assert found["kendall_tau"]["value"] is None


def test_categories_have_figures_of_their_own_also_with_one_rater() -> None:
    rows, matching = study(12, 0.5)
    assert agreement(matching)["categories"]["odd"][TOGETHER]["kendall_tau"]["lists"] == 6
    alone = agreement(match(rows, {"ann": {row.id: {0: 1.0, 1: 2.0} for row in rows}}, ""))
    assert list(alone["comparisons"]) == ["ranking with ann"]
    assert alone["categories"]["even"]["ranking with ann"]["pairs"] == 6


def test_raters_of_different_lists_are_each_compared_with_the_ranking() -> None:
    rows, _ = study(4, 0.5)
    order = {0: 0.0, 1: 1.0, 2: 2.0, 3: 3.0}
    raters = {"ann": {row.id: order for row in rows[:2]}, "bob": {row.id: order for row in rows[2:]}}
    comparisons = agreement(match(rows, raters, ""))["comparisons"]
    assert comparisons[RATERS]["kendall_tau"] == {"value": None, "ci95": None, "lists": 0}
    assert comparisons["ranking with bob"]["kendall_tau"]["lists"] == 2
