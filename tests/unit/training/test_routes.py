"""Every route gives the numbers that a response has alone, for every family of models, or is found out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch.nn.attention.flex_attention import create_mask
from transformers import (
    BloomConfig,
    BloomForCausalLM,
    CohereConfig,
    CohereForCausalLM,
    Gemma2Config,
    Gemma2ForCausalLM,
    Gemma3ForCausalLM,
    Gemma3TextConfig,
    GemmaConfig,
    GemmaForCausalLM,
    LlamaConfig,
    LlamaForCausalLM,
    MambaConfig,
    MambaForCausalLM,
    MistralConfig,
    MistralForCausalLM,
    Qwen2Config,
    Qwen2ForCausalLM,
    Qwen3Config,
    Qwen3ForCausalLM,
    SmolLM3Config,
    SmolLM3ForCausalLM,
)

from tunalm.training import attention
from tunalm.training.attention import Forest
from tunalm.training.encoding import Group, Target
from tunalm.training.layouts import Tree, collate
from tunalm.training.logprobs import Route, reading, sequence_logprobs
from tunalm.training.routes import PLAIN, Choice, choose_route


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
COUNT = sum(len(group.targets) for group in GROUPS)
FAMILIES: dict[str, tuple[Any, Any, dict[str, Any]]] = {
    "llama": (LlamaConfig, LlamaForCausalLM, {}),
    "llama-eager": (LlamaConfig, LlamaForCausalLM, {"attn_implementation": "eager"}),
    "smollm3": (SmolLM3Config, SmolLM3ForCausalLM, {}),
    "qwen2": (Qwen2Config, Qwen2ForCausalLM, {}),
    "qwen3": (Qwen3Config, Qwen3ForCausalLM, {"head_dim": 8}),
    "gemma": (GemmaConfig, GemmaForCausalLM, {"head_dim": 8}),
    "gemma2": (Gemma2Config, Gemma2ForCausalLM, {"head_dim": 8, "attn_implementation": "eager"}),
    "gemma3": (Gemma3TextConfig, Gemma3ForCausalLM, {"head_dim": 8, "sliding_window": 6}),
    "mistral": (MistralConfig, MistralForCausalLM, {"sliding_window": None}),
    "mistral-window": (MistralConfig, MistralForCausalLM, {"sliding_window": 6}),
    "cohere": (CohereConfig, CohereForCausalLM, {}),
}
SHARED = ("two_call", "mask4d")


def make_family(name: str) -> Any:
    config, model, changes = FAMILIES[name]
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
    return model(config(**{**sizes, **changes}))


def alone(model: Any, group: Group, wanted: Target) -> torch.Tensor:
    """log p(response | prompt) as anybody would write it down."""
    ids = torch.tensor([group.prompt + wanted.tokens])
    predicted = model(input_ids=ids).logits[0, len(group.prompt) - 1 : -1].log_softmax(-1)
    return predicted.gather(-1, torch.tensor(wanted.tokens)[:, None]).sum()  # type: ignore[no-any-return]


def gradients(model: Any, loss: torch.Tensor) -> list[torch.Tensor]:
    return list(torch.autograd.grad(loss, list(model.parameters()), allow_unused=True, materialize_grads=True))


def assert_as_alone(model: Any, route: Route, groups: Sequence[Group] = GROUPS) -> None:
    """Values to 1e-5, and the gradients of every parameter, with weights that differ, to 1e-5 of their norm."""
    lengths = torch.tensor([len(wanted.tokens) for group in groups for wanted in group.targets])
    weights = torch.linspace(-1, 1, len(lengths))
    expected = torch.stack([alone(model, group, wanted) for group in groups for wanted in group.targets]) / lengths
    theirs = gradients(model, (expected * weights).sum())
    with reading(model, route):
        found = sequence_logprobs(model, groups, route, 0, always_share=True)
        ours = gradients(model, (found.means * weights).sum())
    assert found.lengths.equal(lengths)
    assert (found.means - expected).abs().max() < 1e-5
    for mine, reference in zip(ours, theirs, strict=True):
        assert (mine - reference).norm() <= 1e-5 * reference.norm() + 1e-7


@pytest.mark.parametrize("name", FAMILIES)
def test_every_family_shares_its_prompts(name: str) -> None:
    model = make_family(name)
    choice = choose_route(model, GROUPS)
    assert choice.route.name == "two_call"
    assert choice.route.head == ("logits" if name in ("gemma2", "cohere") else "auto")  # these scale after the head
    assert_as_alone(model, choice.route)


@pytest.mark.parametrize("waste", [0.0, 100.0])
@pytest.mark.parametrize("name", ["llama", "gemma2", "gemma3"])
def test_branches_may_be_taken_one_by_one_or_together(name: str, waste: float, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attention, "MAX_WASTE", waste)
    assert_as_alone(make_family(name), Route("two_call", "two_call", "logits"))


@pytest.mark.parametrize("name", ["mask4d", "none", "rows", "padded"])
@pytest.mark.parametrize("family", ["llama", "llama-eager", "qwen2"])
def test_every_route_can_be_asked_for(family: str, name: Any) -> None:
    model = make_family(family)
    choice = choose_route(model, GROUPS, name)
    assert choice == Choice(choice.route, refused=[])
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


def test_a_window_shorter_than_a_row_is_kept_by_our_kernel_and_refused_by_a_mask() -> None:
    choice = choose_route(make_family("mistral-window"), GROUPS, "mask4d")
    assert choice.route.name == "none"
    assert "sliding window (6 tokens, the longest sequence has 16)" in choice.refused[0]


def test_checkpointed_layers_are_computed_again_in_the_same_way() -> None:
    model = make_family("qwen3")
    model.gradient_checkpointing_enable({"use_reentrant": False})
    model.train()
    assert_as_alone(model, Route("two_call", "two_call"))
    assert model.config._attn_implementation == "sdpa"


# Models that cannot share


def tiny(model: type, config: type, **changes: Any) -> Any:
    torch.manual_seed(0)
    return model(config(vocab_size=128, hidden_size=32, initializer_range=0.3, **changes))


def test_alibi_and_state_space_models_read_every_sequence_in_a_row_of_its_own() -> None:
    for model in (tiny(BloomForCausalLM, BloomConfig, n_layer=2, n_head=4), tiny(MambaForCausalLM, MambaConfig)):
        choice = choose_route(model, GROUPS)
        assert choice.route.name == "rows"
        assert any("differs from the plain forward pass" in reason for reason in choice.refused)
        assert_as_alone(model, choice.route)
        assert choose_route(model, GROUPS, processes=2).route.name == "padded"


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
    choice = choose_route(model, GROUPS)
    assert not choice.route.shares
    assert choice.refused
    assert model.training


def test_dropout_is_not_shared() -> None:
    model = make_family("llama")
    model.config.attention_dropout = 0.1
    assert choose_route(model, GROUPS).route.name == "none"
    choice = choose_route(model, GROUPS, "two_call")
    assert choice.route.name == "none"
    assert "dropout" in choice.refused[0]


def test_half_precision_is_compared_with_its_own_tolerance() -> None:
    model = make_family("llama").bfloat16()
    assert choose_route(model, GROUPS, precision=torch.bfloat16).route.name == "two_call"


# The kernels for a GPU, as far as they can be tried without one

FOREST = Forest((Tree(3, (2, 1)), Tree(4), Tree(2, (3, 2, 1))), torch.device("cpu"))


def test_the_block_mask_is_the_dense_mask() -> None:
    block, dense = FOREST.block_mask(), FOREST.dense_mask()[0, 0]
    found = create_mask(block.mask_mod, None, None, attention.BLOCK, attention.BLOCK, device="cpu")[0, 0]
    assert found[: len(dense), : len(dense)].equal(dense)
    assert not found[: len(dense), len(dense) :].any()
    assert found.any(-1).all()


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


@pytest.mark.parametrize("family", ["llama", "gemma3", "mistral-window"])
def test_the_two_launches_of_the_flash_kernel_cover_the_row(family: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attention, "varlen_attn", plain_varlen)
    assert_as_alone(make_family(family), Route("varlen", "varlen"))
    assert_as_alone(make_family(family), Route("none", "varlen"))
