"""Log-probabilities of texts that are given, from one pass over each."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from tunalm.engines.huggingface.grouping import runs
from tunalm.engines.huggingface.reading import read_prompts

POSITIONS = 1024
"""Most positions, padding included, whose logits are in memory together (one text may have more)."""


@dataclass(frozen=True)
class Text:
    """A prompt and a response to it, as token ids; a response that is scored has at least one."""

    prompt: tuple[int, ...]
    response: tuple[int, ...]


def batches(texts: Sequence[Text], most: int) -> Iterator[list[int]]:
    """Split texts, named by their places, into at most so many that are read together.

    Those with equal prompts come one after the other, else those of similar length.
    """
    return runs(
        sorted(range(len(texts)), key=lambda place: _order(texts[place])),
        lambda place: len(texts[place].response),
        lambda found: len(found) <= most and len(found) * max(found) <= POSITIONS,
    )


def _order(text: Text) -> tuple[int, tuple[int, ...], int]:
    return len(text.prompt), text.prompt, len(text.response)


def token_logprobs(model: Any, texts: Sequence[Text], pad: int) -> list[list[float]]:
    """Log-probability of every token of every response, at temperature 1."""
    read = read_prompts(model, [text.prompt for text in texts], pad)
    longest = max(len(text.response) for text in texts)
    targets = torch.tensor([[*text.response, *[pad] * (longest - len(text.response))] for text in texts]).to(
        model.device
    )
    first = _chosen(read.logits[:, None], targets[:, :1])
    later = first[:, :0]
    if longest > 1:
        given = targets[:, :-1]  # what stands behind the end of a shorter response is read in vain
        logits = model(
            input_ids=given,
            attention_mask=torch.cat([read.mask, torch.ones_like(given)], dim=-1),
            position_ids=read.next_position[:, None] + torch.arange(longest - 1, device=model.device),
            past_key_values=read.cache,
            use_cache=True,
        ).logits
        later = torch.cat(
            [_chosen(row[None], target[None]) for row, target in zip(logits, targets[:, 1:], strict=True)]
        )
    rows = torch.cat([first, later], dim=-1).tolist()
    return [row[: len(text.response)] for row, text in zip(rows, texts, strict=True)]


def _chosen(logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """Log-probabilities [B, T] of the targets [B, T] under logits [B, T, V]."""
    return logits.float().log_softmax(-1).gather(-1, targets[..., None])[..., 0]
