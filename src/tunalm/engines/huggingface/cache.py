"""Keys and values of what a model has read, with room for what it writes."""

from __future__ import annotations

from typing import Any

import torch
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


def roomy_cache(config: Any) -> DynamicCache:
    """An empty cache for a model; layers of a kind of their own (sliding windows, state spaces) stay what they are."""
    cache = DynamicCache(config=config)
    cache.layers = [RoomyLayer() if type(layer) is DynamicLayer else layer for layer in cache.layers]
    return cache
