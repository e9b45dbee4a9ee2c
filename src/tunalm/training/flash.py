"""Attention over a packed row in two launches of torch's flash kernel: all trunks, then all branches (GPU)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch.nn.attention.varlen import varlen_attn

from tunalm.training.attention import Forest, two_call


@dataclass(frozen=True)
class Launch:
    """One call of the kernel: which tokens are queries and keys, and where their sequences begin."""

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


def launches(forest: Forest) -> tuple[list[Launch], torch.Tensor]:
    """The calls for a row, and where in their outputs, joined, each token [T] is."""
    trunks: list[list[int]] = []
    branches: list[list[int]] = []
    seen: list[list[int]] = []
    here = 0
    for tree in forest.trees:
        trunk = list(range(here, here + tree.trunk))
        trunks.append(trunk)
        here += tree.trunk
        for length in tree.branches:
            branch = list(range(here, here + length))
            branches.append(branch)
            seen.append(trunk + branch)
            here += length
    calls = [Launch.over(trunks, trunks, forest.device)]
    if branches:
        calls.append(Launch.over(branches, seen, forest.device))
    return calls, torch.cat([call.queries for call in calls]).argsort()


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
    """Attention function of transformers, shapes as for `attention.two_call`.

    Raises:
        ValueError: the model caps its attention scores, which this kernel cannot.
    """
    if softcap is not None:
        raise ValueError("the varlen kernel does not cap attention scores")
    if query.dtype == torch.float32:  # the kernel has no float32, in which `routes` compares what is around it
        options: dict[str, Any] = {"forest": forest, "scaling": scaling, "sliding_window": sliding_window}
        return two_call(module, query, key, value, attention_mask, **options)
    if "launches" not in forest.derived:
        forest.derived["launches"] = launches(forest)
    calls, order = forest.derived["launches"]
    queries, keys, values = (tensor[0].transpose(0, 1) for tensor in (query, key, value))
    outputs: list[Any] = [
        varlen_attn(
            queries[call.queries],
            keys[call.keys],
            values[call.keys],
            call.query_starts,
            call.key_starts,
            call.longest_query,
            call.longest_key,
            scale=scaling,
            window_size=(-1 if sliding_window is None else sliding_window - 1, 0),
            enable_gqa=True,
        )
        for call in calls
    ]
    return torch.cat(outputs)[order][None], None
