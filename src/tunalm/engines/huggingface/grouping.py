"""Which texts are read together: those that begin alike, so that this is read once, and those of about one length."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeVar

Tokens = tuple[int, ...]
Text = TypeVar("Text", str, Tokens)
Item = TypeVar("Item")


@dataclass(frozen=True)
class Reading:
    """Some texts of a list that all begin alike."""

    shared: int
    """Tokens with which all begin; at least one of each follows."""
    passes: list[list[int]]
    """What is read at a time, as places in the list."""


def common(one: Text, other: Text) -> int:
    """How many characters, or tokens, two texts begin alike with."""
    low, high = 0, min(len(one), len(other))
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if one[low:middle] == other[low:middle] else (low, middle - 1)
    return low


def by_beginning(texts: Sequence[Text]) -> list[list[int]]:
    """Group texts, named by their places, that share at least half of each other, from the beginning."""
    groups: list[list[int]] = []
    shared = longest = 0
    for place in sorted(range(len(texts)), key=texts.__getitem__):
        text = texts[place]
        longest = max(longest, len(text))
        if groups and 2 * (alike := min(shared, common(texts[groups[-1][-1]], text))) >= longest:
            groups[-1].append(place)
            shared = alike
        else:
            groups.append([place])
            shared = longest = len(text)
    return groups


def runs(
    items: Iterable[Item], length: Callable[[Item], float], fits: Callable[[list[float]], bool]
) -> Iterator[list[Item]]:
    """Cut items, in the order given, into runs as long as fit.

    Args:
        items: what is read or written together.
        length: of an item.
        fits: whether items of these lengths may be one run; one item alone always may.
    """
    run: list[Item] = []
    lengths: list[float] = []
    for item in items:
        lengths.append(length(item))
        if run and not fits(lengths):
            yield run
            run, lengths = [], lengths[-1:]
        run.append(item)
    if run:
        yield run


def readings(prompts: Sequence[Tokens], spare: int, most: int) -> list[Reading]:
    """Plan how prompts are read with few tokens computed twice, or for nothing.

    Args:
        prompts: distinct ones.
        spare: tokens that are computed in the time that one more pass takes at least.
        most: tokens of a pass, padding included; one prompt may have more.
    """
    head = _shared([*range(len(prompts))], prompts)
    groups, rest = [], []
    for group in by_beginning(prompts):
        saved = (len(group) - 1) * (_shared(group, prompts) - head)
        if saved > 2 * spare:
            groups.append(group)
        else:
            rest += group
    if rest:
        groups.append(rest)
    planned = []
    for group in groups:
        shared = _shared(group, prompts)
        lengths = {place: len(prompts[place]) - shared for place in group}
        passes = runs(
            sorted(group, key=lengths.__getitem__),
            lengths.__getitem__,
            lambda found: len(found) * max(found) <= min(most, sum(found) + spare),
        )
        planned.append(Reading(shared, list(passes)))
    return planned


def _shared(group: Sequence[int], prompts: Sequence[Tokens]) -> int:
    first, last = (pick(prompts[place] for place in group) for pick in (min, max))
    return min(common(first, last), len(first) - 1, len(last) - 1)
