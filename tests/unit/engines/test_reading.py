"""Prompts that are read together: how they are grouped, and that nothing is lost by it."""

from __future__ import annotations

from itertools import chain
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from transformers import AutoModelForCausalLM

from tests.tiny import save_tiny_model
from tunalm.engines.huggingface import reading
from tunalm.engines.huggingface.grouping import by_beginning, common, readings
from tunalm.engines.huggingface.reading import Read, read_prompts

SPARE, MOST = 8, 64
TASKS = [tuple(range(start, start + 40)) for start in (10, 60, 110)]
PROMPTS = [(*TASKS[place % 3], *range(5, 6 + place)) for place in range(12)] + [(3, 4), (3, 9, 9), (7,), (3, 4)]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Any:
    folder: Path = save_tiny_model(tmp_path_factory.mktemp("model"), initializer_range=0.5)
    return AutoModelForCausalLM.from_pretrained(folder).eval()


@given(st.lists(st.text("ab", max_size=9), max_size=12))
def test_texts_of_a_group_share_half_of_each_other(texts: list[str]) -> None:
    groups = by_beginning(texts)
    assert sorted(chain.from_iterable(groups)) == list(range(len(texts)))
    for group in groups:
        shared = min(common(texts[group[0]], texts[place]) for place in group)
        assert len(group) == 1 or 2 * shared >= max(len(texts[place]) for place in group)


prompts = st.lists(st.lists(st.integers(0, 2), min_size=1, max_size=30).map(tuple), min_size=1, unique=True)


@given(prompts)
def test_every_prompt_is_read_once_and_each_has_a_token_of_its_own(prompts: list[tuple[int, ...]]) -> None:
    planned = readings(prompts, SPARE, MOST)
    passes = [places for one in planned for places in one.passes]
    assert sorted(chain.from_iterable(passes)) == list(range(len(prompts)))
    for one in planned:
        members = [prompts[place] for places in one.passes for place in places]
        assert len({prompt[: one.shared] for prompt in members}) == 1
        assert all(len(prompt) > one.shared for prompt in members)
        for places in one.passes:
            lengths = [len(prompts[place]) - one.shared for place in places]
            assert len(places) == 1 or max(lengths) * len(places) <= MOST
            assert max(lengths) * len(places) - sum(lengths) <= SPARE


def test_what_a_task_begins_with_is_read_once() -> None:
    distinct = [*dict.fromkeys(PROMPTS)]
    shared = [one.shared for one in readings(distinct, SPARE, MOST)]
    assert shared == [40, 41, 42, 0], "but for the last token of the shortest"


def test_reading_in_passes_is_reading_one_by_one(model: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(reading.SPARE, "cpu", SPARE)
    monkeypatch.setitem(reading.MOST, "cpu", MOST)
    with torch.inference_mode():
        together = read_prompts(model, PROMPTS, pad=0)
        assert together.mask.sum(-1).tolist() == together.next_position.tolist() == [len(one) for one in PROMPTS]
        tokens = torch.arange(20, 20 + len(PROMPTS))
        for row, prompt in enumerate(PROMPTS):
            alone = read_prompts(model, [prompt], pad=0)
            assert torch.allclose(together.logits[row], alone.logits[0], atol=1e-4)
            written = model(torch.tensor([[*prompt, int(tokens[row])]])).logits[0, -1]
            assert torch.allclose(_after(model, alone, tokens[row : row + 1])[0], written, atol=1e-4)
        after = _after(model, together, tokens)
        for row, prompt in enumerate(PROMPTS):
            expected = model(torch.tensor([[*prompt, int(tokens[row])]])).logits[0, -1]
            assert torch.allclose(after[row], expected, atol=1e-4)


def _after(model: Any, read: Read, tokens: torch.Tensor) -> torch.Tensor:
    """Logits after one more token per row."""
    logits: torch.Tensor = model(
        tokens[:, None],
        attention_mask=torch.cat([read.mask, read.mask.new_ones(len(tokens), 1)], dim=-1),
        position_ids=read.next_position[:, None],
        past_key_values=read.cache,
    ).logits[:, -1]
    return logits


def test_a_model_that_forgets_reads_all_prompts_at_once(model: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    passes = []

    def counted(*arguments: Any) -> Read:
        passes.append(len(arguments[2]))
        return _read_on(*arguments)

    _read_on = reading._read_on
    monkeypatch.setattr(reading, "can_be_joined", lambda cache: False)
    monkeypatch.setattr(reading, "_read_on", counted)
    with torch.inference_mode():
        read = read_prompts(model, PROMPTS, pad=0)
        alone = read_prompts(model, PROMPTS[:1], pad=0)
    assert passes == [len(set(PROMPTS)), 1]
    assert torch.allclose(read.logits[0], alone.logits[0], atol=1e-4)
