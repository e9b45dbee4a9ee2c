"""Which groups are read together: bins under a budget of tokens, of nearly equal work, as many as processes ask for.

The unit of work is a token that the model reads. A group reads what all its sequences have in common once (see
`layouts`), so a prompt is charged once per group.
"""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from itertools import takewhile

from tunalm.training.encoding import Group

MIN_GAIN = 1.15
"""Sharing prompts must save at least so many times the tokens, or a batch does without."""


def default_budget(device: str) -> int:
    """Tokens of a forward pass with gradients that keep a device, `cpu` or another, busy without much memory."""
    return 1024 if device == "cpu" else 4096


def common_inputs(group: Group) -> int:
    """Leading tokens, beyond the prompt, that every target of a group feeds to the model (a last token is not fed)."""
    fed = [target.tokens[:-1] for target in group.targets]
    return sum(1 for _ in takewhile(lambda tokens: len(set(tokens)) == 1, zip(*fed, strict=False)))


def shared_tokens(group: Group) -> int:
    """Tokens that the model reads when the group's common beginning is read once."""
    if not group.targets:
        return 0
    common = common_inputs(group)
    return len(group.prompt) + common + sum(len(target.tokens) - 1 - common for target in group.targets)


def separate_tokens(group: Group) -> int:
    """Tokens that the model reads when every sequence is read from its beginning."""
    return sum(len(group.prompt) + len(target.tokens) - 1 for target in group.targets)


def sharing_pays(groups: Sequence[Group]) -> bool:
    """Whether reading common beginnings once saves enough tokens to be worth its extra calls."""
    return sum(map(separate_tokens, groups)) >= MIN_GAIN * sum(map(shared_tokens, groups))


def pack(sizes: Sequence[int], budget: int, multiple: int = 1) -> list[list[int]]:
    """Deal items into bins of nearly equal size, the largest item first into the emptiest bin.

    Args:
        sizes: of the items.
        budget: a bin holds no more, unless it is a single item that is larger.
        multiple: the number of bins is a multiple of this, so that as many processes get the same number; some bins
            may be empty.

    Returns:
        Item numbers of each bin, ascending; the fullest bins first.
    """
    bins = -(-max(1, -(-sum(sizes) // budget)) // multiple) * multiple
    while True:
        dealt = _deal(sizes, bins)
        if all(size <= budget or len(items) == 1 for size, items in dealt):
            return [sorted(items) for _, items in dealt]
        bins += multiple


def _deal(sizes: Sequence[int], bins: int) -> list[tuple[int, list[int]]]:
    heap: list[tuple[int, int, list[int]]] = [(0, number, []) for number in range(bins)]
    for item in sorted(range(len(sizes)), key=lambda item: (-sizes[item], item)):
        size, number, items = heapq.heappop(heap)
        heapq.heappush(heap, (size + sizes[item], number, [*items, item]))
    return [(size, items) for size, _, items in sorted(heap, key=lambda full: (-full[0], full[1]))]
