"""Which rows an optimizer step sees, and how they are dealt into micro-batches and processes."""

from __future__ import annotations

import math
import random
from collections.abc import Iterator
from dataclasses import dataclass

from torch.utils.data import Sampler


@dataclass(eq=False)
class StepSampler(Sampler[list[int]]):
    """Yields this process's micro-batches, each a list of row numbers.

    The order of the rows depends on the seed and the epoch alone, and every optimizer step takes the next `step_size`
    of them: which rows meet in a step does not depend on how many processes or micro-batches share the work. No row is
    repeated to fill a step up, so in the last step of an epoch a process may be dealt an empty micro-batch.
    """

    num_rows: int
    step_size: int
    """Rows per optimizer step, over all processes."""
    micro_batch_size: int
    """At most so many rows at a time and process."""
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

    def micro_batches(self, rows: int) -> int:
        """How many micro-batches each process needs for an optimizer step of so many rows."""
        return math.ceil(rows / (self.micro_batch_size * self.processes))

    def __len__(self) -> int:
        whole, rest = divmod(self.num_rows, self.step_size)
        return whole * self.micro_batches(self.step_size) + self.micro_batches(rest)

    def __iter__(self) -> Iterator[list[int]]:
        order = list(range(self.num_rows))
        random.Random(f"{self.seed}/{self.epoch}").shuffle(order)
        for start in range(0, self.num_rows, self.step_size):
            rows = order[start : start + self.step_size]
            parts = split_evenly(rows, self.micro_batches(len(rows)) * self.processes)
            yield from parts[self.process :: self.processes]


def split_evenly(rows: list[int], parts: int) -> list[list[int]]:
    """Cut a list into so many consecutive parts whose lengths differ by at most one; some may be empty."""
    share, longer = divmod(len(rows), parts)
    ends = [number * share + min(number, longer) for number in range(parts + 1)]
    return [rows[ends[number] : ends[number + 1]] for number in range(parts)]


def optimizer_steps(num_rows: int, step_size: int, epochs: float, max_steps: int = -1) -> int:
    """Optimizer steps of a whole run; `max_steps` decides where it is positive."""
    return max_steps if max_steps > 0 else math.ceil(epochs * math.ceil(num_rows / step_size))
