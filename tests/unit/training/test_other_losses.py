"""The losses of other papers beside plain loops, and beside what is known of them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import permutations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tunalm.training.other_losses import logistic_losses, plackett_luce_losses

LISTS = st.lists(st.tuples(st.floats(-5, 5), st.integers(-1, 3)), min_size=1, max_size=6)


def tensors(pairs: Sequence[tuple[float, int]]) -> tuple[torch.Tensor, torch.Tensor]:
    values, ranks = zip(*pairs, strict=True)
    return torch.tensor([values], dtype=torch.float64), torch.tensor([ranks])


@given(LISTS)
def test_plackett_luce_is_the_sum_over_choices(pairs: list[tuple[float, int]]) -> None:
    present = [(value, rank) for value, rank in pairs if rank >= 0]
    expected = 0.0
    for value, rank in present:
        if rest := [other for other, below in present if below > rank]:
            expected += math.log(math.exp(value) + sum(map(math.exp, rest))) - value
    assert plackett_luce_losses(*tensors(pairs)).item() == pytest.approx(expected)


def test_plackett_luce_probabilities_of_all_orders_add_up_to_one() -> None:
    values = torch.tensor([[0.3, -1.0, 2.0, 0.0]], dtype=torch.float64)
    total = sum(
        math.exp(-plackett_luce_losses(values, torch.tensor([order])).item()) for order in permutations(range(4))
    )
    assert total == pytest.approx(1)


@given(LISTS, st.floats(0, 2), st.sampled_from(["all", "best_worst"]))
def test_logistic_losses_are_means_over_pairs(pairs: list[tuple[float, int]], margin: float, which: str) -> None:
    present = [(value, rank) for value, rank in pairs if rank >= 0]
    ends = {min(rank for _, rank in present), max(rank for _, rank in present)} if present else set()
    losses = [
        math.log1p(math.exp(-(high - low - margin)))
        for high, better in present
        for low, worse in present
        if better < worse and (which == "all" or {better, worse} == ends)
    ]
    expected = sum(losses) / len(losses) if losses else 0.0
    assert logistic_losses(*tensors(pairs), margin=margin, pairs=which).item() == pytest.approx(expected)  # type: ignore[arg-type]


@given(LISTS)
def test_an_absent_response_reaches_neither_value_nor_gradient(pairs: list[tuple[float, int]]) -> None:
    values, ranks = tensors(pairs)
    spoiled = torch.where(ranks < 0, torch.nan, values).requires_grad_()
    for losses in (plackett_luce_losses, logistic_losses):
        assert losses(spoiled, ranks).item() == pytest.approx(losses(values, ranks).item())
        (gradient,) = torch.autograd.grad(losses(spoiled, ranks).sum(), spoiled, materialize_grads=True)
        assert torch.isfinite(gradient).all()
        assert (gradient[ranks < 0] == 0).all()
