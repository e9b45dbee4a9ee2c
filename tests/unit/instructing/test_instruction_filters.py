"""Which new instructions are kept, in English and elsewhere."""

from __future__ import annotations

from typing import Any

import pytest

from tunalm.instructing.filters import Filter
from tunalm.recipe import Instruct

SEEDS = ["Sort the given numbers in ascending order.", "按升序排列给定的数字并解释原因。"]


def reasons(texts: list[str], **knobs: Any) -> list[str | None]:
    given = {"kind": "instruct", "engine": {"kind": "scripted"}, "seeds": "x", **knobs}
    found = Filter(Instruct.model_validate(given), SEEDS).take(texts)
    return [None if each is None else each.reason for each in found]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("Name three colours now.", None),
        ("Name three colours.", "too short"),
        ("word " * 150, None),
        ("word " * 151, "too long"),
        ("Describe the IMAGE in words.", "a blocked word"),
        ("Find out where to go to.", "a blocked word"),
        ("Name the imagery of this poem.", None),
        ("Write a program that sorts lists.", "a blocked start"),
        ("(Sort) these words by length.", "begins with punctuation"),
        ("Écris une lettre à ta mère.", "begins with a character that is not ASCII"),
        ("Sort the given numbers in descending order.", "similar to another one"),
        ("sort the given numbers in ascending order.", "repeat"),
    ],
)
def test_the_published_rules(text: str, reason: str | None) -> None:
    assert reasons([text.strip()]) == [reason]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("写一首关于秋天的短诗。", None),
        ("写诗。", "too short"),
        ("请描述这张图片的内容。", "a blocked word"),
        ("按降序排列给定的数字并解释原因。", "similar to another one"),
        ("「朝」という言葉で俳句を作ってください。", None),
        ("¿Cuál es la capital de Francia?", None),
        ("เขียนบทกวีสั้น ๆ เกี่ยวกับฝน", None),
    ],
)
def test_other_scripts_are_counted_and_compared_by_their_own_words(text: str, reason: str | None) -> None:
    assert reasons([text], rouge_tokenizer="unicode", blocked_words=["图片"]) == [reason]


def test_a_batch_is_compared_with_itself_and_what_is_left_out_is_compared_with_nothing() -> None:
    first, second = "List five animals that live in Africa.", "List five animals that live in Asia."
    assert reasons([first, second, f"({second}", first]) == [
        *(None, "similar to another one"),
        *("begins with punctuation", "repeat"),
    ]
