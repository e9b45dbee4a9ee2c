"""Attention over a packed row: every branch sees its trunk and itself, every tree nothing but itself.

A kernel takes the place of a model's attention function. It reads the shape of the row from the keyword `forest`, which
transformers hands down to every layer (also to one that is recomputed under gradient checkpointing).

    two_call   scaled dot-product attention piece by piece: each trunk, then each branch over the trunk and itself
    varlen     the same in two launches of torch's flash kernel (`flash`; GPU, half precision)
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial
from typing import Any, Literal

import torch
import torch.nn.functional as F

from tunalm.training.packing import Tree

Kernel = Literal["two_call", "varlen"]


@dataclass(frozen=True)
class Forest:
    """The trees of a packed row on their device, with what the kernels derive from them once per row."""

    trees: tuple[Tree, ...]
    device: torch.device
    derived: dict[Any, Any] = field(default_factory=dict, repr=False, compare=False)
    """Masks, and the launches of `flash`."""

    def causal(self, queries: int, keys: int, window: int | None) -> torch.Tensor:
        """Mask [queries, keys], bool: the queries are the last of the keys; a key is seen from at most `window` on."""
        if (queries, keys, window) not in self.derived:
            mask = torch.ones(queries, keys, dtype=torch.bool, device=self.device).tril(keys - queries)
            if window is not None:
                mask = mask.triu(keys - queries - window + 1)
            self.derived[queries, keys, window] = mask
        return self.derived[queries, keys, window]  # type: ignore[no-any-return]


def two_call(
    module: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: None,
    *,
    forest: Forest,
    scaling: float | None = None,
    sliding_window: int | None = None,
    softcap: float | None = None,
    **_: Any,
) -> tuple[torch.Tensor, None]:
    """Attention function of transformers: query [1, H, T, D], key and value [1, H_kv, T, D] -> [1, T, H, D]."""
    sizes = [size for tree in forest.trees for size in (tree.trunk, *tree.branches)]
    parts = zip(*(tensor.split(sizes, dim=2) for tensor in (query, key, value)), strict=True)
    attend = partial(_attend, scaling=scaling, softcap=softcap)
    outputs = []
    for tree in forest.trees:
        queries, trunk_keys, trunk_values = next(parts)
        plain = softcap is None and (sliding_window is None or sliding_window >= tree.trunk)
        mask = None if plain else forest.causal(tree.trunk, tree.trunk, sliding_window)
        outputs.append(attend(queries, trunk_keys, trunk_values, mask=mask))
        for length in tree.branches:
            queries, keys, values = next(parts)
            keys, values = torch.cat([trunk_keys, keys], dim=2), torch.cat([trunk_values, values], dim=2)
            mask = forest.causal(length, tree.trunk + length, sliding_window)
            outputs.append(attend(queries, keys, values, mask=mask))
    return torch.cat(outputs, dim=2).transpose(1, 2), None


def _attend(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    *,
    mask: torch.Tensor | None,
    scaling: float | None,
    softcap: float | None,
) -> torch.Tensor:
    """Attention under a mask [queries, keys], bool; None is causal, with as many queries as keys."""
    groups = query.shape[1] // key.shape[1]
    if softcap is None:
        return F.scaled_dot_product_attention(
            query, key, value, attn_mask=mask, is_causal=mask is None, scale=scaling, enable_gqa=groups > 1
        )
    key, value = key.repeat_interleave(groups, dim=1), value.repeat_interleave(groups, dim=1)
    scores = softcap * torch.tanh(query @ key.transpose(2, 3) * (scaling or query.shape[-1] ** -0.5) / softcap)
    assert mask is not None
    return scores.masked_fill(~mask, float("-inf")).softmax(-1, dtype=torch.float32).to(value.dtype) @ value
