"""Which rows an optimizer step sees, and how they are dealt into micro-batches and processes.

Micro-batches are bins under a budget of tokens that the model reads, of nearly equal work, as many as processes ask
for. The loss does not depend on them: its denominators are those of the whole step.
"""

from __future__ import annotations

import heapq
import math
import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from torch.utils.data import Sampler

from tunalm.training.encoding import Group, Imitate
from tunalm.training.objective import StepSize


@dataclass(frozen=True)
class StepRows:
    """The part that one process has in an optimizer step, and the size of the whole step."""

    micro_batches: list[list[int]]
    """Row numbers; as many micro-batches for every process, some may be empty."""
    size: StepSize
    """Of the whole step, over all processes."""


@dataclass(eq=False)
class StepSampler(Sampler[StepRows]):
    """Yields this process's part of every optimizer step.

    The order of the rows depends on the seed and the epoch alone, and every step takes the next `step_size` of them:
    which rows meet in a step does not depend on how it is shared out. No row is repeated to fill a step up.
    """

    sizes: Callable[[], Sequence[int]]
    """Gives the tokens that the model reads for each row; asked when an epoch begins."""
    groups: Sequence[Group]
    """The rows."""
    imitate: Imitate | None
    """What L_MLE imitates."""
    step_size: int
    """Rows per optimizer step, over all processes."""
    token_budget: int
    """Tokens of a micro-batch; a row that has more is one of its own."""
    processes: int = 1
    process: int = 0
    seed: int = 0
    epoch: int = 0

    def set_epoch(self, epoch: int) -> None:
        """Choose the order of the rows."""
        self.epoch = epoch

    @property
    def batch_sampler(self) -> StepSampler:
        """Where transformers' Trainer looks for `set_epoch`."""
        return self

    def __len__(self) -> int:
        return math.ceil(len(self.groups) / self.step_size)

    def __iter__(self) -> Iterator[StepRows]:
        sizes = self.sizes()
        order = list(range(len(self.groups)))
        random.Random(f"{self.seed}/{self.epoch}").shuffle(order)
        for start in range(0, len(order), self.step_size):
            rows = order[start : start + self.step_size]
            bins = pack([sizes[row] for row in rows], self.token_budget, multiple=self.processes)
            mine = [[rows[place] for place in bin_] for bin_ in bins[self.process :: self.processes]]
            yield StepRows(mine, StepSize.of([self.groups[row] for row in rows], self.imitate))


def optimizer_steps(num_rows: int, step_size: int, epochs: float, max_steps: int = -1) -> int:
    """Optimizer steps of a whole run; `max_steps` decides where it is positive."""
    return max_steps if max_steps > 0 else math.ceil(epochs * math.ceil(num_rows / step_size))


def default_budget(device: str) -> int:
    """Tokens of a forward pass with gradients that keep a device, `cpu` or another, busy without much memory."""
    return 1024 if device == "cpu" else 4096


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
