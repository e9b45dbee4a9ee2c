"""Groups -> one batch of tensors, in either of two layouts that give the same numbers.

`shared`: one row per group. The prompt stands once, then every response; a response sees the prompt and itself, and
its positions go on from the prompt as if it stood alone.

`padded`: one row per response, each with a copy of its prompt. Right for every causal language model, but the prompt is
read once per response.

The last token of a response predicts nothing that is learned, so it is a target and never an input.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import torch

from tunalm.training.encoding import Group, Target

Layout = Literal["shared", "padded"]
ABSENT = -1
PROMPT = 0
PADDING = -1

Batch = dict[str, torch.Tensor]
"""What `collate` returns. B rows of T tokens hold R sequences (a prompt with one target), M predicted tokens and
G groups of up to N ranked responses:

    input_ids, position_ids   [B, T]
    segments                  [B, T]  0 prompt, 1.. the targets of the row, -1 padding
    keep                      [B, T]  bool, positions whose logits are needed; K of them
    sources                   [M]     which of the K kept positions predicts the token
    targets                   [M]     the predicted token
    sequences                 [M]     the sequence that it belongs to
    ended                     [R]     bool, the sequence's last target is an end token
    slots, ranks              [G, N]  sequence and rank of every ranked response, -1 where there is none
    references                [G]     sequence of the reference, -1 where there is none
    rows                      [G]     number of the group, as given to `collate`
"""


def collate(groups: Sequence[tuple[int, Group]], layout: Layout, pad_id: int) -> Batch:
    """Lay out numbered groups; `Batch` tells what comes out. No group at all gives a batch of one padding token."""
    table = _Table()
    slots: list[list[int]] = []
    ranks: list[list[int]] = []
    references: list[int] = []
    for _, group in groups:
        first = len(table.ended)
        numbers = range(first, first + len(group.targets))
        slots.append([n for n, target in zip(numbers, group.targets, strict=True) if target.rank is not None])
        ranks.append([target.rank for target in group.targets if target.rank is not None])
        references.append(next((n for n in numbers if group.targets[n - first].rank is None), ABSENT))
        if layout == "shared":
            table.add_row(group.prompt, group.targets)
        else:
            for target in group.targets:
                table.add_row(group.prompt, [target])
    batch = table.tensors(pad_id)
    batch["slots"] = _padded(slots, ABSENT)
    batch["ranks"] = _padded(ranks, ABSENT)
    batch["references"] = torch.tensor(references, dtype=torch.long)
    batch["rows"] = torch.tensor([number for number, _ in groups], dtype=torch.long)
    return batch


@dataclass
class _Table:
    """Rows under construction. Kept positions are remembered as (row, column) until all rows are known."""

    tokens: list[list[int]] = field(default_factory=list)
    positions: list[list[int]] = field(default_factory=list)
    segments: list[list[int]] = field(default_factory=list)
    sources: list[tuple[int, int]] = field(default_factory=list)
    targets: list[int] = field(default_factory=list)
    sequences: list[int] = field(default_factory=list)
    ended: list[bool] = field(default_factory=list)

    def add_row(self, prompt: list[int], targets: Sequence[Target]) -> None:
        """Add a prompt with the targets that share it."""
        row, start = len(self.tokens), len(prompt)
        tokens, positions, segments = list(prompt), list(range(start)), [PROMPT] * start
        for segment, target in enumerate(targets, start=1):
            inputs = target.tokens[:-1]
            columns = [start - 1, *range(len(tokens), len(tokens) + len(inputs))]
            self.sources += [(row, column) for column in columns]
            self.targets += target.tokens
            self.sequences += [len(self.ended)] * len(target.tokens)
            self.ended.append(target.ended)
            tokens += inputs
            positions += range(start, start + len(inputs))
            segments += [segment] * len(inputs)
        self.tokens.append(tokens)
        self.positions.append(positions)
        self.segments.append(segments)

    def tensors(self, pad_id: int) -> Batch:
        """Pad the rows on the right and number the kept positions in row order."""
        input_ids = _padded(self.tokens or [[pad_id]], pad_id)
        kept = {place: number for number, place in enumerate(sorted(set(self.sources)))}
        keep = torch.zeros_like(input_ids, dtype=torch.bool)
        for row, column in kept:
            keep[row, column] = True
        return {
            "input_ids": input_ids,
            "position_ids": _padded(self.positions or [[0]], 0),
            "segments": _padded(self.segments or [[PROMPT]], PADDING),
            "keep": keep,
            "sources": torch.tensor([kept[place] for place in self.sources], dtype=torch.long),
            "targets": torch.tensor(self.targets, dtype=torch.long),
            "sequences": torch.tensor(self.sequences, dtype=torch.long),
            "ended": torch.tensor(self.ended, dtype=torch.bool),
        }


def _padded(rows: Sequence[Sequence[int]], value: int) -> torch.Tensor:
    """Integers of unequal rows as one tensor [rows, longest]."""
    longest = max((len(row) for row in rows), default=0)
    padded = [[*row, *[value] * (longest - len(row))] for row in rows]
    return torch.tensor(padded, dtype=torch.long).reshape(len(rows), longest)


def model_inputs(batch: Mapping[str, torch.Tensor], layout: Layout, attention: str) -> dict[str, Any]:
    """What the model reads: tokens, and what each of them may see.

    Args:
        batch: as `collate` returns it.
        layout: that it was collated with.
        attention: name of the model's attention implementation, `sdpa` or `eager` for the shared layout. The first
            takes a mask of booleans; the second adds what it is given to the attention scores.
    """
    segments = batch["segments"]
    if layout == "padded":
        return {"input_ids": batch["input_ids"], "attention_mask": (segments != PADDING).long()}
    length = segments.shape[1]
    query, key = segments[:, :, None], segments[:, None, :]
    causal = torch.ones(length, length, dtype=torch.bool, device=segments.device).tril()
    mask = (causal & ((key == PROMPT) | (key == query)))[:, None]  # [B, 1, T, T]; padding sees itself: never empty
    if attention == "eager":
        mask = torch.zeros_like(mask, dtype=torch.float32).masked_fill(~mask, torch.finfo(torch.float32).min)
    return {"input_ids": batch["input_ids"], "attention_mask": mask, "position_ids": batch["position_ids"]}
