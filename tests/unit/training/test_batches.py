"""Which rows meet in a step does not depend on who computes them."""

from __future__ import annotations

from itertools import islice

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tunalm.training.batches import StepSampler, optimizer_steps, split_evenly


def steps_of(sampler_of: list[StepSampler]) -> list[list[int]]:
    """Rows of every optimizer step over all processes, sorted."""
    first = sampler_of[0]
    streams = [iter(sampler) for sampler in sampler_of]
    steps = []
    for start in range(0, first.num_rows, first.step_size):
        count = first.micro_batches(min(first.step_size, first.num_rows - start))
        dealt = [batch for stream in streams for batch in islice(stream, count)]
        assert all(len(batch) <= first.micro_batch_size for batch in dealt)
        steps.append(sorted(row for batch in dealt for row in batch))
    assert all(next(stream, None) is None for stream in streams)
    return steps


@given(
    rows=st.integers(1, 40),
    step=st.integers(1, 16),
    micro=st.integers(1, 9),
    processes=st.integers(1, 4),
    epoch=st.integers(0, 3),
)
def test_every_split_gives_the_same_steps_and_every_row_once(
    rows: int, step: int, micro: int, processes: int, epoch: int
) -> None:
    split = [StepSampler(rows, step, micro, processes, process, seed=3, epoch=epoch) for process in range(processes)]
    whole = [StepSampler(rows, step, step, seed=3, epoch=epoch)]
    assert steps_of(split) == steps_of(whole)
    assert sorted(row for found in steps_of(whole) for row in found) == list(range(rows))
    assert {len(list(sampler)) for sampler in split} == {len(sampler) for sampler in split}
    assert optimizer_steps(rows, step, epochs=1) == len(steps_of(whole))


def test_full_steps_have_as_many_micro_batches_as_the_trainer_expects() -> None:
    sampler = StepSampler(num_rows=20, step_size=9, micro_batch_size=2)
    assert sampler.micro_batches(9) == 5
    assert [len(batch) for batch in sampler] == [2, 2, 2, 2, 1, 2, 2, 2, 2, 1, 2]


def test_the_order_belongs_to_seed_and_epoch() -> None:
    def order(**changes: int) -> list[list[int]]:
        return list(StepSampler(30, 8, 8, **changes))

    assert order(seed=1) == order(seed=1)
    assert order(seed=1) != order(seed=2)
    assert order(seed=1, epoch=0) != order(seed=1, epoch=1)


@pytest.mark.parametrize(("epochs", "max_steps", "expected"), [(1.0, -1, 3), (0.5, -1, 2), (2.0, 0, 6), (3.0, 4, 4)])
def test_the_steps_of_a_run_are_known_before_it_begins(epochs: float, max_steps: int, expected: int) -> None:
    assert optimizer_steps(20, 8, epochs, max_steps) == expected


def test_parts_differ_by_one_row_at_most() -> None:
    assert split_evenly([1, 2, 3, 4, 5], 3) == [[1, 2], [3, 4], [5]]
    assert split_evenly([1], 3) == [[1], [], []]
