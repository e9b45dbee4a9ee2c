"""A tokenizer and a model of a few thousand weights that go through everything real ones go through."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import (
    AutoModelForSequenceClassification,
    AutoTokenizer,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedTokenizerFast,
)

END = "<|end|>"
TEMPLATE = (
    "{% for message in messages %}<|{{ message['role'] }}|>{{ message['content'] }}"
    + END
    + "{% endfor %}{% if add_generation_prompt %}<|assistant|>{% endif %}"
)


def tiny_tokenizer(template: str | None = TEMPLATE) -> PreTrainedTokenizerFast:
    """One token per byte, and the marks of a chat template; padding is the end token."""
    alphabet = {char: index for index, char in enumerate(sorted(pre_tokenizers.ByteLevel.alphabet()))}
    core = Tokenizer(models.BPE(vocab=alphabet, merges=[]))
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    core.decoder = decoders.ByteLevel()
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=core, eos_token=END, pad_token=END)
    tokenizer.add_special_tokens({"additional_special_tokens": ["<|system|>", "<|user|>", "<|assistant|>"]})
    tokenizer.chat_template = template
    return tokenizer


def save_tiny_model(folder: Path, template: str | None = TEMPLATE, **changes: Any) -> Path:
    """Write a random Llama with two layers, always the same, and its tokenizer; base models have no template."""
    tokenizer = tiny_tokenizer(template)
    torch.manual_seed(0)
    shape = {
        "vocab_size": len(tokenizer),
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "num_key_value_heads": 1,
        "max_position_embeddings": 1024,
        "eos_token_id": tokenizer.eos_token_id,
        "pad_token_id": tokenizer.eos_token_id,
        "bos_token_id": None,
    }
    LlamaForCausalLM(LlamaConfig(**shape | changes)).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def save_tiny_scorer(folder: Path, language_model: Path, max_length: int) -> Path:
    """Write a model that has a random head with one output on a language model, and reads so many tokens."""
    torch.manual_seed(0)
    AutoModelForSequenceClassification.from_pretrained(language_model, num_labels=1).save_pretrained(folder)
    tokenizer = AutoTokenizer.from_pretrained(language_model)
    tokenizer.model_max_length = max_length
    tokenizer.save_pretrained(folder)
    return folder
