"""What a model knows after it has read prompts, and how it reads many of them with little computed twice."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

import torch
from torch.nn.functional import pad as pad_left
from transformers import DynamicCache

from tunalm.engines.huggingface.cache import can_be_joined, joined, roomy_cache
from tunalm.engines.huggingface.grouping import Reading, readings

SPARE = {"cpu": 64, "cuda": 2048}
"""Tokens that are read in the time that one more pass takes at least, by the type of the device."""
MOST = {"cpu": 1024, "cuda": 32_768}
"""Tokens that are read at a time, because of the memory that passes beyond this take, or do not find near the core."""


@dataclass
class Read:
    """What a model knows after reading B rows of tokens."""

    cache: DynamicCache
    mask: torch.Tensor
    """[B, T], 0 where a row is padded; padding is before what a row has of its own."""
    next_position: torch.Tensor
    """[B]"""
    logits: torch.Tensor
    """[B, V], of the token that comes next."""

    def select(self, rows: torch.Tensor) -> None:
        """Keep these rows [B'] only, in this order; one may be taken several times."""
        self.cache.batch_select_indices(rows)
        self.mask, self.next_position, self.logits = self.mask[rows], self.next_position[rows], self.logits[rows]


def read_prompts(model: Any, prompts: Sequence[Sequence[int]], pad: int) -> Read:
    """Read prompts, equal ones once, and what many begin with once; the rows are those of `prompts`."""
    row_of: dict[tuple[int, ...], int] = {}
    for prompt in prompts:
        row_of.setdefault(tuple(prompt), len(row_of))
    distinct = list(row_of)
    if can_be_joined(roomy_cache(model.config)):
        spare, most = (limits.get(model.device.type, limits["cuda"]) for limits in (SPARE, MOST))
    else:
        spare = most = len(distinct) * max(map(len, distinct))
    parts = [part for reading in readings(distinct, spare, most) for part in _carry_out(model, reading, distinct, pad)]
    read = _joined(parts)
    rows = [row_of[tuple(prompt)] for prompt in prompts]
    if rows != list(range(len(distinct))):
        read.select(torch.tensor(rows, device=model.device))
    return read


def _carry_out(
    model: Any, reading: Reading, prompts: Sequence[tuple[int, ...]], pad: int
) -> Iterator[tuple[list[int], Read]]:
    """What is known after each pass, with the places of its prompts."""
    shared = roomy_cache(model.config)
    if reading.shared:
        head = torch.tensor([prompts[reading.passes[0][0]][: reading.shared]], device=model.device)
        model(input_ids=head, past_key_values=shared, use_cache=True, logits_to_keep=1)
    for number, places in enumerate(reading.passes, start=1):
        cache = shared if number == len(reading.passes) else deepcopy(shared)
        if reading.shared:
            cache.batch_select_indices(torch.zeros(len(places), dtype=torch.long, device=model.device))
        yield places, _read_on(model, cache, [prompts[place] for place in places], reading.shared, pad)


def _read_on(model: Any, cache: DynamicCache, prompts: Sequence[tuple[int, ...]], shared: int, pad: int) -> Read:
    """Read the rest of prompts whose first tokens are in a cache that has a row for each."""
    width = max(map(len, prompts)) - shared
    rest = torch.tensor([[*[pad] * (shared + width - len(prompt)), *prompt[shared:]] for prompt in prompts])
    mask = torch.tensor(
        [[*[1] * shared, *[0] * (shared + width - len(prompt)), *[1] * (len(prompt) - shared)] for prompt in prompts]
    ).to(model.device)
    positions = (mask.cumsum(-1) - 1).clamp(min=0)
    out = model(
        input_ids=rest.to(model.device),
        attention_mask=mask,
        position_ids=positions[:, shared:],
        past_key_values=cache,
        use_cache=True,
        logits_to_keep=1,
    )
    return Read(cache, mask, positions[:, -1] + 1, out.logits[:, -1])


def _joined(parts: Sequence[tuple[list[int], Read]]) -> Read:
    """One for all rows, each in its place."""
    order = torch.tensor([place for places, _ in parts for place in places]).argsort()
    if len(parts) == 1:
        ((_, read),) = parts
        read.select(order.to(read.mask.device))
        return read
    width = max(read.mask.shape[-1] for _, read in parts)
    masks = [pad_left(read.mask, (width - read.mask.shape[-1], 0)) for _, read in parts]
    positions, logits = ([getattr(read, name) for _, read in parts] for name in ("next_position", "logits"))
    order = order.to(masks[0].device)
    cache = joined([read.cache for _, read in parts], order)
    return Read(cache, torch.cat(masks)[order], torch.cat(positions)[order], torch.cat(logits)[order])
