"""Keys and values of what a model has read, with room for what it writes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch.nn.functional import pad
from transformers import DynamicCache
from transformers.cache_utils import DynamicLayer

ROOM = 64
"""Tokens for which room is made at a time."""


class RoomyLayer(DynamicLayer):
    """A cache layer that writes a new token behind the others, where its parent copies all of them each time."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._room: tuple[torch.Tensor, torch.Tensor] | None = None

    def update(
        self, key_states: torch.Tensor, value_states: torch.Tensor, *args: Any, **kwargs: Any
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Add keys and values [B, heads, T, D]; return all that there are, as views."""
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
        assert self.keys is not None
        assert self.values is not None
        past = self.get_seq_length()
        now = past + key_states.shape[-2]
        # Whoever selects or repeats rows puts other tensors in the place of our views.
        if self._room is None or self._room[0].data_ptr() != self.keys.data_ptr() or self._room[0].shape[-2] < now:
            self._room = _with_room(key_states, self.keys, past), _with_room(value_states, self.values, past)
        keys, values = self._room
        keys[..., past:now, :] = key_states
        values[..., past:now, :] = value_states
        self.keys, self.values = keys[..., :now, :], values[..., :now, :]
        return self.keys, self.values


def _with_room(new: torch.Tensor, kept: torch.Tensor, past: int) -> torch.Tensor:
    """A tensor that begins with what is kept and has room for the new, and more."""
    *rows, length, width = new.shape
    made = new.new_empty((*rows, past + length + ROOM, width))
    if past:
        made[..., :past, :] = kept
    return made


def can_be_joined(cache: DynamicCache) -> bool:
    """Whether all layers keep every token, each in a place of its own."""
    return all(isinstance(layer, RoomyLayer) for layer in cache.layers)


def joined(caches: Sequence[DynamicCache], order: torch.Tensor) -> DynamicCache:
    """One cache of the rows of several in a new order [B], padded on the left to the longest.

    The caches are used up layer by layer, so that little more than one layer is in memory twice.
    """
    whole = DynamicCache()
    width = max(cache.get_seq_length() for cache in caches)
    for number in range(len(caches[0].layers)):
        parts: list[Any] = [cache.layers[number] for cache in caches]
        keys, values = (
            torch.cat([pad(each, (0, 0, width - each.shape[-2], 0)) for each in found])[order]
            for found in ([part.keys for part in parts], [part.values for part in parts])
        )
        layer = RoomyLayer()
        layer.update(keys, values)
        whole.layers.append(layer)
        for cache in caches:
            cache.layers[number] = RoomyLayer()  # a reset would keep the room
    return whole


def roomy_cache(config: Any) -> DynamicCache:
    """An empty cache for a model; layers of a kind of their own (sliding windows, state spaces) stay what they are."""
    cache = DynamicCache(config=config)
    cache.layers = [RoomyLayer() if type(layer) is DynamicLayer else layer for layer in cache.layers]
    return cache
