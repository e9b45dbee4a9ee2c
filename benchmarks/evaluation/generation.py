"""Greedy answers to prompts of mixed length: the engine's sorted batches against one `generate` after the other.

Both run SmolLM2-135M-Instruct in fp32 with the same number of threads and are given the same prompts.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from benchmarks.evaluation.comparison import Comparison, compare
from tunalm.data.checkable import generate
from tunalm.data.prompts import PromptEncoder
from tunalm.engines.base import NoJournal, Request
from tunalm.engines.huggingface import HuggingFaceEngine, load_model, load_tokenizer
from tunalm.engines.tokens import prompt_ids
from tunalm.recipe import HuggingFaceSettings
from tunalm.records import Message

MODEL = "embedded:smollm2"
PROMPTS = 24
NEW_TOKENS = 32
THREADS = 2

WANTED = 4.0
"""Speedup that was to be reached, with two threads."""


def measure(rounds: int) -> list[Comparison]:
    """Compare both ways."""
    torch.set_num_threads(THREADS)
    asked = requests()
    what = f"{NEW_TOKENS} tokens per prompt, {THREADS} threads"
    return [compare(what, "generate, one by one", plain(asked), ours(asked), rounds=rounds, wanted=WANTED)]


def requests() -> list[Request]:
    """Instructions of many lengths, from four words to some seventy."""
    texts = sorted({row.instruction for row in generate("heldout")}, key=lambda text: (len(text), text))
    chosen = [texts[place * (len(texts) - 1) // (PROMPTS - 1)] for place in range(PROMPTS)]
    return [
        Request(
            key=str(place),
            messages=[Message(role="user", content="\n".join([*chosen[: place // 3], text]))],
            temperature=0.0,
            max_new_tokens=NEW_TOKENS,
        )
        for place, text in enumerate(chosen)
    ]


def plain(asked: list[Request]) -> Callable[[], list[str]]:
    """`generate` of transformers, one prompt after the other, with its key-value cache."""
    tokenizer = load_tokenizer(MODEL)
    encoder = PromptEncoder(tokenizer, "chat", MODEL)
    model: Any = load_model(MODEL, precision="fp32").eval()

    @torch.inference_mode()
    def run() -> list[str]:
        answers = []
        for request in asked:
            ids = torch.tensor([prompt_ids(request, encoder)])
            written = model.generate(
                ids,
                attention_mask=torch.ones_like(ids),
                do_sample=False,
                max_new_tokens=request.max_new_tokens,
                eos_token_id=list(encoder.stop_ids),
                pad_token_id=encoder.end_id,
            )
            answers.append(tokenizer.decode(written[0, ids.shape[1] :], skip_special_tokens=True))
        return answers

    return run


def ours(asked: list[Request]) -> Callable[[], list[str]]:
    """The engine as an evaluation uses it."""
    engine = HuggingFaceEngine(HuggingFaceSettings(model=MODEL, precision="fp32"))

    def run() -> list[str]:
        units = engine.generate(engine.batches(asked), NoJournal())
        answers = {completion.key: completion.text for unit in units for completion in unit}
        return [answers[request.key] for request in asked]

    return run
