"""Both layouts give the numbers that a response has alone, and a model that cannot share a prompt is found out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest
import torch
from transformers import LlamaForCausalLM

from tunalm.training.encoding import Group, Target
from tunalm.training.layouts import Layout, collate
from tunalm.training.logprobs import sequence_logprobs, shared_layout_fits

LAYOUTS: tuple[Layout, ...] = ("shared", "padded")


def target(*tokens: int, rank: int | None = 0) -> Target:
    return Target(list(tokens), None if rank is None else 0, rank, ended=True)


GROUPS = [
    Group("mixed", [5, 6, 7], [target(8, 9, 10), target(8, rank=1), target(11, 12, 13, 14, 15, rank=None)]),
    Group("reference", [20, 21, 22, 23, 24, 25, 26], [target(30, 31, rank=None)]),
    Group(
        "longest",
        [40, 41],
        [target(*range(50, 64)), target(70, 71, rank=1), target(70, rank=2), target(72, 73, rank=3)],
    ),
]


def alone(model: Any, group: Group, wanted: Target) -> torch.Tensor:
    """log p(response | prompt) as anybody would write it down."""
    ids = torch.tensor([group.prompt + wanted.tokens])
    predicted = model(input_ids=ids).logits[0, len(group.prompt) - 1 : -1].log_softmax(-1)
    return predicted.gather(-1, torch.tensor(wanted.tokens)[:, None]).sum()  # type: ignore[no-any-return]


def gradients(model: Any, loss: torch.Tensor) -> list[torch.Tensor]:
    found = torch.autograd.grad(loss, list(model.parameters()))
    return [gradient.flatten() for gradient in found]


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("attention", ["sdpa", "eager"])
@pytest.mark.parametrize("kind", ["llama", "qwen2"])
def test_log_probabilities_and_gradients_are_those_of_a_response_alone(
    make_model: Callable[..., Any], kind: str, attention: str, layout: Layout
) -> None:
    model = make_model(kind, attention)
    expected = torch.stack([alone(model, group, wanted) for group in GROUPS for wanted in group.targets])
    found = sequence_logprobs(model, collate(list(enumerate(GROUPS)), layout, pad_id=0), layout)
    assert found.lengths.tolist() == [len(wanted.tokens) for group in GROUPS for wanted in group.targets]
    assert (found.means - expected / found.lengths).abs().max() < 1e-5
    weights = torch.linspace(-1, 1, len(expected))
    for ours, theirs in zip(
        gradients(model, (found.means * weights).sum()),
        gradients(model, (expected / found.lengths * weights).sum()),
        strict=True,
    ):
        assert (ours - theirs).abs().max() < 1e-5 * max(1.0, float(theirs.abs().max()))


def test_a_shared_prompt_is_read_once(make_model: Callable[..., Any]) -> None:
    sizes = {layout: collate(list(enumerate(GROUPS[:1])), layout, pad_id=0)["input_ids"].numel() for layout in LAYOUTS}
    assert sizes == {"shared": 3 + 2 + 0 + 4, "padded": 3 * (3 + 4)}


def test_the_last_token_has_its_own_log_probability(make_model: Callable[..., Any]) -> None:
    model = make_model()
    group = GROUPS[0]
    found = sequence_logprobs(model, collate([(0, group)], "shared", pad_id=0), "shared")
    first_two = Group("shorter", group.prompt, [target(8, 9)])
    shorter = sequence_logprobs(model, collate([(0, first_two)], "shared", pad_id=0), "shared")
    assert found.last[0].item() == pytest.approx((found.sums[0] - shorter.sums[0]).item(), abs=1e-4)


def test_slots_name_the_responses_and_the_reference_of_every_group() -> None:
    batch = collate([(7, GROUPS[1]), (3, GROUPS[2]), (5, GROUPS[0])], "padded", pad_id=0)
    assert batch["rows"].tolist() == [7, 3, 5]
    assert batch["references"].tolist() == [0, -1, 7]
    assert batch["slots"].tolist() == [[-1, -1, -1, -1], [1, 2, 3, 4], [5, 6, -1, -1]]
    assert batch["ranks"].tolist() == [[-1, -1, -1, -1], [0, 1, 2, 3], [0, 1, -1, -1]]


@pytest.mark.parametrize("layout", LAYOUTS)
def test_an_empty_micro_batch_runs_and_moves_nothing(make_model: Callable[..., Any], layout: Layout) -> None:
    model = make_model()
    found = sequence_logprobs(model, collate([], layout, pad_id=0), layout)
    assert found.sums.shape == (0,)
    assert all(not gradient.any() for gradient in gradients(model, found.sums.sum()))


class SeesEverything(LlamaForCausalLM):
    """Stands for a model that knows no mask of four dimensions."""

    def forward(self, *args: Any, attention_mask: Any = None, **kwargs: Any) -> Any:
        keep = attention_mask if attention_mask is not None and attention_mask.ndim == 2 else None
        return super().forward(*args, attention_mask=keep, **kwargs)


class RefusesPositions(LlamaForCausalLM):
    def forward(self, *args: Any, **kwargs: Any) -> Any:
        if kwargs.pop("position_ids", None) is not None:
            raise TypeError("forward() got an unexpected keyword argument 'position_ids'")
        return super().forward(*args, **kwargs)


def fits(model: Any, groups: Sequence[Group] = GROUPS, max_length: int = 64) -> bool:
    return shared_layout_fits(model, groups, max_length)


@pytest.mark.parametrize("kind", ["llama", "qwen2"])
def test_models_that_can_share_a_prompt_pass_the_check(make_model: Callable[..., Any], kind: str) -> None:
    model = make_model(kind).train()
    assert fits(model)
    assert model.training


@pytest.mark.parametrize("impostor", [SeesEverything, RefusesPositions])
def test_models_that_cannot_are_found_out(make_model: Callable[..., Any], impostor: type[LlamaForCausalLM]) -> None:
    model = make_model()
    model.__class__ = impostor
    assert not fits(model)


def test_a_sliding_window_shorter_than_a_sequence_cannot_share(make_model: Callable[..., Any]) -> None:
    assert fits(make_model("mistral", sliding_window=64))
    assert not fits(make_model("mistral", sliding_window=32))


def test_weights_that_are_not_here_cannot_be_checked(make_model: Callable[..., Any]) -> None:
    assert not fits(make_model().to("meta"))
