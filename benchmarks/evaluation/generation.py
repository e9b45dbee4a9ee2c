"""Greedy answers to prompts of mixed length: the engine's sorted batches against one `generate` after the other.

Both run SmolLM2-135M-Instruct in fp32 with the same number of threads and are given the same prompts.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch

from benchmarks.measure import Spread, interleaved, ratios
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

COLUMNS = (
    "prompts",
    "new tokens",
    "one by one, s",
    "batched, s",
    "times as fast (processor)",
    "(wall)",
    "equal answers",
)
NOTES = (
    f"Median (range) of the rounds, {THREADS} threads. Seconds are those of the processor, which others in need of it"
    " do not change; on the wall they do.",
    "Answers may differ where two tokens are as good as equal: batches round otherwise in the last bits.",
)


@dataclass(frozen=True)
class Result:
    """How the two ways of answering compare."""

    one_by_one: Spread
    batched: Spread
    speedup: Spread
    wall_speedup: Spread
    equal: int

    def row(self) -> list[str]:
        """For a table."""
        figures = (self.one_by_one, self.batched, self.speedup, self.wall_speedup)
        return [f"{PROMPTS}", f"{NEW_TOKENS}", *map(str, figures), f"{self.equal} of {PROMPTS}"]

    def as_json(self) -> dict[str, Any]:
        """Medians and ranges."""
        return {
            "prompts": PROMPTS,
            "new_tokens": NEW_TOKENS,
            "speedup": vars(self.speedup),
            "wall_speedup": vars(self.wall_speedup),
            "equal_answers": self.equal,
        }


def measure(rounds: int) -> list[Result]:
    """Compare both ways."""
    torch.set_num_threads(THREADS)
    asked = requests()
    wall: dict[str, list[float]] = {"plain": [], "ours": []}
    answers: dict[str, dict[str, str]] = {}

    def timed(name: str, run: Callable[[], dict[str, str]]) -> Callable[[], None]:
        def once() -> None:
            start = time.perf_counter()
            answers[name] = run()
            wall[name].append(time.perf_counter() - start)

        return once

    variants = {"plain": timed("plain", plain(asked)), "ours": timed("ours", ours(asked))}
    seconds = interleaved(variants, rounds)
    equal = sum(answers["plain"][request.key] == answers["ours"][request.key] for request in asked)
    return [
        Result(
            Spread.of(seconds["plain"]),
            Spread.of(seconds["ours"]),
            ratios(seconds["plain"], seconds["ours"]),
            ratios(wall["plain"][-rounds:], wall["ours"][-rounds:]),
            equal,
        )
    ]


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


def plain(asked: list[Request]) -> Callable[[], dict[str, str]]:
    """`generate` of transformers, one prompt after the other, with its key-value cache."""
    tokenizer = load_tokenizer(MODEL)
    encoder = PromptEncoder(tokenizer, "chat", MODEL)
    model: Any = load_model(MODEL, precision="fp32").eval()

    @torch.inference_mode()
    def run() -> dict[str, str]:
        answers = {}
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
            answers[request.key] = tokenizer.decode(written[0, ids.shape[1] :], skip_special_tokens=True)
        return answers

    return run


def ours(asked: list[Request]) -> Callable[[], dict[str, str]]:
    """The engine as an evaluation uses it."""
    engine = HuggingFaceEngine(HuggingFaceSettings(model=MODEL, precision="fp32"))

    def run() -> dict[str, str]:
        units = engine.generate(engine.batches(asked), NoJournal())
        return {completion.key: completion.text for unit in units for completion in unit}

    return run
