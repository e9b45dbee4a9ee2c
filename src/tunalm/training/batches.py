"""Which rows an optimizer step sees, and how they are dealt into micro-batches and processes."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from torch.utils.data import Sampler

from tunalm.training.packing import pack


@dataclass(frozen=True)
class Step:
    """The part that one process has in an optimizer step, and the size of the whole step."""

    micro_batches: list[list[int]]
    """Row numbers; as many micro-batches for every process, some may be empty."""
    lists: int
    """Rows of the whole step, over all processes."""
    tokens: int
    """Target tokens of the whole step."""


@dataclass(eq=False)
class StepSampler(Sampler[Step]):
    """Yields this process's part of every optimizer step.

    The order of the rows depends on the seed and the epoch alone, and every step takes the next `step_size` of them:
    which rows meet in a step does not depend on how it is shared out. No row is repeated to fill a step up.
    """

    sizes: Callable[[], Sequence[int]]
    """Gives the tokens that the model reads for each row; asked when an epoch begins."""
    targets: Sequence[int]
    """Target tokens of each row."""
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
        return math.ceil(len(self.targets) / self.step_size)

    def __iter__(self) -> Iterator[Step]:
        sizes = self.sizes()
        order = list(range(len(self.targets)))
        random.Random(f"{self.seed}/{self.epoch}").shuffle(order)
        for start in range(0, len(order), self.step_size):
            rows = order[start : start + self.step_size]
            bins = pack([sizes[row] for row in rows], self.token_budget, multiple=self.processes)
            mine = [[rows[place] for place in bin_] for bin_ in bins[self.process :: self.processes]]
            yield Step(mine, len(rows), sum(self.targets[row] for row in rows))


def optimizer_steps(num_rows: int, step_size: int, epochs: float, max_steps: int = -1) -> int:
    """Optimizer steps of a whole run; `max_steps` decides where it is positive."""
    return max_steps if max_steps > 0 else math.ceil(epochs * math.ceil(num_rows / step_size))
