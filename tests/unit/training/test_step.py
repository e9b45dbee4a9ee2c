"""One pass or two, whole or in parts: the same loss and the same gradients, which are those of the equation."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import pytest
import torch

from tunalm.training.encoding import Group, Target
from tunalm.training.logprobs import Route, reading, sequence_logprobs
from tunalm.training.losses import Convention
from tunalm.training.objective import Objective, share_of_step
from tunalm.training.step import Outcome, RankingStep, two_phases_pay

ROUTE = Route("two_call", "two_call")


def target(length: int, first: int, rank: int | None) -> Target:
    return Target([first, *range(60, 59 + length)], None if rank is None else 0, rank, ended=True)


GROUPS = [
    Group("list", [5, 6, 7], [target(4, 8, 0), target(2, 9, 1), target(7, 10, 2), target(3, 11, None)]),
    Group("ties", [20, 21], [target(2, 30, 0), target(5, 31, 0), target(3, 32, None)]),
    Group("pair", [22, 23, 24], [target(3, 33, 0), target(3, 34, 1)]),
]
TOKENS = float(sum(len(each.tokens) for group in GROUPS for each in group.targets))


def run(model: Any, objective: Objective, groups: list[Group] = GROUPS, **options: Any) -> tuple[Outcome, torch.Tensor]:
    """What became of the groups, and all gradients in a row."""
    model.zero_grad()
    budget = options.pop("token_budget", 2048)
    step = RankingStep(
        model, objective, ROUTE, 0, budget, **{k: options.pop(k) for k in ("synchronised", "largest") if k in options}
    )
    outcome = step(groups, lists=3, tokens=TOKENS, backward=lambda loss: loss.backward(), **options)
    return outcome, torch.cat([parameter.grad.flatten() for parameter in model.parameters()])


@pytest.mark.parametrize("convention", ["paper", "lmops"])
@pytest.mark.parametrize("margin", [0.0, 0.5, 10.0])
def test_the_gradient_is_that_of_the_loss(
    make_model: Callable[..., Any], convention: Convention, margin: float
) -> None:
    model, objective = make_model(), Objective(margin, 0.3, convention)
    with reading(model, ROUTE):
        whole = share_of_step(sequence_logprobs(model, GROUPS, ROUTE, 0), GROUPS, objective, lists=3, tokens=TOKENS)
        expected = torch.cat([part.flatten() for part in torch.autograd.grad(whole.loss, list(model.parameters()))])
    for options in ({}, {"two_phases": True}, {"two_phases": True, "token_budget": 8}):
        outcome, found = run(model, objective, **options)
        assert outcome.loss.item() == pytest.approx(whole.loss.item(), rel=1e-6)
        assert (found - expected).norm() <= 1e-5 * expected.norm()


def test_a_response_in_the_middle_of_an_unlearned_list_cancels_out(make_model: Callable[..., Any]) -> None:
    outcome, _ = run(make_model(), Objective(margin=100.0), GROUPS[:1])
    assert outcome.live.tolist() == [True, False, True, True]
    assert outcome.tokens == 3 + 3 + 1 + 6 + 2
    assert outcome.live_tokens == 3 + 3 + 6 + 2


def test_responses_that_have_learned_their_margins_are_not_read_again(make_model: Callable[..., Any]) -> None:
    read: list[int] = []
    model = make_model()
    model.register_forward_pre_hook(lambda _, __, inputs: read.append(inputs["input_ids"].numel()), with_kwargs=True)
    outcome, _ = run(model, Objective(margin=-100.0), two_phases=True)
    assert outcome.live.tolist() == [False] * 3 + [True] + [False] * 2 + [True] + [False] * 2
    assert read == [outcome.tokens, outcome.live_tokens]
    assert outcome.live_tokens == 3 + 2 + 2 + 2


def test_a_list_over_the_budget_is_read_in_parts(make_model: Callable[..., Any]) -> None:
    model = make_model()
    long = Group("long", [5, 6, 7], [target(6, 10 + n, n) for n in range(9)])
    read: list[int] = []
    model.register_forward_pre_hook(lambda _, __, inputs: read.append(inputs["input_ids"].numel()), with_kwargs=True)
    _, whole = run(model, Objective(margin=1.0), [long])
    read.clear()
    _, parts = run(model, Objective(margin=1.0), [long], two_phases=True, token_budget=20)
    assert len(read) > 3
    assert max(read[1:]) <= 20
    assert (whole - parts).norm() <= 1e-5 * whole.norm()


def test_processes_make_as_many_passes_as_the_busiest_and_exchange_gradients_in_the_last(
    make_model: Callable[..., Any],
) -> None:
    passes: list[bool] = []

    def synchronised(last: bool) -> AbstractContextManager[None]:
        passes.append(last)
        return nullcontext()

    _, alone = run(make_model(), Objective())
    _, padded = run(
        make_model(),
        Objective(),
        two_phases=True,
        token_budget=40,
        synchronised=synchronised,
        largest=lambda own: own + 2,
    )
    assert passes == [False] * (len(passes) - 1) + [True]
    assert len(passes) >= 3
    assert (alone - padded).norm() <= 1e-5 * alone.norm()


def test_a_loss_that_is_not_finite_leaves_no_gradient(make_model: Callable[..., Any]) -> None:
    model = make_model()
    with pytest.raises(FloatingPointError, match="a loss of"):
        run(model, Objective(mle_weight=float("inf")))
    assert all(parameter.grad is None for parameter in model.parameters())


def test_two_passes_pay_when_few_tokens_are_live() -> None:
    assert two_phases_pay(0.5)
    assert not two_phases_pay(0.7)
