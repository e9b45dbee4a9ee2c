"""Groups -> one row of tokens, in which everything that sequences have in common is read once.

     prompt A | r0 | r1 | r2 | reference | prompt B | r0 | r1 | reference
     0 1 2 3    4 5   4 5 6  4   4 5 6       0 1 2     3 4   3   3 4         positions

A group is a tree. Its trunk is the prompt with what all responses begin with; its branches are what each response has
alone. A branch sees the trunk and itself, and its positions continue the trunk's as if it stood alone. The last token
of a response predicts nothing that is learned, so it is a target and never an input. A group of one sequence is a trunk
without branches: `separate` groups are read without sharing, packed or each in a padded row of its own.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice, takewhile
from typing import Any, Literal

import torch

from tunalm.training.encoding import Group

Layout = Literal["packed", "rows"]


def separate(groups: Iterable[Group]) -> list[Group]:
    """Every sequence as a group of its own."""
    return [replace(group, targets=[target]) for group in groups for target in group.targets]


def common_inputs(group: Group) -> int:
    """Leading tokens, beyond the prompt, that every target of a group feeds to the model (a last token is not fed)."""
    fed = [target.tokens[:-1] for target in group.targets]
    return sum(1 for _ in takewhile(lambda tokens: len(set(tokens)) == 1, zip(*fed, strict=False)))


def tokens_read(group: Group) -> int:
    """Tokens that the model reads when the group's common beginning is read once."""
    common = common_inputs(group)
    return len(group.prompt) + common + sum(len(target.tokens) - 1 - common for target in group.targets)


@dataclass(frozen=True)
class Tree:
    """Numbers of tokens in a trunk and in each of its branches; they follow each other in the row."""

    trunk: int
    branches: tuple[int, ...] = ()


@dataclass(frozen=True)
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
    target_lengths: torch.Tensor
    """[R], predicted tokens of each sequence; they follow each other."""
    trees: tuple[Tree, ...] | None
    """What the one row of a packed batch is made of; None in the layout `rows`."""

    def to(self, device: torch.device) -> Batch:
        """The batch on a device."""
        tensors: dict[str, Any] = {
            name: value.to(device) for name, value in vars(self).items() if isinstance(value, torch.Tensor)
        }
        return replace(self, **tensors)


def collate(groups: Sequence[Group], layout: Layout, pad_id: int) -> Batch:
    """Lay out groups: all in one row, or every sequence in a row of its own.

    Args:
        groups: each with at least one target; no group at all gives a batch of one padding token without a target.
        layout: `packed` or `rows`.
        pad_id: stands where nothing does.
    """
    draft = _Draft()
    for group in (groups if layout == "packed" else separate(groups)) or [Group("", [pad_id], [])]:
        draft.add_tree(group)
    return draft.batch(layout, pad_id)


@dataclass
class _Draft:
    """Trees one after the other. Places count from the beginning of the first tree."""

    tokens: list[int] = field(default_factory=list)
    positions: list[int] = field(default_factory=list)
    places: list[int] = field(default_factory=list)
    targets: list[int] = field(default_factory=list)
    lengths: list[int] = field(default_factory=list)
    trees: list[Tree] = field(default_factory=list)

    def add_tree(self, group: Group) -> None:
        common = common_inputs(group)
        last_of_prompt = len(self.tokens) + len(group.prompt) - 1
        trunk = group.prompt + (group.targets[0].tokens[:common] if group.targets else [])
        branches = [target.tokens[common:-1] for target in group.targets]
        self._add_tokens(trunk, position=0)
        for target, branch in zip(group.targets, branches, strict=True):
            here = len(self.tokens)
            self.places += [*range(last_of_prompt, last_of_prompt + common + 1), *range(here, here + len(branch))]
            self.targets += target.tokens
            self.lengths.append(len(target.tokens))
            self._add_tokens(branch, position=len(trunk))
        self.trees.append(Tree(len(trunk), tuple(len(branch) for branch in branches if branch)))

    def _add_tokens(self, tokens: list[int], position: int) -> None:
        self.tokens += tokens
        self.positions += range(position, position + len(tokens))

    def batch(self, layout: Layout, pad_id: int) -> Batch:
        rows = [tree.trunk + sum(tree.branches) for tree in self.trees]
        if layout == "packed":
            rows = [sum(rows)]
        width = max(rows)
        where = torch.tensor([row * width + column for row, length in enumerate(rows) for column in range(length)])
        kept, sources = torch.unique(where[torch.tensor(self.places, dtype=torch.long)], return_inverse=True)
        return Batch(
            input_ids=_cut(self.tokens, rows, pad_id),
            position_ids=_cut(self.positions, rows, 0),
            lengths=torch.tensor(rows),
            kept=kept,
            sources=sources,
            targets=torch.tensor(self.targets, dtype=torch.long),
            target_lengths=torch.tensor(self.lengths, dtype=torch.long),
            trees=tuple(self.trees) if layout == "packed" else None,
        )


def _cut(values: list[int], lengths: Sequence[int], fill: int) -> torch.Tensor:
    """Cut a list into rows of the given lengths and pad them on the right: [rows, longest]."""
    following = iter(values)
    rows = [list(islice(following, length)) for length in lengths]
    return torch.tensor([row + [fill] * (max(lengths) - len(row)) for row in rows])
