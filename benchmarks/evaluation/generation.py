"""Greedy answers to questions as an evaluation asks them: the engine's batches against one `generate` after the other.

Both run SmolLM2-135M-Instruct in fp32 with the same number of threads, the same prompts and the limits of the published
benchmarks. What decides the speed of an evaluation is in its prompts and in how long answers are: half of the questions
are shaped like those of Super-NI, many of which share a definition that is as long as the question itself, and half
like LMentry's, which are one short line. Answers are as long as the model makes them, mostly a line and sometimes all
that it may write. There are no more of a kind than make one batch: a real evaluation asks thousands, in batches that
are fuller, and more of a task.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from benchmarks.evaluation.comparison import Comparison, compare
from tunalm.data.checkable import generate
from tunalm.data.prompts import PromptEncoder
from tunalm.engines.base import Journal, Request
from tunalm.engines.huggingface import HuggingFaceEngine, load_model, load_tokenizer
from tunalm.engines.tokens import prompt_ids
from tunalm.evaluation.lmentry.benchmark import LMentryBenchmark
from tunalm.evaluation.superni.benchmark import SuperNIBenchmark
from tunalm.recipe import HuggingFaceSettings
from tunalm.records import Message

MODEL = "embedded:smollm2"
QUESTIONS = 48
"""Of each kind."""
LINES = 6
"""Most lines of the text that a question with a definition is about; there are as many questions with one line."""
THREADS = 2

WANTED = 4.0
"""Speedup that was to be reached, with two threads."""

DEFINITIONS = (
    "In this task you are given a few instructions that people wrote for an assistant, one on each line. Decide whether"
    " all of them can be answered with a single word or number. Look at nothing but what is asked for: it makes no"
    ' difference whether an answer would be hard to find. Your answer must be "Yes" if one word is enough for each of'
    ' them, and "No" if at least one calls for a sentence.',
    "You will be shown a short text that consists of several instructions. Your task is to write a title for the text."
    " A good title is a phrase of three to eight words that tells what the instructions have in common, does not repeat"
    " any of them word by word, and does not end with a full stop. Do not carry out the instructions.",
    "Given several lines, each of which asks for something, write one question that a reader could ask about them and"
    " that is answered by a word in the text. The question must begin with a question word such as who, what, which or"
    " how many, it must be possible to answer it from the text alone, and it must end with a question mark.",
    "In this task, you will find a list of instructions. Pick the first one and write it again in other words. The new"
    " instruction must ask for exactly the same, so every word in quotation marks and every number has to stay as it"
    " is. Change the order of the words, or use others for them, and keep to one sentence.",
)
"""One for each of four tasks."""


def measure(rounds: int) -> list[Comparison]:
    """Compare both ways on each kind of questions."""
    torch.set_num_threads(THREADS)
    return [
        compare(
            f"answers, {kind}, {THREADS} threads",
            "generate, one by one",
            plain(asked),
            ours(asked),
            rounds=rounds,
            wanted=WANTED,
            warm_up=0,
        )
        for kind, asked in requests().items()
    ]


def requests() -> dict[str, list[Request]]:
    """The questions by what they are like."""
    lines = [row.instruction for row in generate("heldout")]
    asked = {
        "with definitions": [
            f"{DEFINITIONS[number % len(DEFINITIONS)]}\n\n"
            + "\n".join(_text(lines, number, number // len(DEFINITIONS)))
            for number in range(QUESTIONS)
        ],
        "one line": lines[:: max(len(lines) // QUESTIONS, 1)][:QUESTIONS],
    }
    lengths = {"with definitions": SuperNIBenchmark.max_new_tokens, "one line": LMentryBenchmark.max_new_tokens}
    return {
        kind: [
            Request(
                key=str(number),
                messages=[Message(role="user", content=text)],
                temperature=0.0,
                max_new_tokens=lengths[kind],
            )
            for number, text in enumerate(texts)
        ]
        for kind, texts in asked.items()
    }


def _text(lines: list[str], number: int, turn: int) -> list[str]:
    """Some of the lines, from far apart, so many as is the turn of."""
    return lines[number :: len(lines) // LINES][: 1 + turn % LINES]


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
        units = engine.generate(engine.batches(asked), Journal())
        answers = {completion.key: completion.text for unit in units for completion in unit}
        return [answers[request.key] for request in asked]

    return run
