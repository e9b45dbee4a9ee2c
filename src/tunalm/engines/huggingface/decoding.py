"""The decoding loop.

The loop is our own because three things are needed at once that `generate` does not offer together: a random stream
per response (so that a draw does not depend on its neighbours in the batch), the log-probability of every sampled
token *before* temperature (Eq. 3 needs the model's own), and a prompt that is read once for its N responses.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch

from tunalm.engines.base import Request
from tunalm.engines.huggingface.reading import Read

COMPACT_BELOW = 0.75
"""Rows of a batch are dropped from the computation once fewer than this share of them is still being written."""


@dataclass
class Written:
    """A response as token ids, the stop token included."""

    tokens: list[int] = field(default_factory=list)
    logprobs: list[float] = field(default_factory=list)
    """At temperature 1; only where a request of the unit asks for them."""
    finite: bool = True
    """Whether the model gave a distribution over the tokens at every step; the response ends where it did not."""


def write_responses(
    model: Any, unit: Sequence[Request], read: Read, stop_ids: Sequence[int], rooms: Sequence[int]
) -> list[Written]:
    """Write one response per request, each from its row of `read`, which is used up, of at most `rooms` tokens."""
    written = [Written() for _ in unit]
    steps = unit[0].max_new_tokens
    wants_logprobs = any(request.logprobs for request in unit)
    temperature = torch.tensor([request.temperature for request in unit], device=model.device)
    top_p = torch.tensor([request.top_p for request in unit], device=model.device)
    penalty = torch.tensor([request.presence_penalty for request in unit], device=model.device)
    seen = torch.zeros_like(read.logits, dtype=torch.bool) if penalty.any() else None
    dice = torch.stack([_dice(request.seed, steps) for request in unit]).to(model.device)
    stops = torch.tensor(list(stop_ids), device=model.device)
    room = torch.tensor(list(rooms), device=model.device)
    alive = torch.arange(len(unit), device=model.device)
    done = torch.zeros(len(unit), dtype=torch.bool, device=model.device)
    for step in range(steps):
        scores = read.logits.float()
        left = scores if seen is None else scores - seen * penalty[alive][:, None]
        tokens = draw(left, temperature[alive], top_p[alive], dice[alive, step])
        chosen = scores.log_softmax(-1).gather(-1, tokens[:, None])[:, 0] if wants_logprobs else scores[:, 0]
        finite = scores.amax(-1).isfinite()  # the largest of several numbers is not one if any of them is not
        for index, finished, right, token, logprob in zip(
            alive.tolist(), done.tolist(), finite.tolist(), tokens.tolist(), chosen.tolist(), strict=True
        ):
            if not finished:
                written[index].finite = right
                written[index].tokens.append(token)
                written[index].logprobs.append(logprob)
        if seen is not None:
            seen.scatter_(1, tokens[:, None], True)
        done |= torch.isin(tokens, stops) | ~finite | (room[alive] <= step + 1)
        if done.all() or step == steps - 1:
            break
        if (~done).sum() < COMPACT_BELOW * len(done):
            keep = (~done).nonzero()[:, 0]
            read.select(keep)
            alive, tokens, done = alive[keep], tokens[keep], done[keep]
            seen = None if seen is None else seen[keep]
        _read_tokens(model, read, tokens)
    return written


def _read_tokens(model: Any, read: Read, tokens: torch.Tensor) -> None:
    """Read one more token per row, tokens [B]."""
    read.mask = torch.cat([read.mask, read.mask.new_ones(len(tokens), 1)], dim=-1)
    read.logits = model(
        input_ids=tokens[:, None],
        attention_mask=read.mask,
        position_ids=read.next_position[:, None],
        past_key_values=read.cache,
        use_cache=True,
    ).logits[:, -1]
    read.next_position = read.next_position + 1


def _dice(seed: int, count: int) -> torch.Tensor:
    """Uniform numbers [count] that belong to one response alone."""
    return torch.rand(count, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def draw(logits: torch.Tensor, temperature: torch.Tensor, top_p: torch.Tensor, dice: torch.Tensor) -> torch.Tensor:
    """Draw one token per row by inverting the cumulative distribution.

    Args:
        logits: [B, V], fp32.
        temperature: [B]; 0 takes the most likely token.
        top_p: [B], share of the probability mass that may be drawn; 1 takes all.
        dice: [B], uniform in [0, 1).

    Returns:
        Token ids [B].
    """
    greedy = temperature == 0
    if greedy.all():
        return logits.argmax(-1)
    probabilities = (logits / torch.where(greedy, 1.0, temperature)[:, None]).softmax(-1)
    if (top_p < 1).any():
        ordered, order = probabilities.sort(-1, descending=True)
        outside = ordered.cumsum(-1) - ordered >= top_p[:, None]
        probabilities = torch.zeros_like(probabilities).scatter(-1, order, ordered.masked_fill(outside, 0.0))
    cumulative = probabilities.cumsum(-1, dtype=torch.float64)
    drawn = torch.searchsorted(cumulative, dice[:, None] * cumulative[:, -1:], right=True)[:, 0]
    return torch.where(greedy, logits.argmax(-1), drawn.clamp(max=logits.shape[-1] - 1))
