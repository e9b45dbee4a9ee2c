"""Which rows meet in a step does not depend on how it is shared out, and nothing is lost or repeated."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tunalm.training.batches import StepSampler, optimizer_steps


def sampler(sizes: list[int], step: int, budget: int = 50, **changes: int) -> StepSampler:
    return StepSampler(lambda: sizes, [size // 2 for size in sizes], step, budget, **{"seed": 3, **changes})


@given(st.lists(st.integers(1, 60), min_size=1, max_size=40), st.integers(1, 12), st.integers(1, 4), st.integers(0, 3))
def test_processes_share_the_steps_of_a_single_one(sizes: list[int], step: int, processes: int, epoch: int) -> None:
    whole = list(sampler(sizes, step, budget=10_000, epoch=epoch))
    shared = [
        list(sampler(sizes, step, processes=processes, process=process, epoch=epoch)) for process in range(processes)
    ]
    assert optimizer_steps(len(sizes), step, epochs=1) == len(whole) == len(sampler(sizes, step))
    for alone, *parts in zip(whole, *shared, strict=True):
        rows = sorted(row for part in parts for micro in part.micro_batches for row in micro)
        assert rows == sorted(alone.micro_batches[0])
        assert {(part.lists, part.tokens) for part in parts} == {(alone.lists, alone.tokens)}
        assert len({len(part.micro_batches) for part in parts}) == 1
        for part in parts:
            for micro in part.micro_batches:
                assert sum(sizes[row] for row in micro) <= 50 or len(micro) == 1
    assert sorted(row for step in whole for row in step.micro_batches[0]) == list(range(len(sizes)))


def test_the_order_changes_with_seed_and_epoch_alone() -> None:
    def rows(**changes: int) -> list[list[list[int]]]:
        return [step.micro_batches for step in sampler([10] * 30, 8, **changes)]

    assert rows() == rows()
    assert rows() != rows(epoch=1)
    assert rows() != rows(seed=4)


@pytest.mark.parametrize(("epochs", "max_steps", "expected"), [(1, -1, 3), (2, -1, 6), (0.5, -1, 2), (9, 4, 4)])
def test_steps_of_a_run(epochs: float, max_steps: int, expected: int) -> None:
    assert optimizer_steps(20, 8, epochs, max_steps) == expected
