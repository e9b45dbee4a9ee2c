"""Thoughts are told from the answer in the ways in which models write them, and nothing else is taken for thoughts."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tunalm.engines.reasoning import split_thoughts


@pytest.mark.parametrize(
    ("text", "reasoning", "answer"),
    [
        ("Green.", None, "Green."),
        ("", None, ""),
        ("<think>\nA colour.\n</think>\n\nGreen.", "A colour.", "Green."),
        ("A colour.\n</think>\n\nGreen.", "A colour.", "Green."),
        ("  <think>A colour.</think>Green.", "A colour.", "Green."),
        ("<think>\n\n</think>\n\nGreen.", "", "Green."),
        ("<think>One.</think><think>Two.</think>Green.", "One.\nTwo.", "Green."),
        ("<thinking>First {R1} is [ok].</thinking>\n{}", "First {R1} is [ok].", "{}"),
        ("[THINK]A colour.[/THINK]Green.", "A colour.", "Green."),
        ("◁think▷颜色。◁/think▷绿色。", "颜色。", "绿色。"),
        (
            "<|channel|>analysis<|message|>Hm.<|end|><|start|>assistant<|channel|>final<|message|>Green.",
            "Hm.",
            "Green.",
        ),
        ("Sure.\n<think>A colour.</think>Green.", "Sure.\nA colour.", "Green."),
        ("<think>A colour.", "A colour.", None),
        ("<think>One.</think>\n<think>Two", "One.\nTwo", None),
        ("<think>A colour.</think>", "A colour.", ""),
        ("The tag `</think>` ends thoughts.", None, "The tag `</think>` ends thoughts."),
        ("Write text.split('</think>').", None, "Write text.split('</think>')."),
        ('{"evidence": "R1 says </think> {}"}', None, '{"evidence": "R1 says </think> {}"}'),
        ("I think <b>so</b>.", None, "I think <b>so</b>."),
    ],
)
def test_what_stands_after_the_thoughts_is_the_answer(text: str, reasoning: str | None, answer: str | None) -> None:
    split = split_thoughts(text)
    assert (split.reasoning, split.answer) == (reasoning, answer)
    assert answer is None or text[split.start :] == answer


def test_thoughts_that_the_prompt_opened_need_an_end() -> None:
    assert split_thoughts("A colour, which", opened=True).answer is None
    assert split_thoughts("A colour.</think>Green.", opened=True).answer == "Green."


@given(st.text())
def test_any_text_can_be_split(text: str) -> None:
    split = split_thoughts(text)
    assert split.answer is None or text.endswith(split.answer)
