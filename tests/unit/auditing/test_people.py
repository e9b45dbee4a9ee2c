"""Several raters beside a ranking, with figures that are computed a second time in other ways."""

from __future__ import annotations

import random
from collections.abc import Sequence
from itertools import combinations, permutations
from statistics import fmean

import numpy as np
import pytest
from scipy import stats

from tunalm.auditing import audit
from tunalm.auditing.matching import Matching, Orders, match
from tunalm.auditing.people import EVERYBODY, PEOPLE, people
from tunalm.records import Ranking, Response

RATERS = ("ann", "bob", "cem")


def study(lists: int, taste: float, seed: int = 0) -> tuple[list[Ranking], Matching]:
    """Lists of four that a judge ranks by length, and people by length with this weight, and by chance."""
    dice = random.Random(seed)
    rows: list[Ranking] = []
    raters: dict[str, Orders] = {name: {} for name in RATERS}
    for number in range(lists):
        sizes = [dice.randint(1, 60) for _ in range(4)]
        judged = ranks([-size for size in sizes])
        responses = [Response(text="x" * size, rank=rank) for size, rank in zip(sizes, judged, strict=True)]
        row = Ranking(id=str(number), instruction="?", task="odd" if number % 2 else "even", responses=responses)
        rows.append(row)
        for name in RATERS:
            scores = [-taste * size / 60 - (1 - taste) * dice.random() for size in sizes]
            raters[name][row.id] = dict(enumerate(map(float, ranks(scores))))
    return rows, match(rows, raters, "here")


def ranks(scores: Sequence[float]) -> list[int]:
    return [sum(other < score for other in scores) for score in scores]


def test_agreement_is_what_scipy_and_plain_counting_say() -> None:
    _, matching = study(60, 0.5)
    found = people(matching.lists)
    assert found is not None
    tau = [
        fmean(stats.kendalltau(a, b).statistic for a, b in combinations(each.raters.values(), 2))
        for each in matching.lists
    ]
    rho = [stats.spearmanr(each.others, each.ranks).statistic for each in matching.lists]
    right = total = 0.0
    for each in matching.lists:
        for one, other in permutations(range(4), 2):
            if each.raters["ann"][one] < each.raters["ann"][other]:
                total += 1
                right += each.ranks[one] < each.ranks[other] or (each.ranks[one] == each.ranks[other]) / 2
    comparisons = found["comparisons"]
    assert comparisons[PEOPLE]["kendall_tau"]["value"] == pytest.approx(fmean(tau), abs=1e-4)
    assert comparisons[EVERYBODY]["spearman_rho"]["value"] == pytest.approx(np.nanmean(rho), abs=1e-4)
    assert comparisons["ranking with ann"]["pair_accuracy"]["value"] == pytest.approx(right / total, abs=1e-4)
    low, high = comparisons[EVERYBODY]["kendall_tau"]["ci95"]
    assert low < comparisons[EVERYBODY]["kendall_tau"]["value"] < high
    assert found["raters"] == dict.fromkeys(RATERS, 60)


def test_the_influence_of_length_is_that_of_a_regression_on_the_signs_of_pairs() -> None:
    _, matching = study(40, 0.7, seed=3)
    for each in matching.lists[::3]:
        each.ranks[:2] = each.ranks[1::-1]
    found = people(matching.lists)
    assert found is not None
    signs = []
    for each in matching.lists:
        lengths = [len(response.text) for response in each.row.responses]
        for a, b in combinations(range(4), 2):
            differences = (each.others[a] - each.others[b], each.ranks[a] - each.ranks[b], lengths[b] - lengths[a])
            signs.append(np.sign(differences))
    truth, judged, shorter = np.array([*signs, *(-sign for sign in signs)]).T
    rest = [values - shorter * (values @ shorter) / (shorter @ shorter) for values in (truth, judged)]
    partial = found["comparisons"][EVERYBODY]["tau_without_length"]["value"]
    assert partial == pytest.approx(np.corrcoef(*rest)[0, 1], abs=1e-4)


def test_a_judge_of_length_alone_agrees_with_people_only_through_length() -> None:
    _, matching = study(200, 0.6)
    for each in matching.lists[::9]:
        each.ranks[0], each.ranks[3] = each.ranks[3], each.ranks[0]  # else nothing is left to correlate
    found = people(matching.lists)
    assert found is not None
    together = found["comparisons"][EVERYBODY]
    assert together["pooled_tau"]["value"] > 0.4
    assert abs(together["tau_without_length"]["value"]) < 0.1


def test_categories_have_figures_of_their_own_and_one_rater_has_none() -> None:
    rows, matching = study(12, 0.5)
    found = audit(rows, matching)
    assert found["people"]["categories"]["odd"][EVERYBODY]["kendall_tau"]["lists"] == 6
    alone = match(rows, {"ann": {row.id: {0: 1.0, 1: 2.0} for row in rows}}, "")
    assert people(alone.lists) is None
    assert audit(rows, alone)["agreement"]["lists"] == 12


def test_raters_of_different_lists_are_each_compared_with_the_ranking() -> None:
    rows, _ = study(4, 0.5)
    order = {0: 0.0, 1: 1.0, 2: 2.0, 3: 3.0}
    raters = {"ann": {row.id: order for row in rows[:2]}, "bob": {row.id: order for row in rows[2:]}}
    found = people(match(rows, raters, "").lists)
    assert found is not None
    assert found["comparisons"][PEOPLE]["kendall_tau"] == {"value": None, "ci95": None, "lists": 0}
    assert found["comparisons"]["ranking with bob"]["kendall_tau"]["lists"] == 2
