"""The ranking loss against slow loops written from its definition."""

from __future__ import annotations

import math
import random

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tunalm.training.losses import Convention, ranking_loss

NAN = float("nan")


def by_hand(scores: list[list[float]], ranks: list[list[int]], margin: float) -> float:
    """Eq. 4-5, term by term, averaged over the lists."""
    total = 0.0
    for v, rank in zip(scores, ranks, strict=True):
        for j in range(len(v)):
            for k in range(len(v)):
                if 0 <= rank[j] < rank[k]:
                    total += max(0.0, v[k] - v[j] + margin * (rank[k] - rank[j]))
    return total / len(scores)


def released_trainer(scores: list[list[float]], margin: float) -> float:
    """The loss of the released trainer on lists of one length, sorted best first: one mean per rank gap."""
    v = torch.tensor(scores, dtype=torch.float64)
    total = torch.zeros((), dtype=torch.float64)
    for gap in range(1, v.shape[1]):
        better, worse = v[:, :-gap].flatten(), v[:, gap:].flatten()
        total += torch.nn.functional.margin_ranking_loss(better, worse, torch.ones_like(better), margin=margin * gap)
    return float(total)


def test_the_paper_convention_is_the_equation() -> None:
    dice = random.Random(0)
    for _ in range(1000):
        lists, length, margin = dice.randint(1, 5), dice.randint(1, 7), dice.choice([0.0, 0.1, 0.5, 2.0])
        ranks = [[dice.randint(-1, 4) for _ in range(length)] for _ in range(lists)]
        scores = torch.tensor([[dice.gauss(-1, 1) for _ in range(length)] for _ in range(lists)])
        found = ranking_loss(scores, torch.tensor(ranks), margin=margin)
        assert found.item() == pytest.approx(by_hand(scores.tolist(), ranks, margin), rel=1e-6, abs=1e-6)


def test_the_lmops_convention_is_the_released_trainer() -> None:
    dice = random.Random(1)
    for _ in range(300):
        lists, length = dice.randint(1, 5), dice.randint(2, 6)
        scores = [[dice.gauss(-1, 1) for _ in range(length)] for _ in range(lists)]
        order = dice.sample(range(length), length)
        shuffled = torch.tensor([[row[place] for place in order] for row in scores])
        found = ranking_loss(shuffled, torch.tensor([order] * lists), margin=0.1, convention="lmops")
        assert found.item() == pytest.approx(released_trainer(scores, 0.1), rel=1e-5, abs=1e-6)


def test_lmops_ranks_ties_in_the_order_in_which_they_stand_and_closes_gaps() -> None:
    scores = [[-1.0, -0.5, -2.0, NAN, -0.1]]
    found = ranking_loss(torch.tensor(scores), torch.tensor([[0, 3, 3, -1, 7]]), convention="lmops")
    assert found.item() == pytest.approx(released_trainer([[-1.0, -0.5, -2.0, -0.1]], 0.1))


@pytest.mark.parametrize("convention", ["paper", "lmops"])
def test_gradients_are_those_of_the_value(convention: Convention) -> None:
    torch.manual_seed(0)
    scores = torch.randn(3, 5, dtype=torch.float64, requires_grad=True)
    ranks = torch.tensor([[0, 1, 2, 3, 4], [0, 0, 1, -1, 2], [1, -1, -1, -1, 0]])
    assert torch.autograd.gradcheck(lambda v: ranking_loss(v, ranks, margin=0.5, convention=convention), scores)


@pytest.mark.parametrize("convention", ["paper", "lmops"])
@pytest.mark.parametrize("absent", [NAN, math.inf, -math.inf])
def test_an_absent_response_reaches_neither_value_nor_gradient(absent: float, convention: Convention) -> None:
    scores = torch.tensor([[-1.0, absent, -0.5]], requires_grad=True)
    loss = ranking_loss(scores, torch.tensor([[0, -1, 1]]), convention=convention)
    loss.backward()
    without = ranking_loss(torch.tensor([[-1.0, -0.5]]), torch.tensor([[0, 1]]), convention=convention)
    assert loss.item() == pytest.approx(without.item())
    assert scores.grad is not None
    assert scores.grad.tolist() == [[-1.0, 0.0, 1.0]]


@pytest.mark.parametrize("convention", ["paper", "lmops"])
def test_a_list_without_pairs_costs_nothing_and_counts_in_the_mean(convention: Convention) -> None:
    scores, ranks = torch.tensor([[-1.0, -0.5], [-1.0, NAN]]), torch.tensor([[0, 1], [0, -1]])
    both = ranking_loss(scores, ranks, convention=convention)
    alone = ranking_loss(scores[:1], ranks[:1], convention=convention)
    assert both.item() == pytest.approx(alone.item() / 2)


def test_ties_one_response_and_no_list_at_all_cost_nothing() -> None:
    ties = torch.tensor([[-1.0, -5.0]], requires_grad=True)
    ranking_loss(ties, torch.tensor([[1, 1]])).backward()
    assert ties.grad is not None
    assert not ties.grad.any()
    assert ranking_loss(torch.tensor([[-1.0]]), torch.tensor([[0]])).item() == 0
    assert ranking_loss(torch.zeros(0, 4), torch.zeros(0, 4, dtype=torch.long)).item() == 0


@given(st.permutations(range(5)))
def test_the_order_in_which_responses_stand_does_not_matter(order: list[int]) -> None:
    scores = torch.tensor([[-1.0, -0.4, -0.9, -0.2, -0.6]], dtype=torch.float64)
    ranks = torch.tensor([[0, 1, 1, 2, 5]])
    assert ranking_loss(scores[:, order], ranks[:, order]).item() == pytest.approx(ranking_loss(scores, ranks).item())


def test_what_cannot_be_meant_is_refused() -> None:
    with pytest.raises(ValueError, match=r"\[G, N\]"):
        ranking_loss(torch.zeros(2, 3), torch.zeros(2, 1, dtype=torch.long))
    with pytest.raises(ValueError, match="'paper' or 'lmops'"):
        ranking_loss(torch.zeros(1, 2), torch.zeros(1, 2, dtype=torch.long), convention="rrhf")  # type: ignore[arg-type]
