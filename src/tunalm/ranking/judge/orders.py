"""In which orders responses are shown, so that no place helps one of them more than another."""

from __future__ import annotations

import math
import random

from tunalm.store import digest


def balanced_orders(size: int, count: int, drawn_with: object) -> list[tuple[int, ...]]:
    """Permutations of 0..size-1 that differ, drawn as whole Latin squares.

    In the `size` rows of a square every item stands in every place once, and for an even size every item follows every
    other one once (a Williams design). So with `count` a multiple of `size` every item stands in every place equally
    often; with another count the times differ by one at most.

    Args:
        size: of the list, at least 1.
        count: orders wanted. There are size! in all, and no more are given.
        drawn_with: decides the draw.
    """
    wanted = min(count, math.factorial(size)) if size < 20 else count
    found: dict[tuple[int, ...], None] = {}
    square = 0
    while len(found) < wanted:
        items = list(range(size))
        random.Random(digest([drawn_with, square])).shuffle(items)
        found |= dict.fromkeys(tuple(items[place] for place in row) for row in _square(size))
        square += 1
    return list(found)[:wanted]


def _square(size: int) -> list[list[int]]:
    first = [(place + 1) // 2 if place % 2 else -(place // 2) for place in range(size)]
    return [[(place + shift) % size for place in first] for shift in range(size)]
