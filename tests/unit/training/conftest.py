"""A byte tokenizer and random models of a few thousand weights."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import (
    LlamaConfig,
    LlamaForCausalLM,
    MistralConfig,
    MistralForCausalLM,
    PreTrainedTokenizerFast,
    Qwen2Config,
    Qwen2ForCausalLM,
)

from tunalm.data.prompts import PromptEncoder
from tunalm.records import Ranking, Response

END = "<|end|>"
TEMPLATE = (
    "{% for message in messages %}<|{{ message['role'] }}|>{{ message['content'] }}"
    + END
    + "{% endfor %}{% if add_generation_prompt %}<|assistant|>{% endif %}"
)
KINDS: dict[str, tuple[Any, Any]] = {
    "llama": (LlamaConfig, LlamaForCausalLM),
    "qwen2": (Qwen2Config, Qwen2ForCausalLM),
    "mistral": (MistralConfig, MistralForCausalLM),
}


@pytest.fixture(scope="module", autouse=True)
def _small_heap() -> Iterator[None]:
    """Every run of the trainer collects garbage: spare it the half million objects of the libraries."""
    gc.collect()
    gc.freeze()
    yield
    gc.unfreeze()


@pytest.fixture
def tokenizer() -> PreTrainedTokenizerFast:
    """One token per byte, and the marks of a chat template; padding is the end token."""
    alphabet = {char: index for index, char in enumerate(sorted(pre_tokenizers.ByteLevel.alphabet()))}
    core = Tokenizer(models.BPE(vocab=alphabet, merges=[]))
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    core.decoder = decoders.ByteLevel()
    made = PreTrainedTokenizerFast(tokenizer_object=core, eos_token=END, pad_token=END)
    made.add_special_tokens({"additional_special_tokens": ["<|system|>", "<|user|>", "<|assistant|>"]})
    made.chat_template = TEMPLATE
    return made


@pytest.fixture
def encoder(tokenizer: PreTrainedTokenizerFast) -> PromptEncoder:
    return PromptEncoder(tokenizer, "chat", "tiny")


@pytest.fixture
def make_model(tokenizer: PreTrainedTokenizerFast) -> Callable[..., Any]:
    """Makes a random model, the same one every time; large weights, so that what a token sees matters."""

    def make(kind: str = "llama", attention: str = "sdpa", **changes: Any) -> Any:
        config, model = KINDS[kind]
        torch.manual_seed(0)
        return model(
            config(
                vocab_size=len(tokenizer),
                hidden_size=32,
                intermediate_size=48,
                num_hidden_layers=2,
                num_attention_heads=4,
                num_key_value_heads=2,
                max_position_embeddings=512,
                initializer_range=0.3,
                eos_token_id=tokenizer.eos_token_id,
                pad_token_id=tokenizer.eos_token_id,
                bos_token_id=None,
                attn_implementation=attention,
                **changes,
            )
        )

    return make


@pytest.fixture
def model_folder(tmp_path: Path, make_model: Callable[..., Any], tokenizer: PreTrainedTokenizerFast) -> Path:
    folder = tmp_path / "base"
    make_model().save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture
def rows() -> list[Ranking]:
    """Ten lists of unequal length, with ties, an absent response, and one row with nothing but a reference."""
    made = [
        Ranking(
            id=f"row-{n}",
            instruction="Say " + "again " * (n % 3) + str(n),
            reference=f"It is {n}" + "." * n,
            responses=[
                Response(text="yes " * (n % 4 + 1), rank=0),
                Response(text="no", rank=1),
                Response(text="never " * 3, rank=1 if n % 2 else 2),
                Response(text="lost", rank=None),
            ][: 2 + n % 3],
        )
        for n in range(9)
    ]
    return [*made, Ranking(id="row-9", instruction="Say it", reference="Fine.", responses=[])]
