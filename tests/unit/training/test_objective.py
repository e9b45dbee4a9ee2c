"""The whole loss of a step, put together by hand."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest
import torch

from tunalm.training.encoding import Group, Target
from tunalm.training.objective import Objective, SequenceValues, Share, StepSize, share_of_step

SUMS = torch.tensor([-2.0, -6.0, -3.0, -8.0])
LENGTHS = torch.tensor([2, 3, 1, 4])


def group(*ranks: int | None) -> Group:
    return Group("one", [1], [Target([2], 0, rank, ended=True) for rank in ranks])


LIST, REFERENCE = group(0, 1, None), group(None)


def share(groups: list[Group], objective: Objective, first: int = 0, lists: int = 2, imitating: int = 2) -> Share:
    count = sum(len(each.targets) for each in groups)
    here = slice(first, first + count)
    logprobs = SequenceValues(SUMS[here], LENGTHS[here], tokens=torch.zeros(int(LENGTHS[here].sum())))
    return share_of_step(logprobs, groups, objective, StepSize(lists, imitating, int(LENGTHS.sum())))


def test_the_paper_ranks_the_candidates_and_imitates_the_reference_alone() -> None:
    found = share([LIST, REFERENCE], Objective(margin=1.5, mle_weight=0.5))
    assert found.rank_loss == pytest.approx(-2 - -1 + 1.5)
    assert found.mle_loss == pytest.approx(3 + 2)
    assert found.loss.item() == pytest.approx((0.5 + 0.5 * 5) / 2)


def test_the_shares_of_a_split_step_add_up() -> None:
    objective = Objective(margin=1.5, mle_weight=0.5)
    parts = share([LIST], objective).loss + share([REFERENCE], objective, first=3).loss
    assert parts.item() == pytest.approx(share([LIST, REFERENCE], objective).loss.item())


def test_lmops_ranks_the_reference_too_and_imitates_everything() -> None:
    found = share([LIST], Objective(margin=1.5, mle_weight=0.5, convention="lmops"), lists=1, imitating=1)
    v_reference, v_best, v_worst = -3.0, -1.0, -2.0
    one_apart = (max(0, v_best - v_reference + 1.5) + max(0, v_worst - v_best + 1.5)) / 2
    two_apart = max(0, v_worst - v_reference + 3.0)
    token_mean = 11 / 10
    assert found.loss.item() == pytest.approx(one_apart + two_apart + 0.5 * token_mean)
    assert found.ranks.tolist() == [[0, 1, 2]]


def test_a_list_without_a_reference_has_no_mle_term() -> None:
    assert share([group(0, 1)], Objective()).mle_loss == 0
    assert share([group(0, 1)], Objective(convention="lmops")).ranks.tolist() == [[-1, 1, 2]]


def test_rank_and_imitation_have_denominators_of_their_own() -> None:
    """Eq. 6 is a mean over lists; the mean of L_MLE is over those that have what it imitates."""
    found = share([group(0, 1), group(0, None)], Objective(margin=1.5, mle_weight=0.5), imitating=1)
    assert found.loss.item() == pytest.approx((-2 - -1 + 1.5) / 2 + 0.5 * 2)


@pytest.mark.parametrize(
    ("imitate", "expected"), [("reference", 2.0), ("best", 1 + 3), ("reference_or_best", 1 + 2), (None, 0.0)]
)
def test_what_is_imitated_is_a_knob(imitate: Any, expected: float) -> None:
    """v of the four targets: -1 (best), -2 (worse); -3 (best), -2 (reference)."""
    found = share([group(0, 1), group(0, None)], Objective(imitate=imitate))
    assert found.mle_loss == pytest.approx(expected)


def test_a_margin_from_scores_grows_with_their_gap() -> None:
    graded = Group("one", [1], [Target([2], 0, 0, True, place=0.0), Target([2], 1, 1, True, place=2.5)])
    assert share([graded], Objective(margin=1.5)).rank_loss == pytest.approx(-2 - -1 + 1.5 * 2.5)


def test_an_anchored_margin_looks_at_the_change_of_v_since_the_start() -> None:
    starts = [-4.0, -3.0]  # of sums -2 and -6, lengths 2 and 3: v has changed by +1 and -1
    targets = [Target([2], n, n, True, start_logprob=start) for n, start in enumerate(starts)]
    anchored = share([Group("one", [1], targets)], Objective(margin=2.5, anchored=True))
    assert anchored.rank_loss == pytest.approx(-1 - 1 + 2.5)


def test_lists_of_unequal_length_stand_side_by_side() -> None:
    found = share([group(0), group(None, 1, 0)], Objective())
    assert found.ranks.tolist() == [[0, -1], [1, 0]]
    assert found.scores.tolist() == [[-1.0, 0.0], [-3.0, -2.0]]
    assert found.references.tolist() == [-1, 1]


def test_the_weight_of_a_list_scales_its_ranking_loss_and_not_its_reference() -> None:
    objective = Objective(margin=1.5, mle_weight=0.5)
    whole, half = share([LIST, REFERENCE], objective), share([replace(LIST, weight=0.5), REFERENCE], objective)
    assert half.rank_loss == pytest.approx(0.5 * whole.rank_loss)
    assert half.mle_loss == pytest.approx(whole.mle_loss)
    assert half.loss.item() == pytest.approx(whole.loss.item() - 0.5 * whole.rank_loss / 2)


def test_other_losses_take_the_place_of_the_hinge() -> None:
    v_best, v_worst = -1.0, -2.0
    sums_apart = -2.0 + 6.0
    expected = {
        "plackett_luce": math.log1p(math.exp(3 * (v_worst - v_best))),
        "simpo": math.log1p(math.exp(-(3 * (v_best - v_worst) - 0.5))),
        "dpo": math.log1p(math.exp(-3 * sums_apart)),
        "rrhf": max(0.0, v_worst - v_best),
        "none": 0.0,
    }
    for loss, value in expected.items():
        found = share([LIST], Objective(margin=0.5, mle_weight=0.0, loss=loss, beta=3.0), lists=1)  # type: ignore[arg-type]
        assert found.loss.item() == pytest.approx(value), loss
        assert found.scores.tolist() == [[v_best, v_worst]]


def test_dpo_is_relative_to_the_start() -> None:
    pairs = zip(LIST.targets, SUMS[:3].tolist(), strict=True)
    started = replace(LIST, targets=[replace(target, start_logprob=value) for target, value in pairs])
    found = share([started], Objective(mle_weight=0.0, loss="dpo", beta=3.0), lists=1)
    assert found.loss.item() == pytest.approx(math.log(2))


def test_rrhf_imitates_the_best_candidate_token_by_token() -> None:
    backwards = Group("one", [1], [Target([2], 0, 1, ended=True), Target([2], 1, 0, ended=True)])
    assert share([backwards], Objective(loss="rrhf", imitate="best")).mle_loss == pytest.approx(6.0)
    assert share([REFERENCE], Objective(loss="rrhf", imitate="best")).mle_loss == 0
