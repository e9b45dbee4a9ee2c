"""The whole loss of a step, put together by hand."""

from __future__ import annotations

import pytest
import torch

from tunalm.training.logprobs import Logprobs
from tunalm.training.objective import Objective, Share, share_of_step

SUMS = torch.tensor([-2.0, -6.0, -3.0, -8.0])
LENGTHS = torch.tensor([2, 3, 1, 4])
FIRST = {"slots": torch.tensor([[0, 1]]), "ranks": torch.tensor([[0, 1]]), "references": torch.tensor([2])}
SECOND = {"slots": torch.tensor([[-1, -1]]), "ranks": torch.tensor([[-1, -1]]), "references": torch.tensor([3])}
BOTH = {name: torch.cat([FIRST[name], SECOND[name]]) for name in FIRST}


def share(batch: dict[str, torch.Tensor], objective: Objective, lists: float = 2) -> Share:
    logprobs = Logprobs(SUMS, LENGTHS, last=torch.zeros(4))
    return share_of_step(logprobs, batch, objective, lists=lists, tokens=float(LENGTHS.sum()))


def test_the_paper_ranks_the_candidates_and_imitates_the_reference_alone() -> None:
    found = share(BOTH, Objective(margin=1.5, mle_weight=0.5))
    assert found.rank_loss == pytest.approx(-2 - -1 + 1.5)
    assert found.mle_loss == pytest.approx(3 + 2)
    assert found.loss.item() == pytest.approx((0.5 + 0.5 * 5) / 2)


def test_the_shares_of_a_split_step_add_up() -> None:
    objective = Objective(margin=1.5, mle_weight=0.5)
    parts = share(FIRST, objective).loss + share(SECOND, objective).loss
    assert parts.item() == pytest.approx(share(BOTH, objective).loss.item())


def test_lmops_ranks_the_reference_too_and_imitates_everything() -> None:
    found = share(FIRST, Objective(margin=1.5, mle_weight=0.5, convention="lmops"), lists=1)
    v_reference, v_best, v_worst = -3.0, -1.0, -2.0
    one_apart = (max(0, v_best - v_reference + 1.5) + max(0, v_worst - v_best + 1.5)) / 2
    two_apart = max(0, v_worst - v_reference + 3.0)
    token_mean = 19 / 10
    assert found.loss.item() == pytest.approx(one_apart + two_apart + 0.5 * token_mean)
    assert found.ranks.tolist() == [[0, 1, 2]]


def test_a_list_without_a_reference_has_no_mle_term() -> None:
    batch = {**FIRST, "references": torch.tensor([-1])}
    assert share(batch, Objective()).mle_loss == 0
    assert share(batch, Objective(convention="lmops")).ranks.tolist() == [[-1, 1, 2]]
