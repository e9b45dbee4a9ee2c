"""Groups -> one batch of tensors, in one of two layouts that give the same numbers.

`packed`: everything in one row, without padding. A group is a tree: what its sequences have in common stands once, then
comes what each of them has alone; a branch sees the trunk and itself, and its positions go on from the trunk as if it
stood alone. A sequence that shares nothing is a tree without branches.

`rows`: one row per sequence, padded on the right. Right for every causal language model, also one that carries state
along a row, but the prompt is read once per response.

The last token of a response predicts nothing that is learned, so it is a target and never an input.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import Any, Literal

import torch

from tunalm.training.encoding import Group, Target
from tunalm.training.packing import common_inputs

Layout = Literal["packed", "rows"]


@dataclass(frozen=True)
class Tree:
    """Numbers of tokens in a trunk and in each of its branches; they follow each other in the row."""

    trunk: int
    branches: tuple[int, ...] = ()


@dataclass
class Batch:
    """B rows of T tokens with R sequences (a prompt with one target) and M predicted tokens."""

    input_ids: torch.Tensor
    """[B, T]"""
    position_ids: torch.Tensor
    """[B, T]"""
    lengths: torch.Tensor
    """[B], tokens of each row without padding."""
    kept: torch.Tensor
    """[K], the places in the flattened rows, ascending, whose next token is learned by some sequence."""
    sources: torch.Tensor
    """[M], which of the K kept places predicts the token."""
    targets: torch.Tensor
    """[M], the predicted token."""
    sequences: torch.Tensor
    """[M], the sequence that it belongs to, ascending."""
    num_sequences: int
    """R"""
    trees: tuple[Tree, ...] | None
    """What the one row of a packed batch is made of; None in the layout `rows`."""

    @property
    def num_tokens(self) -> int:
        """Tokens that the model reads, without padding."""
        return int(self.lengths.sum())

    def to(self, device: torch.device) -> Batch:
        """The batch on a device."""
        tensors: dict[str, Any] = {
            name: value.to(device) for name, value in vars(self).items() if isinstance(value, torch.Tensor)
        }
        return replace(self, **tensors)


def collate(groups: Sequence[Group], layout: Layout, pad_id: int, *, share: bool = True) -> Batch:
    """Lay out groups.

    Args:
        groups: each with at least one target; no group at all gives a batch of one padding token without a target.
        layout: see the module.
        pad_id: stands where nothing does.
        share: in the packed layout, let the sequences of a group share what they have in common.
    """
    draft = _Draft()
    for group in groups:
        if layout == "packed" and share:
            draft.add_tree(group.prompt, group.targets, common_inputs(group))
        else:
            for target in group.targets:
                draft.add_tree(group.prompt, [target], len(target.tokens) - 1)
    if not groups:
        draft.add_tree([pad_id], [], 0)
    return draft.batch(layout, pad_id)


@dataclass
class _Draft:
    """Trees one after the other. Places count from the beginning of the first tree."""

    tokens: list[int] = field(default_factory=list)
    positions: list[int] = field(default_factory=list)
    places: list[int] = field(default_factory=list)
    targets: list[int] = field(default_factory=list)
    sequences: list[int] = field(default_factory=list)
    num_sequences: int = 0
    trees: list[Tree] = field(default_factory=list)

    def add_tree(self, prompt: list[int], targets: Sequence[Target], common: int) -> None:
        """Add sequences that share the prompt and `common` tokens after it."""
        root = len(self.tokens)
        last_of_prompt = root + len(prompt) - 1
        trunk = prompt + (targets[0].tokens[:common] if targets else [])
        self._add_tokens(trunk, 0)
        branches = []
        for target in targets:
            branch = target.tokens[common:-1]
            here = len(self.tokens)
            self.places += [*range(last_of_prompt, last_of_prompt + common + 1), *range(here, here + len(branch))]
            self.targets += target.tokens
            self.sequences += [self.num_sequences] * len(target.tokens)
            self.num_sequences += 1
            self._add_tokens(branch, len(trunk))
            branches.append(len(branch))
        self.trees.append(Tree(len(trunk), tuple(length for length in branches if length)))

    def _add_tokens(self, tokens: list[int], position: int) -> None:
        self.tokens += tokens
        self.positions += range(position, position + len(tokens))

    def batch(self, layout: Layout, pad_id: int) -> Batch:
        """Make the tensors; in the layout `rows` every tree becomes a row of its own."""
        lengths = [tree.trunk + sum(tree.branches) for tree in self.trees]
        if layout == "packed":
            lengths = [sum(lengths)]
        width = max(lengths)
        where = [row * width + column for row, length in enumerate(lengths) for column in range(length)]
        places = torch.tensor([where[place] for place in self.places], dtype=torch.long)
        kept, sources = torch.unique(places, return_inverse=True)
        return Batch(
            input_ids=_cut(self.tokens, lengths, pad_id),
            position_ids=_cut(self.positions, lengths, 0),
            lengths=torch.tensor(lengths),
            kept=kept,
            sources=sources,
            targets=torch.tensor(self.targets, dtype=torch.long),
            sequences=torch.tensor(self.sequences, dtype=torch.long),
            num_sequences=self.num_sequences,
            trees=tuple(self.trees) if layout == "packed" else None,
        )


def _cut(values: list[int], lengths: Sequence[int], fill: int) -> torch.Tensor:
    """Cut a list into rows of the given lengths and pad them on the right."""
    following = iter(values)
    return rectangle([list(islice(following, length)) for length in lengths], fill)


def rectangle(rows: Sequence[Sequence[int]], fill: int) -> torch.Tensor:
    """Integers of unequal rows as one tensor [rows, longest]."""
    longest = max((len(row) for row in rows), default=0)
    padded = [[*row, *[fill] * (longest - len(row))] for row in rows]
    return torch.tensor(padded, dtype=torch.long).reshape(len(rows), longest)
