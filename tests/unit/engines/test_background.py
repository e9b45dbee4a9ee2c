from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest

from tunalm.engines.vllm.background import Background


@pytest.fixture(scope="module")
def background() -> Iterator[Background]:
    made = Background("test")
    yield made
    made.stop()


def test_answers_come_as_they_are_ready(background: Background) -> None:
    first_may_end = asyncio.Event()

    async def answer(item: int) -> int:
        if item == 0:
            await first_may_end.wait()
        if item == 2:
            first_may_end.set()
        return item

    assert list(background.each([(0, 1), (1, 1), (2, 1)], answer, room=3)) == [1, 2, 0]


def test_items_take_no_more_room_than_there_is(background: Background) -> None:
    taken, most = 0, 0

    async def answer(item: int) -> int:
        nonlocal taken, most
        taken += item
        most = max(most, taken)
        for _ in range(5):
            await asyncio.sleep(0)
        taken -= item
        return item

    sizes = [1, 3, 2, 4, 1, 1, 2, 3] * 5
    assert sorted(background.each([(size, size) for size in sizes], answer, room=4)) == sorted(sizes)
    assert most == 4


def test_an_error_ends_the_work(background: Background) -> None:
    begun: list[int] = []

    async def answer(item: int) -> int:
        begun.append(item)
        if item == 3:
            raise ValueError("three")
        return item

    answers = background.each([(item, 1) for item in range(1000)], answer, room=1)
    assert [next(answers) for _ in range(3)] == [0, 1, 2]
    with pytest.raises(ValueError, match="three"):
        next(answers)


def test_leaving_cancels_what_is_under_way(background: Background) -> None:
    cancelled = asyncio.Event()

    async def forever(item: int) -> int:
        if item == 0:
            return item
        try:
            await asyncio.get_running_loop().create_future()
        finally:
            cancelled.set()
        return item

    answers = background.each([(0, 1), (1, 1)], forever, room=2)
    assert next(answers) == 0
    answers.close()  # type: ignore[attr-defined]

    async def seen(item: int) -> bool:
        return await asyncio.wait_for(cancelled.wait(), 10)

    assert list(background.each([(0, 1)], seen, room=1)) == [True]


def test_nothing_to_do(background: Background) -> None:
    async def answer(item: int) -> int:
        return item

    assert list(background.each([], answer, room=1)) == []
