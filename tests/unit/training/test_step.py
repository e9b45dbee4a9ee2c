"""A micro-batch: which responses move the weights, and what becomes of a loss that is not finite."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from tunalm.training import step
from tunalm.training.encoding import Group, Target
from tunalm.training.losses import Convention
from tunalm.training.objective import Objective, StepSize, share_of_step
from tunalm.training.routes import Route
from tunalm.training.step import MicroBatch, ranking_step, reading, sequence_logprobs

ROUTE = Route("two_call", "two_call")


def target(length: int, first: int, rank: int | None) -> Target:
    return Target([first, *range(60, 59 + length)], None if rank is None else 0, rank, ended=True)


GROUPS = [
    Group("list", [5, 6, 7], [target(4, 8, 0), target(2, 9, 1), target(7, 10, 2), target(3, 11, None)]),
    Group("ties", [20, 21], [target(2, 30, 0), target(5, 31, 0), target(3, 32, None)]),
    Group("pair", [22, 23, 24], [target(3, 33, 0), target(3, 34, 1)]),
]


def run(model: Any, objective: Objective, groups: list[Group] = GROUPS) -> tuple[MicroBatch, torch.Tensor]:
    """What became of the groups, and all gradients in a row."""
    model.zero_grad()
    found = ranking_step(model, groups, objective, StepSize.of(GROUPS), route=ROUTE, pad_id=0)
    return found, torch.cat([parameter.grad.flatten() for parameter in model.parameters()])


@pytest.mark.parametrize("convention", ["paper", "lmops"])
@pytest.mark.parametrize("margin", [0.0, 0.5, 10.0])
def test_the_gradients_of_the_parts_add_up_to_that_of_the_loss(
    make_model: Callable[..., Any], convention: Convention, margin: float
) -> None:
    model, objective = make_model(), Objective(margin, 0.3, convention)
    with reading(model, ROUTE):
        whole = share_of_step(sequence_logprobs(model, GROUPS, ROUTE, 0), GROUPS, objective, StepSize.of(GROUPS))
        expected = torch.cat([part.flatten() for part in torch.autograd.grad(whole.loss, list(model.parameters()))])
    parts = [run(model, objective, [group]) for group in GROUPS]
    assert sum(found.share.loss.item() for found, _ in parts) == pytest.approx(whole.loss.item(), rel=1e-5)
    assert (sum(gradient for _, gradient in parts) - expected).norm() <= 1e-5 * expected.norm()


def test_the_step_can_be_read_in_one_sitting() -> None:
    def lines(*modules: str) -> int:
        return sum(len((Path(step.__file__).parent / module).read_text().splitlines()) for module in modules)

    assert lines("packing.py", "attention.py", "step.py") <= 400
    assert lines("plain_step.py") <= 60


def test_responses_whose_margins_are_met_or_whose_hinges_cancel_move_nothing(make_model: Callable[..., Any]) -> None:
    found, _ = run(make_model(), Objective(margin=100.0), GROUPS[:1])
    assert found.live.tolist() == [True, False, True, True]  # that in the middle is pushed up and down
    assert found.tokens == 3 + 3 + 1 + 6 + 2
    found, _ = run(make_model(), Objective(margin=-100.0))
    assert found.live.tolist() == [False] * 3 + [True] + [False] * 2 + [True] + [False] * 2


def test_a_loss_that_is_not_finite_leaves_no_gradient(make_model: Callable[..., Any]) -> None:
    model = make_model()
    with pytest.raises(FloatingPointError, match="a loss of"):
        run(model, Objective(mle_weight=float("inf")))
    assert all(parameter.grad is None for parameter in model.parameters())
