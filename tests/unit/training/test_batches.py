"""Which rows meet in a step does not depend on how it is shared out, and nothing is lost or repeated."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tunalm.training.batches import StepSampler, optimizer_steps, pack
from tunalm.training.encoding import Group, Target

SIZES = st.lists(st.integers(0, 300), max_size=40)


def sampler(sizes: list[int], step: int, budget: int = 50, **changes: int) -> StepSampler:
    """Every other row has a reference, the others a ranked response alone."""
    groups = [
        Group(str(number), [1], [Target([2] * size, None if number % 2 else 0, None if number % 2 else 0, ended=True)])
        for number, size in enumerate(sizes)
    ]
    return StepSampler(lambda: sizes, groups, "reference", step, budget, **{"seed": 3, **changes})


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
        assert {part.size for part in parts} == {alone.size}
        assert (alone.size.lists, alone.size.imitating) == (len(rows), sum(row % 2 for row in rows))
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


@given(SIZES, st.integers(1, 500), st.integers(1, 4))
def test_every_item_is_in_one_bin_and_bins_keep_the_budget(sizes: list[int], budget: int, multiple: int) -> None:
    bins = pack(sizes, budget, multiple)
    assert sorted(item for members in bins for item in members) == list(range(len(sizes)))
    assert bins
    assert len(bins) % multiple == 0
    assert all(sum(sizes[item] for item in members) <= budget or len(members) == 1 for members in bins)


@given(st.lists(st.integers(1, 100), min_size=8, max_size=40), st.sampled_from([1, 2, 4]))
def test_bins_are_nearly_even(sizes: list[int], multiple: int) -> None:
    """The rule that takes the largest first leaves no two bins further apart than the largest item."""
    loads = [sum(sizes[item] for item in members) for members in pack(sizes, 400, multiple)]
    assert max(loads) - min(loads) <= max(sizes)


def test_as_many_bins_as_processes_even_where_the_budget_would_hold_all() -> None:
    assert pack([5, 5, 5, 5], 1000, multiple=4) == [[0], [1], [2], [3]]
    assert pack([7], 1000, multiple=2) == [[0], []]
    assert pack([], 10) == [[]]
