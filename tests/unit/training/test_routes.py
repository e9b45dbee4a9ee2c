"""Every route gives the numbers that a response has alone, for every family of models, or is found out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from transformers import AutoConfig, AutoModelForCausalLM, LlamaForCausalLM

from tunalm.training import flash
from tunalm.training.encoding import Group, Target
from tunalm.training.objective import Objective, StepSize
from tunalm.training.packing import Tree, collate
from tunalm.training.plain_step import mean_logprob, plain_loss
from tunalm.training.routes import PLAIN, Route, RouteChoice, choose_route
from tunalm.training.step import ranking_step, reading, sequence_logprobs


def target(*tokens: int, rank: int | None = 0) -> Target:
    return Target(list(tokens), None if rank is None else 0, rank, ended=True)


GROUPS = [
    Group("mixed", [5, 6, 7], [target(8, 9, 10), target(8, rank=1), target(11, 12, 13, 14, 15, rank=None)]),
    Group("reference", [20, 21, 22, 23, 24, 25, 26], [target(30, 31, rank=None)]),
    Group("common", [3, 4], [target(8, 9, 10), target(8, 9, rank=1), target(8, 9, 13, 14, 15, rank=None)]),
    Group(
        "longest",
        [40, 41],
        [target(*range(50, 64)), target(70, 71, rank=1), target(70, rank=2), target(72, 73, rank=3)],
    ),
]
FAMILIES: dict[str, dict[str, Any]] = {
    "llama": {},
    "llama-eager": {"attn_implementation": "eager"},
    "smollm3": {},
    "qwen2": {},
    "qwen3": {"head_dim": 8},
    "gemma": {"head_dim": 8},
    "gemma2": {"head_dim": 8, "attn_implementation": "eager"},
    "gemma3_text": {"head_dim": 8, "sliding_window": 6},
    "mistral": {"sliding_window": None},
    "mistral-window": {"sliding_window": 6},
    "cohere": {},
}
"""Model types of transformers, and what is not as in the others."""


def make_family(name: str) -> Any:
    sizes = {
        "vocab_size": 128,
        "hidden_size": 32,
        "intermediate_size": 48,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "max_position_embeddings": 64,
        "initializer_range": 0.3,
        "pad_token_id": 0,
        "bos_token_id": None,
        "eos_token_id": 1,
    }
    torch.manual_seed(0)
    config = AutoConfig.for_model(name.split("-")[0], **{**sizes, **FAMILIES.get(name, {})})
    return AutoModelForCausalLM.from_config(config)


def choose(model: Any, asked: Any = "auto", **options: Any) -> RouteChoice:
    return choose_route(model, GROUPS, asked, read=sequence_logprobs, **options)


def gradients(model: Any, loss: torch.Tensor) -> list[torch.Tensor]:
    return list(torch.autograd.grad(loss, list(model.parameters()), allow_unused=True, materialize_grads=True))


def assert_as_alone(model: Any, route: Route, groups: Sequence[Group] = GROUPS, tolerance: float = 1e-5) -> None:
    """Values to 1e-5, and the gradients of every parameter, with weights that differ, to as much of their norm."""
    lengths = torch.tensor([len(wanted.tokens) for group in groups for wanted in group.targets])
    weights = torch.linspace(-1, 1, len(lengths))
    expected = torch.stack(
        [mean_logprob(model, group.prompt, wanted.tokens) for group in groups for wanted in group.targets]
    )
    theirs = gradients(model, (expected * weights).sum())
    with reading(model, route):
        found = sequence_logprobs(model, groups, route, 0)
        ours = gradients(model, (found.means * weights).sum())
    assert found.lengths.equal(lengths)
    assert (found.means - expected).abs().max() < 1e-5
    for mine, reference in zip(ours, theirs, strict=True):
        assert (mine - reference).norm() <= tolerance * reference.norm() + 1e-7


ROUTES = [Route("two_call", "two_call"), Route("two_call", "two_call", "chunked"), Route("none", "two_call"), PLAIN]


@pytest.mark.parametrize("route", ROUTES, ids=lambda route: f"{route.name}-{route.head}")
@pytest.mark.parametrize(("margin", "mle_weight"), [(0.1, 1.0), (3.0, 0.3), (0.0, 0.0)])
def test_the_step_is_its_plain_twin(route: Route, margin: float, mle_weight: float) -> None:
    """Loss and gradients, also where a list has no reference, another weight, or ties."""
    groups = [
        *GROUPS,
        Group("weighted", [7, 8], [target(9, 10), target(11, rank=1), target(12, rank=1)], weight=0.25),
    ]
    model = make_family("llama")
    expected = plain_loss(model, groups, margin=margin, mle_weight=mle_weight)
    theirs = gradients(model, expected)
    found = ranking_step(model, groups, Objective(margin, mle_weight), StepSize.of(groups), route=route, pad_id=0)
    assert found.share.loss.item() == pytest.approx(expected.item(), rel=1e-5)
    for weight, reference in zip(model.parameters(), theirs, strict=True):
        assert (weight.grad - reference).norm() <= 1e-5 * reference.norm() + 1e-7


@pytest.mark.parametrize("name", FAMILIES)
def test_every_family_shares_its_prompts(name: str) -> None:
    model = make_family(name)
    choice = choose(model)
    assert choice.route.name == "two_call"
    assert choice.route.head == ("logits" if name in ("gemma2", "cohere") else "auto")  # these scale after the head
    assert_as_alone(model, choice.route)


@pytest.mark.parametrize("name", ["none", "padded"])
@pytest.mark.parametrize("family", ["llama", "llama-eager", "qwen2"])
def test_every_route_can_be_asked_for(family: str, name: Any) -> None:
    model = make_family(family)
    choice = choose(model, name)
    assert choice == RouteChoice(choice.route, refused=[])
    assert choice.route.name == name
    assert_as_alone(model, choice.route)


@pytest.mark.parametrize("route", [Route("two_call", "two_call"), Route("none", "two_call"), PLAIN])
def test_no_group_at_all_runs_and_moves_nothing(route: Route) -> None:
    model = make_family("llama")
    with reading(model, route):
        found = sequence_logprobs(model, [], route, 0)
        assert found.sums.shape == (0,)
        assert all(not gradient.any() for gradient in gradients(model, found.sums.sum()))


def test_a_common_beginning_is_read_once_and_only_once() -> None:
    packed, rows = (collate(GROUPS[2:3], layout, 0) for layout in ("packed", "rows"))
    assert packed.input_ids.tolist() == [[3, 4, 8, 9, 9, 13, 14]]
    assert packed.trees == (Tree(3, (1, 3)),)
    assert packed.position_ids.tolist() == [[0, 1, 2, 3, 3, 4, 5]]
    assert rows.input_ids.shape == (3, 6)


def test_the_last_token_has_its_own_log_probability() -> None:
    model, route = make_family("llama"), Route("two_call", "two_call")
    shorter = Group("shorter", GROUPS[0].prompt, [target(8, 9)])
    with reading(model, route):
        found, before = (sequence_logprobs(model, [group], route, 0) for group in (GROUPS[0], shorter))
    assert found.last is not None
    assert found.last[0].item() == pytest.approx((found.sums[0] - before.sums[0]).item(), abs=1e-4)


def test_checkpointed_layers_are_computed_again_in_the_same_way() -> None:
    model = make_family("qwen3")
    model.gradient_checkpointing_enable({"use_reentrant": False})
    model.train()
    assert_as_alone(model, Route("two_call", "two_call"))
    assert model.config._attn_implementation == "sdpa"


# Models that cannot share


def test_alibi_and_state_space_models_read_every_sequence_in_a_row_of_its_own() -> None:
    for model in map(make_family, ("bloom", "mamba")):
        choice = choose(model)
        assert choice.route.name == "padded"
        assert any("differs from the plain forward pass" in reason for reason in choice.refused)
        assert_as_alone(model, choice.route, tolerance=5e-5)


class SeesEverything(LlamaForCausalLM):
    """Stands for a model that ignores what it does not know."""

    def forward(self, *args: Any, attention_mask: Any = None, forest: Any = None, **kwargs: Any) -> Any:
        keep = attention_mask if attention_mask is not None and attention_mask.ndim == 2 else None
        self.config._attn_implementation = "sdpa"
        return super().forward(*args, attention_mask=keep, **kwargs)


class RefusesPositions(LlamaForCausalLM):
    def forward(self, *args: Any, **kwargs: Any) -> Any:
        if kwargs.pop("position_ids", None) is not None:
            raise TypeError("forward() got an unexpected keyword argument 'position_ids'")
        return super().forward(*args, **kwargs)


@pytest.mark.parametrize("impostor", [SeesEverything, RefusesPositions])
def test_models_that_read_a_packed_row_otherwise_are_found_out(impostor: type[LlamaForCausalLM]) -> None:
    model = make_family("llama")
    model.__class__ = impostor
    model.train()
    choice = choose(model)
    assert not choice.route.shares
    assert choice.refused
    assert model.training


def test_dropout_is_not_shared() -> None:
    model = make_family("llama")
    model.config.attention_dropout = 0.1
    assert choose(model).route.name == "none"
    choice = choose(model, "two_call")
    assert choice.route.name == "none"
    assert "dropout" in choice.refused[0]


class Accelerated(torch.nn.Module):
    """A model under bf16 autocast in the way of accelerate, which keeps the forward pass without it."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.module, self._original_forward = model, model.forward

    def forward(self, **inputs: Any) -> Any:
        with torch.autocast("cpu", torch.bfloat16):
            return self._original_forward(**inputs)


def test_in_half_precision_a_route_may_be_as_far_from_float32_as_the_plain_way_is() -> None:
    model = make_family("llama")
    exact, half = (
        sequence_logprobs(each, GROUPS, PLAIN, 0).means.detach() for each in (model, Accelerated(model).eval())
    )
    assert (exact - half).abs().max() > 0.01  # the plain way itself is off by many times the float32 tolerance
    choice = choose(Accelerated(model), half_precision=True)
    assert (choice.route.name, choice.refused) == ("two_call", [])


def test_a_route_that_is_wrong_is_found_out_in_half_precision_too() -> None:
    """A kernel that lets a branch see its neighbours is off by about as much as bf16 is on a short row."""
    model = make_family("llama")
    model.__class__ = SeesEverything
    choice = choose(Accelerated(model), half_precision=True)
    assert not choice.route.shares
    assert "differs from the plain forward pass" in choice.refused[0]


def test_weights_in_half_precision_are_compared_with_the_plain_way_alone() -> None:
    assert choose(make_family("llama").bfloat16(), half_precision=True).route.name == "two_call"


# The kernel for a GPU, as far as it can be tried without one


def plain_varlen(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    query_starts: torch.Tensor,
    key_starts: torch.Tensor,
    longest_query: int,
    longest_key: int,
    *,
    scale: float,
    window_size: tuple[int, int],
    enable_gqa: bool,
) -> torch.Tensor:
    """What the flash kernel computes, sequence by sequence: queries are the last of the keys."""
    if query.dtype == torch.float32:
        raise RuntimeError("FlashAttention only support fp16 and bf16 data type")
    assert longest_query == int(query_starts.diff().max())
    assert longest_key == int(key_starts.diff().max())
    outputs = []
    bounds = zip(query_starts[:-1], query_starts[1:], key_starts[:-1], key_starts[1:], strict=True)
    for first, end, key_first, key_end in bounds:
        q, k, v = query[first:end], key[key_first:key_end], value[key_first:key_end]
        mask = torch.ones(len(q), len(k), dtype=torch.bool).tril(len(k) - len(q))
        if window_size[0] >= 0:
            mask = mask.triu(len(k) - len(q) - window_size[0])
        q, k, v = (part.transpose(0, 1)[None] for part in (q, k, v))
        mixed = F.scaled_dot_product_attention(q, k, v, attn_mask=mask, scale=scale, enable_gqa=enable_gqa)
        outputs.append(mixed[0].transpose(0, 1))
    return torch.cat(outputs)


@pytest.mark.parametrize("family", ["llama", "gemma3_text", "mistral-window"])
def test_the_two_launches_of_the_flash_kernel_cover_the_row(family: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(flash, "varlen_attn", plain_varlen)
    assert_as_alone(make_family(family).double(), Route("varlen", "varlen"))
    assert_as_alone(make_family(family).double(), Route("none", "varlen"))


def test_a_kernel_without_float32_is_compared_in_half_precision(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(flash, "varlen_attn", plain_varlen)
    choice = choose(Accelerated(make_family("llama")), "varlen", half_precision=True)
    assert (choice.route.name, choice.refused) == ("varlen", [])
