"""Hugging Face models in this process: loading them, sampling from them, and scoring texts with them.

folder or hub id --> files that are whole (files) --> weights that fit (weights)
requests --> units --> prompts, equal beginnings read once (grouping, reading, cache) --> tokens drawn (decoding)
                  `-> given responses --> log-probabilities from one pass (scoring)
tokens --> text, thoughts apart, or a failure (engines.tokens)
"""

from tunalm.engines.huggingface.engine import HuggingFaceEngine
from tunalm.engines.huggingface.weights import (
    check_model,
    device,
    fast_bf16,
    hardware,
    load_model,
    load_scorer,
    load_tokenizer,
    quiet_transformers,
    resolve_model,
)

__all__ = [
    "HuggingFaceEngine",
    "check_model",
    "device",
    "fast_bf16",
    "hardware",
    "load_model",
    "load_scorer",
    "load_tokenizer",
    "quiet_transformers",
    "resolve_model",
]
