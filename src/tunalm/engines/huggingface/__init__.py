"""Hugging Face models in this process: loading them, sampling from them, and scoring texts with them."""

from tunalm.engines.huggingface.engine import HuggingFaceEngine
from tunalm.engines.huggingface.weights import (
    check_model,
    device,
    fast_bf16,
    hardware,
    load_model,
    load_scorer,
    load_tokenizer,
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
    "resolve_model",
]
