"""Four responses to each prompt: the engine for models in this process against `generate` of transformers at its best.

`python -m benchmarks.sampling [--prompts 2] [--rounds 5] [--others] [--json PATH]`. Both have the shape of SmolLM2-135M
with random weights in float32, prompts of 256 tokens and 64 new ones, one thread, and must write the same greedy text
before anything is timed. `generate` gets all prompts in one batch and asks for all responses of each; ours also gives
the log-probability of every token. With `--others` the same is asked of llama.cpp and vLLM where they are installed.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import AutoModelForCausalLM, LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from benchmarks.measure import Spread, interleaved, machine, ratios, show, write_json
from tunalm.engines import open_engine
from tunalm.engines.base import Completion, Engine, Journal, Request
from tunalm.engines.models import embedded_folder
from tunalm.errors import ModelError
from tunalm.recipe import HuggingFaceSettings, VllmSettings
from tunalm.recipe.models import EMBEDDED
from tunalm.records import Message

RESPONSES = 4
PROMPT_TOKENS = 256
NEW_TOKENS = 64
SHAPE = {
    "vocab_size": 49152,
    "hidden_size": 576,
    "intermediate_size": 1536,
    "num_hidden_layers": 30,
    "num_attention_heads": 9,
    "num_key_value_heads": 3,
    "max_position_embeddings": 8192,
    "tie_word_embeddings": True,
}
END = 0
TO_REACH = {"prefill": 3.5, "whole": 1.2}
GGUF = "embedded:smollm2"
COLUMNS = ("engine", "prefill, s", "whole, s", "new tokens/s", "prefill over generate", "whole over generate")


@dataclass(frozen=True)
class Row:
    """Figures of one engine; seconds of the processor where there are ratios, else of the wall."""

    engine: str
    prefill: Spread | None
    whole: Spread
    tokens: int
    over: dict[str, Spread]
    """How many times as long `generate` takes for the prefill and for the whole."""

    def cells(self) -> list[str]:
        """For a table."""
        ratio = [str(self.over.get(part, "")) for part in TO_REACH]
        per_second = f"{self.tokens / self.whole.median:.1f}"
        return [self.engine, "" if self.prefill is None else str(self.prefill), str(self.whole), per_second, *ratio]

    def as_json(self) -> dict[str, Any]:
        """Everything."""
        return {
            "engine": self.engine,
            "seconds": {"prefill": self.prefill and vars(self.prefill), "whole": vars(self.whole)},
            "tokens_per_second": self.tokens / self.whole.median,
            "over": {
                part: {**vars(spread), "to_reach": TO_REACH[part], "reached": spread.median >= TO_REACH[part]}
                for part, spread in self.over.items()
            },
        }


class DisagreementError(AssertionError):
    """The two do not write the same."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Compare, measure, print one table; 1 if greedy texts differ."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.sampling", description=main.__doc__)
    parser.add_argument("--prompts", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--others", action="store_true", help="also llama.cpp and vLLM, where they are installed")
    parser.add_argument("--json", type=Path, metavar="PATH")
    asked = parser.parse_args(arguments)
    if asked.rounds < 1 or asked.prompts < 1:
        parser.error("--rounds and --prompts must be at least 1")
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        save_model(Path(folder), SHAPE)
        try:
            rows = measure(Path(folder), prompts_of(asked.prompts), asked.rounds)
        except DisagreementError as error:
            print(error, file=sys.stderr)
            return 1
        if asked.others:
            rows += others(Path(folder), asked.prompts)
    title = f"{RESPONSES} responses to {asked.prompts} prompts on {machine()['device']}, {asked.rounds} rounds"
    notes = (
        f"Prompts of {PROMPT_TOKENS} tokens, {NEW_TOKENS} new ones, one thread, float32 if nothing else is said.",
        "Median (minimum-maximum) of the rounds; seconds of the processor, but of the wall where an engine says so.",
        f"To reach over generate: {TO_REACH['prefill']} for the prefill, {TO_REACH['whole']} for the whole.",
    )
    show(title, COLUMNS, [row.cells() for row in rows], notes)
    if asked.json:
        write_json(asked.json, "sampling", "cpu", [row.as_json() for row in rows])
    return 0


def measure(folder: Path, prompts: Sequence[str], rounds: int, new_tokens: int = NEW_TOKENS) -> list[Row]:
    """Time both, side by side.

    Raises:
        DisagreementError: their greedy texts differ.
    """
    engine, plain = open_engine(HuggingFaceSettings(model=str(folder), precision="fp32")), Plain(folder)
    if plain.greedy(prompts, new_tokens) != greedy(engine, prompts, new_tokens):
        raise DisagreementError("the engine and generate do not write the same greedy text")
    seconds = interleaved(
        {
            "generate prefill": lambda: plain.sample(prompts, 1),
            "ours prefill": lambda: sample(engine, prompts, 1),
            "generate whole": lambda: plain.sample(prompts, new_tokens),
            "ours whole": lambda: sample(engine, prompts, new_tokens),
        },
        rounds,
    )
    tokens = RESPONSES * len(prompts) * new_tokens
    over = {part: ratios(seconds[f"generate {part}"], seconds[f"ours {part}"]) for part in TO_REACH}
    names = {"generate": "transformers generate", "ours": "tunalm, huggingface (with log-probabilities)"}
    return [
        Row(
            names[name],
            Spread.of(seconds[f"{name} prefill"]),
            Spread.of(seconds[f"{name} whole"]),
            tokens,
            over if name == "ours" else {},
        )
        for name in names
    ]


class Plain:
    """`generate` with everything that makes it fast here: one batch, padding on the left, no filter of the logits."""

    def __init__(self, folder: Path) -> None:
        self._model: Any = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
        self._tokenizer = PreTrainedTokenizerFast.from_pretrained(folder, padding_side="left")

    def sample(self, prompts: Sequence[str], new_tokens: int) -> None:
        """Draw all responses."""
        self._generate(prompts, new_tokens, do_sample=True, top_k=0, num_return_sequences=RESPONSES)

    def greedy(self, prompts: Sequence[str], new_tokens: int) -> list[str]:
        """The most likely responses."""
        written = self._generate(prompts, new_tokens, do_sample=False)
        return [self._tokenizer.decode(row) for row in written]

    def _generate(self, prompts: Sequence[str], new_tokens: int, **options: Any) -> Any:
        read = self._tokenizer(list(prompts), return_tensors="pt", padding=True)
        read.pop("token_type_ids", None)
        with torch.inference_mode():
            written = self._model.generate(**read, max_new_tokens=new_tokens, min_new_tokens=new_tokens, **options)
        return written[:, read["input_ids"].shape[1] :]


def sample(engine: Engine, prompts: Sequence[str], new_tokens: int) -> list[Completion]:
    """Draw all responses, as a stage does."""
    requests = [
        _request(prompt, number, new_tokens, logprobs=True) for prompt in prompts for number in range(RESPONSES)
    ]
    written = [answer for unit in engine.generate(engine.batches(requests), Journal()) for answer in unit]
    assert all(answer.num_tokens == new_tokens for answer in written), "a random model hardly ever ends"
    return written


def greedy(engine: Engine, prompts: Sequence[str], new_tokens: int) -> list[str]:
    """The most likely responses, in the order of the prompts."""
    requests = [_request(prompt, 0, new_tokens, temperature=0) for prompt in prompts]
    written = {
        answer.key: answer.text for unit in engine.generate(engine.batches(requests), Journal()) for answer in unit
    }
    return [written[request.key] for request in requests]


def _request(prompt: str, number: int, new_tokens: int, **options: Any) -> Request:
    messages = [Message(role="user", content=prompt)]
    return Request(key=f"{prompt[:40]}/{number}", messages=messages, max_new_tokens=new_tokens, seed=number, **options)


def others(folder: Path, prompts: int) -> list[Row]:
    """What is installed of llama.cpp and vLLM, timed once after a warm-up."""
    rows = []
    if find_spec("xllamacpp") is not None:
        try:
            rows.append(_llamacpp(prompts))
        except ModelError as error:
            print(f"llama.cpp is left out: {error}", file=sys.stderr)
    if find_spec("vllm") is not None:
        engine = open_engine(
            VllmSettings(model=str(folder), precision="fp32", max_model_len=512, gpu_memory_utilization=0.15)
        )
        seconds = _wall(lambda texts: sample(engine, texts, NEW_TOKENS), [prompts_of(prompts, seed) for seed in (1, 2)])
        rows.append(Row("vLLM (wall)", None, seconds, RESPONSES * prompts * NEW_TOKENS, {}))
    return rows


def _llamacpp(prompts: int) -> Row:
    import xllamacpp

    params = xllamacpp.CommonParams()
    params.model.path = str(embedded_folder(GGUF) / EMBEDDED[GGUF].weights)
    params.n_parallel = RESPONSES * prompts
    params.n_ctx = 512 * params.n_parallel
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = 1
    server = xllamacpp.Server(params)

    def ask(tokens: Sequence[int]) -> None:
        body = {"prompt": tokens, "max_tokens": NEW_TOKENS, "temperature": 1.0, "top_k": 0, "top_p": 1.0, "min_p": 0.0}
        answer = server.handle_completions(json.dumps({**body, "ignore_eos": True}))
        assert json.loads(answer)["usage"]["completion_tokens"] == NEW_TOKENS, answer

    def ask_all(asked: Sequence[Sequence[int]]) -> None:
        with ThreadPoolExecutor(params.n_parallel) as pool:
            list(pool.map(ask, [tokens for tokens in asked for _ in range(RESPONSES)]))

    seconds = _wall(ask_all, [_tokens(prompts, seed) for seed in (1, 2)])
    return Row("llama.cpp, SmolLM2 in 4 bits (wall)", None, seconds, RESPONSES * prompts * NEW_TOKENS, {})


def _wall(run: Callable[[Any], object], rounds: Sequence[object]) -> Spread:
    """Seconds of the last of several runs, each with prompts of its own (engines remember prompts)."""
    for prompts in rounds:
        start = time.perf_counter()
        run(prompts)
        seconds = time.perf_counter() - start
    return Spread.of([seconds])


def prompts_of(count: int, seed: int = 0) -> list[str]:
    """Prompts that begin differently, of as many tokens as there are words."""
    return [" ".join(f"w{token}" for token in tokens) for tokens in _tokens(count, seed)]


def _tokens(count: int, seed: int) -> list[list[int]]:
    dice = random.Random(seed)
    return [[dice.randrange(1000, 40000) for _ in range(PROMPT_TOKENS)] for _ in range(count)]


def save_model(folder: Path, shape: dict[str, Any]) -> None:
    """Write a random Llama, and a tokenizer that has a word for each of its tokens."""
    torch.manual_seed(0)
    config = LlamaConfig(**shape, eos_token_id=END, pad_token_id=END, bos_token_id=None)
    LlamaForCausalLM(config).save_pretrained(folder)
    words = Tokenizer(models.WordLevel({f"w{token}": token for token in range(shape["vocab_size"])}, unk_token="w1"))
    words.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=words, eos_token=f"w{END}", pad_token=f"w{END}")
    tokenizer.chat_template = "{% for message in messages %}{{ message['content'] }} {% endfor %}"
    tokenizer.save_pretrained(folder)


if __name__ == "__main__":
    sys.exit(main())
