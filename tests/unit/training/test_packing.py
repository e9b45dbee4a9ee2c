"""Common beginnings are counted once."""

from __future__ import annotations

from tunalm.training.encoding import Group, Target
from tunalm.training.packing import common_inputs, separate, tokens_read


def group(prompt: int, *targets: list[int]) -> Group:
    return Group("one", list(range(100, 100 + prompt)), [Target(tokens, 0, 0, ended=True) for tokens in targets])


def test_what_all_responses_begin_with_belongs_to_the_common_part() -> None:
    lists = group(10, [1, 2, 3, 4], [1, 2, 5], [1, 2, 3, 9, 9])
    assert common_inputs(lists) == 2
    assert tokens_read(lists) == 10 + 2 + 1 + 0 + 2
    assert [tokens_read(part) for part in separate([lists])] == [13, 12, 14]
    assert common_inputs(group(3, [1], [1, 2])) == 0  # a single token is a target and never an input


def test_equal_responses_cost_one() -> None:
    twins = group(4, [1, 2, 3], [1, 2, 3])
    assert tokens_read(twins) == tokens_read(group(4, [1, 2, 3])) == 6
