"""Bins of groups: nothing lost, the budget kept, the work even; common beginnings counted once."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from tunalm.training.encoding import Group, Target
from tunalm.training.packing import common_inputs, pack, separate_tokens, shared_tokens, sharing_pays

SIZES = st.lists(st.integers(0, 300), max_size=40)


def group(prompt: int, *targets: list[int]) -> Group:
    return Group("one", list(range(100, 100 + prompt)), [Target(tokens, 0, 0, ended=True) for tokens in targets])


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


def test_what_all_responses_begin_with_belongs_to_the_common_part() -> None:
    lists = group(10, [1, 2, 3, 4], [1, 2, 5], [1, 2, 3, 9, 9])
    assert common_inputs(lists) == 2
    assert shared_tokens(lists) == 10 + 2 + 1 + 0 + 2
    assert separate_tokens(lists) == 13 + 12 + 14
    assert common_inputs(group(3, [1], [1, 2])) == 0  # a single token is a target and never an input


def test_equal_responses_cost_one() -> None:
    twins = group(4, [1, 2, 3], [1, 2, 3])
    assert shared_tokens(twins) == separate_tokens(group(4, [1, 2, 3])) == 6


def test_sharing_must_save_tokens() -> None:
    assert sharing_pays([group(60, [1] * 40, [2] * 40)])
    assert not sharing_pays([group(5, [1] * 400, [2] * 400)])
    assert not sharing_pays([group(50, [1] * 40)])
