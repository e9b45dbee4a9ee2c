"""Scores are those of transformers' own head, however sequences are read, and train as the loss's equation says."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from transformers import AutoModelForSequenceClassification

from tunalm.data.prompts import PromptEncoder
from tunalm.records import Ranking
from tunalm.training.encoding import Group, encode_rows
from tunalm.training.objective import Objective, StepSize
from tunalm.training.proxy.scores import sequence_scores
from tunalm.training.routes import Route, choose_route
from tunalm.training.step import ranking_step, reading

ROUTES = [Route("two_call", "two_call"), Route("none", "two_call")]
PADDED = Route("padded", None)
PAD = 3
OBJECTIVE = Objective(margin=0.0, mle_weight=0.0, loss="plackett_luce", imitate=None)


@pytest.fixture
def scorer(make_model: Callable[..., Any]) -> Any:
    config = make_model().config
    config.num_labels, config.pad_token_id = 1, PAD
    torch.manual_seed(0)
    return AutoModelForSequenceClassification.from_config(config)


@pytest.fixture
def groups(rows: list[Ranking], encoder: PromptEncoder) -> list[Group]:
    return encode_rows(rows, encoder, max_length=200, imitate=None).groups


def scores(model: Any, groups: list[Group], route: Route) -> torch.Tensor:
    with reading(model, route):
        return sequence_scores(model, groups, route, PAD).means


def own_scores(model: Any, groups: list[Group]) -> torch.Tensor:
    """One sequence at a time by transformers alone, up to and without the end token."""
    sequences = [group.prompt + target.tokens[:-1] for group in groups for target in group.targets]
    return torch.cat([model(torch.tensor([tokens])).logits[0] for tokens in sequences])


@pytest.mark.parametrize("route", [*ROUTES, PADDED], ids=lambda route: route.name)
def test_every_route_gives_what_transformers_itself_gives(scorer: Any, groups: list[Group], route: Route) -> None:
    with torch.no_grad():
        assert torch.allclose(scores(scorer, groups, route), own_scores(scorer, groups), atol=1e-5)
    assert own_scores(scorer, groups).std() > 0.1
    assert scores(scorer, [], route).shape == (0,)


def test_transformers_finds_the_same_place_in_a_padded_batch(scorer: Any, groups: list[Group]) -> None:
    sequences = [group.prompt + target.tokens[:-1] for group in groups for target in group.targets]
    width = max(map(len, sequences))
    ids = torch.tensor([[*tokens, *[PAD] * (width - len(tokens))] for tokens in sequences])
    with torch.no_grad():
        found = scorer(ids, attention_mask=(ids != PAD).long()).logits[:, 0]
        assert torch.allclose(found, scores(scorer, groups, ROUTES[0]), atol=1e-5)


def test_the_fastest_route_is_taken_for_scores_too(scorer: Any, groups: list[Group]) -> None:
    choice = choose_route(scorer, groups, read=sequence_scores, pad_id=PAD)
    assert choice.route.name == "two_call"
    assert choice.refused == []


def test_a_route_that_scores_otherwise_is_refused(scorer: Any, groups: list[Group]) -> None:
    forward = scorer.model.forward
    scorer.model.forward = lambda *args, **inputs: forward(*args, **{**inputs, "position_ids": None})
    choice = choose_route(scorer, groups, read=sequence_scores, pad_id=PAD)
    assert not choice.route.shares  # branches need positions that go on from their trunk
    assert choice.refused[0].startswith("two_call: differs")


def plackett_luce(scores: list[Any], ranks: list[int]) -> Any:
    """The loss of one list as the equation has it, response by response."""
    total = torch.zeros(())
    for score, rank in zip(scores, ranks, strict=True):
        worse = [other for other, place in zip(scores, ranks, strict=True) if place > rank]
        if worse:
            total = total - (score - torch.stack([score, *worse]).exp().sum().log())
    return total


def test_a_step_has_the_loss_and_the_gradient_of_the_equation(scorer: Any, groups: list[Group]) -> None:
    assert any(len({target.rank for target in group.targets}) < len(group.targets) for group in groups)  # ties
    groups[0] = replace(groups[0], weight=0.5)
    outcome = ranking_step(
        scorer, groups, OBJECTIVE, StepSize.of(groups), route=ROUTES[0], pad_id=PAD, read=sequence_scores
    )
    found = {name: value.grad.clone() for name, value in scorer.named_parameters()}
    scorer.zero_grad()
    values = iter(own_scores(scorer, groups))
    expected = torch.stack(
        [
            group.weight * plackett_luce([next(values) for _ in group.targets], [t.rank or 0 for t in group.targets])
            for group in groups
        ]
    ).mean()
    expected.backward()
    assert float(outcome.share.loss) == pytest.approx(float(expected.detach()), abs=1e-5)
    for name, value in scorer.named_parameters():
        assert torch.allclose(found[name], value.grad, atol=1e-5), name


def test_scores_are_fp32_under_autocast(scorer: Any, groups: list[Group]) -> None:
    with torch.autocast("cpu", torch.bfloat16):
        found = scores(scorer, groups, ROUTES[0])
    assert found.dtype == torch.float32
    assert not torch.equal(found, found.bfloat16().float())
