"""Attention over a packed row: every branch sees its trunk and itself, every tree nothing but itself.

Four kernels compute the same. The two of our own replace a model's attention function and read the shape of the row
from the keyword `trees`, which transformers hands down to every layer (also to one that is recomputed under gradient
checkpointing). The other two are kernels of transformers, given a mask.

    two_call   scaled dot-product attention tree by tree: the trunk, then the branches over the trunk and themselves
    varlen     the same in two launches of the flash kernel of torch (GPU, half precision)
    flex       flex_attention with a block mask (GPU)
    mask4d     scaled dot-product attention with a dense mask [1, 1, T, T]
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property, partial
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch.nn.attention.flex_attention import BlockMask, create_block_mask
from torch.nn.attention.varlen import varlen_attn
from transformers import AttentionInterface

from tunalm.training.layouts import Tree

Kernel = Literal["two_call", "varlen", "flex", "mask4d"]
MAX_WASTE = 2.0
"""Branches are taken together, each seeing the others' keys masked, while they look at so many times the keys that they
need; it saves the copies of the trunk's keys. Beyond, each branch is taken alone."""
BLOCK = 128
"""A row for the flex kernel is a multiple of so many tokens long."""


@dataclass(frozen=True)
class Forest:
    """The trees of a packed row on their device, with what the kernels derive from them once per row."""

    trees: tuple[Tree, ...]
    device: torch.device
    masks: dict[tuple[Any, ...], torch.Tensor] = field(default_factory=dict, repr=False, compare=False)
    """Those of `causal` and `of_branches` that were asked for."""

    def causal(self, queries: int, keys: int, window: int | None) -> torch.Tensor:
        """Mask [queries, keys], bool: the queries are the last of the keys; a key is seen from at most `window` on."""
        if (queries, keys, window) not in self.masks:
            mask = torch.ones(queries, keys, dtype=torch.bool, device=self.device).tril(keys - queries)
            if window is not None:
                mask = mask.triu(keys - queries - window + 1)
            self.masks[queries, keys, window] = mask
        return self.masks[queries, keys, window]

    def of_branches(self, tree: Tree, window: int | None) -> torch.Tensor:
        """Mask [branches, trunk + branches], bool, of all branch tokens of a tree."""
        if (tree, window) not in self.masks:
            each = [self.causal(length, tree.trunk + length, window) for length in tree.branches]
            of_trunk = torch.cat([mask[:, : tree.trunk] for mask in each])
            self.masks[tree, window] = torch.cat(
                [of_trunk, torch.block_diag(*[mask[:, tree.trunk :] for mask in each])], dim=1
            )
        return self.masks[tree, window]

    @cached_property
    def owners(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Tree [T] and branch [T] of every token; a trunk is branch 0."""
        tree, branch = [], []
        for number, here in enumerate(self.trees):
            tree += [number] * (here.trunk + sum(here.branches))
            branch += [0] * here.trunk
            for place, length in enumerate(here.branches, start=1):
                branch += [place] * length
        return torch.tensor(tree, device=self.device), torch.tensor(branch, device=self.device)

    def dense_mask(self) -> torch.Tensor:
        """Mask [1, 1, T, T], bool."""
        tree, branch = self.owners
        same = (tree[:, None] == tree) & ((branch == 0) | (branch[:, None] == branch))
        return same.tril()[None, None]

    def block_mask(self) -> BlockMask:
        """The same for the flex kernel; a row is padded to whole blocks with tokens that see themselves alone."""
        tree, branch = self.owners
        length = len(tree)
        padded = -(-length // BLOCK) * BLOCK
        outside = torch.arange(length, padded, device=self.device)
        trees, branches = torch.cat([tree, outside + len(self.trees)]), torch.cat([branch, outside])

        def sees(batch: Any, head: Any, query: Any, key: Any) -> Any:
            return (
                (query >= key)
                & (trees[query] == trees[key])
                & ((branches[key] == 0) | (branches[query] == branches[key]))
            )

        return create_block_mask(sees, None, None, padded, padded, device=str(self.device))

    @cached_property
    def launches(self) -> tuple[Launch, Launch | None, torch.Tensor]:
        """Of the varlen kernel: all trunks, all branches, and where in their outputs, joined, each token [T] is."""
        trunks: list[list[int]] = []
        branches: list[list[int]] = []
        seen: list[list[int]] = []
        here = 0
        for tree in self.trees:
            trunk = list(range(here, here + tree.trunk))
            trunks.append(trunk)
            here += tree.trunk
            for length in tree.branches:
                branch = list(range(here, here + length))
                branches.append(branch)
                seen.append(trunk + branch)
                here += length
        first = Launch.over(trunks, trunks, self.device)
        second = Launch.over(branches, seen, self.device) if branches else None
        order = torch.cat([first.queries, second.queries]) if second else first.queries
        return first, second, order.argsort()


@dataclass(frozen=True)
class Launch:
    """One call of the varlen kernel: which tokens are queries and keys, and where their sequences begin."""

    queries: torch.Tensor
    keys: torch.Tensor
    query_starts: torch.Tensor
    key_starts: torch.Tensor
    longest_query: int
    longest_key: int

    @classmethod
    def over(cls, queries: Sequence[Sequence[int]], keys: Sequence[Sequence[int]], device: torch.device) -> Launch:
        """Make a call in which the queries of a sequence are the last of its keys."""

        def flat(parts: Sequence[Sequence[int]]) -> torch.Tensor:
            return torch.tensor([place for part in parts for place in part], device=device)

        def starts(parts: Sequence[Sequence[int]]) -> torch.Tensor:
            ends = torch.tensor([0, *map(len, parts)]).cumsum(0)
            return ends.to(device=device, dtype=torch.int32)

        return cls(
            flat(queries), flat(keys), starts(queries), starts(keys), max(map(len, queries)), max(map(len, keys))
        )


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
    sizes = [size for tree in forest.trees for size in (tree.trunk, sum(tree.branches))]
    parts = (tensor.split(sizes, dim=2) for tensor in (query, key, value))
    following = zip(*parts, strict=True)
    attend = partial(_attend, scaling=scaling, softcap=softcap)
    outputs = []
    for tree in forest.trees:
        trunk, branches = next(following), next(following)
        plain = softcap is None and (sliding_window is None or sliding_window >= tree.trunk)
        outputs.append(attend(*trunk, mask=None if plain else forest.causal(tree.trunk, tree.trunk, sliding_window)))
        if not tree.branches:
            continue
        if MAX_WASTE * (tree.trunk + max(tree.branches)) >= tree.trunk + sum(tree.branches):
            keys, values = (torch.cat([trunk[part], branches[part]], dim=2) for part in (1, 2))
            outputs.append(attend(branches[0], keys, values, mask=forest.of_branches(tree, sliding_window)))
            continue
        for queries, keys, values in zip(*(part.split(tree.branches, dim=2) for part in branches), strict=True):
            keys, values = torch.cat([trunk[1], keys], dim=2), torch.cat([trunk[2], values], dim=2)
            mask = forest.causal(queries.shape[2], keys.shape[2], sliding_window)
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


def varlen(
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
    """Attention function of transformers, shapes as for `two_call`.

    Raises:
        ValueError: the model caps its attention scores, which this kernel cannot.
    """
    if softcap is not None:
        raise ValueError("the varlen kernel does not cap attention scores")
    queries, keys, values = (tensor[0].transpose(0, 1) for tensor in (query, key, value))
    window = (-1 if sliding_window is None else sliding_window - 1, 0)
    first, second, order = forest.launches
    outputs: list[Any] = [
        varlen_attn(
            queries[launch.queries],
            keys[launch.keys],
            values[launch.keys],
            launch.query_starts,
            launch.key_starts,
            launch.longest_query,
            launch.longest_key,
            scale=scaling,
            window_size=window,
            enable_gqa=True,
        )
        for launch in (first, second)
        if launch is not None
    ]
    return torch.cat(outputs)[order][None], None


OWN: dict[Kernel, Any] = {"two_call": two_call, "varlen": varlen}


@contextmanager
def attending(model: Any, kernel: Kernel | None) -> Iterator[None]:
    """Let a transformers model attend by a kernel, and as before afterwards.

    A backward pass that recomputes layers belongs inside, too. None leaves the model as it is.
    """
    config = model.config
    before = config._attn_implementation
    if kernel in OWN:
        name = f"tunalm_{kernel}"
        AttentionInterface.register(name, OWN[kernel])
        config._attn_implementation = name
    elif kernel == "flex":
        config._attn_implementation = "flex_attention"
    elif kernel == "mask4d" and before != "eager":
        config._attn_implementation = "sdpa"
    try:
        yield
    finally:
        config._attn_implementation = before
