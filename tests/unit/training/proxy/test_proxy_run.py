"""The stage `proxy`, from ranked lists to a folder that transformers loads, and the figures of what it learned."""

from __future__ import annotations

import random
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from tunalm.calls.context import StageContext
from tunalm.data.prompts import PromptEncoder
from tunalm.errors import DataError
from tunalm.recipe import Lists, Proxy
from tunalm.records import Ranking, Response
from tunalm.store import Summary, write_rows
from tunalm.training.encoding import encode_row
from tunalm.training.metrics import read_metrics
from tunalm.training.proxy.scores import sequence_scores
from tunalm.training.routes import Route

WORDS = ["ash", "elm", "fir", "oak", "box"]


def planted(count: int, seed: int = 0) -> list[Ranking]:
    """Lists of three texts of equal length in which the one that says 'yew' more often is better."""
    draw = random.Random(seed)
    rows = []
    for number in range(count):
        responses = []
        for rank, times in enumerate((4, 2, 0)):
            words = ["yew"] * times + draw.choices(WORDS, k=5 - times)
            draw.shuffle(words)
            responses.append(Response(text=" ".join(words), rank=rank))
        draw.shuffle(responses)
        rows.append(Ranking(id=f"{seed}-{number}", instruction=f"Name trees, {number}.", responses=responses))
    return rows


@pytest.fixture
def train(train: Callable[..., Summary]) -> Callable[..., Summary]:
    return partial(train, kind=Proxy, token_budget=1024)


def load(folder: Path) -> Any:
    return AutoModelForSequenceClassification.from_pretrained(folder)


def test_it_learns_a_planted_rule(train: Callable[..., Summary], context: StageContext) -> None:
    summary = train(planted(120), held_out=0.25, epochs=4, batch_size=8, learning_rate=5e-3)
    figures = summary.details["held_out"]
    assert figures["lists"] == 30
    assert figures["pair_accuracy"]["proxy"]["value"] > 0.9
    assert figures["top1"]["proxy"]["value"] > 0.9
    assert figures["kendall_tau"]["gain"]["value"] > 0.8
    assert figures["kendall_tau"]["length"]["value"] == 0
    assert summary.details["trained"] == 90
    losses = [line["loss"] for line in read_metrics(context.folder / "metrics.jsonl")]
    assert losses[-1] < losses[0]


def test_the_saved_folder_scores_a_conversation_by_transformers_alone(
    train: Callable[..., Summary], context: StageContext, rows: list[Ranking]
) -> None:
    train(max_length=64)
    assert sorted(path.name for path in context.folder.iterdir()) == ["metrics.jsonl", "model", "training.json"]
    model, tokenizer = load(context.folder / "model").eval(), AutoTokenizer.from_pretrained(context.folder / "model")
    assert (model.dtype, model.config.num_labels, tokenizer.model_max_length) == (torch.float32, 1, 64)
    encoder = PromptEncoder(tokenizer, "chat", "proxy")
    group = encode_row(rows[2].model_copy(update={"reference": None}), encoder, 64)
    assert group is not None
    texts = []
    for target in group.targets:
        answer = {"role": "assistant", "content": rows[2].responses[target.number or 0].text}
        turns = [{"role": "user", "content": rows[2].instruction}, answer]
        texts.append(str(tokenizer.apply_chat_template(turns, tokenize=False)).removesuffix(tokenizer.eos_token))
    with torch.no_grad():
        padded = model(**tokenizer(texts, padding=True, add_special_tokens=False, return_tensors="pt")).logits[:, 0]
        ours = sequence_scores(model, [group], Route("padded", None), encoder.end_id).means
    assert torch.allclose(padded, ours, atol=1e-5)


def test_lists_may_be_held_out_by_a_file(train: Callable[..., Summary], tmp_path: Path, rows: list[Ranking]) -> None:
    other = tmp_path / "other.jsonl"
    write_rows(other, rows[:2])
    held_out = Lists(source=str(other))
    with pytest.raises(DataError, match="held out"):
        train(rows[:2], held_out_rankings=held_out)
    details = train(held_out_rankings=held_out).details
    assert (details["held_out"]["lists"], details["rows"]) == (2, len(rows) - 2)


def test_lists_that_cannot_show_anything_are_counted(train: Callable[..., Summary], tmp_path: Path) -> None:
    data = planted(4)
    data[0].responses = [each.model_copy(update={"rank": 0}) for each in data[0].responses]
    data[1] = data[1].model_copy(update={"instruction": "long " * 100})
    other = tmp_path / "other.jsonl"
    write_rows(other, data)
    found = train(held_out_rankings=Lists(source=str(other)), max_length=128).details["held_out"]
    assert (found["lists"], found["left_out"]) == (2, 2)


def test_adapters_end_in_a_model_that_scores(train: Callable[..., Summary], context: StageContext) -> None:
    details = train(planted(40), lora_rank=4, epochs=3, held_out=0.2).details
    assert (context.folder / "adapter" / "adapter_model.safetensors").is_file()
    model = load(context.folder / "model")
    assert model.config.num_labels == 1
    assert details["held_out"]["lists"] == 8


def test_nothing_need_be_held_out_and_a_list_without_weight_teaches_nothing(train: Callable[..., Summary]) -> None:
    data = planted(6)
    data[0].weight = 0.0
    details = train(data, held_out=0).details
    assert (details["held_out"]["lists"], details["rows"], details["idle"]) == (0, 6, 1)
