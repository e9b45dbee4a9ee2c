"""What is measured: shapes of models, lengths of prompts and responses, and the figures to reach.

Weights and tokens are random: neither changes the work. A group is a prompt with five sequences, as in the paper: four
ranked responses and the reference, which the loss of the authors' trainer ranks above them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from benchmarks.ranking_step.baselines import Task
from tunalm.training.encoding import Group, Target

SEQUENCES = 5
TEMPLATE = 35
"""Tokens of the Alpaca template, which every ragged prompt begins with."""
SPREAD_OF_PROMPTS = 0.5
SPREAD_OF_LISTS, SPREAD_IN_LIST = 0.8, 0.3
"""Standard deviations of the logarithms of lengths: of instructions, of lists of responses, of responses in a list."""
PAD = 0

Against = Literal["time over R", "memory over R", "time over S"]


@dataclass(frozen=True)
class Shape:
    """A Llama of random weights."""

    hidden: int
    layers: int
    vocabulary: int
    intermediate: int
    heads: int
    kv_heads: int
    tied: bool = False

    def model(self, device: str) -> Any:
        """Build it in fp32, always with the same weights."""
        torch.manual_seed(0)
        config = LlamaConfig(
            hidden_size=self.hidden,
            num_hidden_layers=self.layers,
            vocab_size=self.vocabulary,
            intermediate_size=self.intermediate,
            num_attention_heads=self.heads,
            num_key_value_heads=self.kv_heads,
            tie_word_embeddings=self.tied,
            max_position_embeddings=8192,
            bos_token_id=None,
            eos_token_id=None,
            pad_token_id=PAD,
        )
        with torch.device(device):
            return LlamaForCausalLM(config).train()

    @property
    def block_parameters(self) -> int:
        """Weights that multiply every token, without embeddings and head."""
        head_size = self.hidden // self.heads
        attention = 2 * self.hidden * self.hidden + 2 * self.hidden * head_size * self.kv_heads
        return self.layers * (attention + 3 * self.hidden * self.intermediate)


@dataclass(frozen=True)
class Setting:
    """A row of the table."""

    shape: Shape
    groups: int
    prompt: int
    """Tokens of a prompt; their mean if ragged."""
    response: int
    """Tokens of a response; their mean if ragged."""
    ragged: bool = False
    seed: int = 0
    """Draws differ a lot in how much padding they need. This one needs about what the figures to reach were set for:
    R does 3.5 times the least work in B, and 3.6 times in G2."""
    precision: Literal["fp32", "bf16"] = "fp32"
    device: Literal["cpu", "cuda"] = "cpu"
    head: Literal["auto", "chunked"] = "auto"
    """Of ours: `auto` keeps the logits here, which is fast; `chunked` is the head for little memory."""
    reference_parts: int = 1
    """Parts in which R reads its padded rows, where a GPU of 80 GB would not hold all; it stays as much work, and its
    memory is reported as that of a part times the parts."""
    claims: Mapping[Against, float] = field(default_factory=dict)
    """What must be reached."""
    aims: Mapping[Against, float] = field(default_factory=dict)
    """What would be excellent."""

    def task(self, model: Any) -> Task:
        """The step that is measured."""
        return Task(model, self.make_groups(), torch.bfloat16 if self.precision == "bf16" else torch.float32, PAD)

    def make_groups(self) -> list[Group]:
        """Draw the groups, always the same ones."""
        random = np.random.default_rng(self.seed)
        return [self._group(str(number), *lengths, random) for number, lengths in enumerate(self._lengths(random))]

    def _lengths(self, random: np.random.Generator) -> list[tuple[int, list[int]]]:
        """Tokens of each prompt and of its responses; log-normal, and scaled so that the means are as set."""
        if not self.ragged:
            return [(self.prompt, [self.response] * SEQUENCES)] * self.groups
        instructions = random.lognormal(0, SPREAD_OF_PROMPTS, self.groups)
        instructions *= (self.prompt - TEMPLATE) / instructions.mean()
        responses = random.lognormal(0, SPREAD_OF_LISTS, (self.groups, 1))
        responses = responses * random.lognormal(0, SPREAD_IN_LIST, (self.groups, SEQUENCES))
        responses *= self.response / responses.mean()
        return [
            (TEMPLATE + round(instruction), [max(1, round(length)) for length in lengths])
            for instruction, lengths in zip(instructions, responses, strict=True)
        ]

    def _group(self, name: str, prompt: int, responses: list[int], random: np.random.Generator) -> Group:
        def tokens(count: int) -> list[int]:
            return [int(token) for token in random.integers(PAD + 1, self.shape.vocabulary, count)]

        ranked = [Target(tokens(length), rank, rank, ended=True) for rank, length in enumerate(responses[:-1])]
        reference = Target(tokens(responses[-1]), None, None, ended=True)
        return Group(name, tokens(prompt), [*ranked, reference])

    def bounds(self, groups: list[Group]) -> tuple[float, float]:
        """Work of R and of S in units of the least there is: products of tokens with the weights of blocks and head."""
        blocks, head = self.shape.block_parameters, self.shape.hidden * self.shape.vocabulary
        targets = [(len(group.prompt), len(target.tokens)) for group in groups for target in group.targets]
        learned = sum(length for _, length in targets) * head
        longest = max(len(group.prompt) + len(target.tokens) for group in groups for target in group.targets)
        padded = SEQUENCES * len(groups) * longest
        least = blocks * sum(group.num_tokens for group in groups) + learned
        separate = blocks * sum(prompt + response for prompt, response in targets) + learned
        return padded * (blocks + head) / least, separate / least


TINY = Shape(hidden=32, layers=2, vocabulary=256, intermediate=64, heads=2, kv_heads=1)
SMALL = Shape(hidden=256, layers=4, vocabulary=32000, intermediate=688, heads=4, kv_heads=4)
NARROW = Shape(hidden=512, layers=8, vocabulary=2048, intermediate=1376, heads=8, kv_heads=8)
SMOLLM2_135M = Shape(hidden=576, layers=30, vocabulary=49152, intermediate=1536, heads=9, kv_heads=3, tied=True)
LLAMA_1B = Shape(hidden=2048, layers=16, vocabulary=128256, intermediate=8192, heads=32, kv_heads=8, tied=True)

SETTINGS: dict[str, Setting] = {
    "tiny": Setting(TINY, groups=2, prompt=60, response=10, ragged=True),
    "A": Setting(SMALL, groups=1, prompt=256, response=64, claims={"time over R": 4.8}, aims={"time over R": 6.5}),
    "A-chunked": Setting(
        SMALL,
        groups=1,
        prompt=256,
        response=64,
        head="chunked",
        claims={"time over R": 4.8, "memory over R": 7},
        aims={"time over R": 6.5, "memory over R": 9},
    ),
    "B": Setting(
        SMALL,
        groups=4,
        prompt=60,
        response=100,
        ragged=True,
        seed=3,
        claims={"time over R": 4.8, "memory over R": 10, "time over S": 1.07},
        aims={"time over R": 6.5, "memory over R": 16, "time over S": 1.12},
    ),
    "C": Setting(NARROW, groups=1, prompt=512, response=64, claims={"time over R": 3.2}, aims={"time over R": 3.4}),
    "D": Setting(NARROW, groups=1, prompt=60, response=130),
    "E": Setting(
        SMOLLM2_135M, groups=1, prompt=256, response=64, claims={"time over R": 3.3}, aims={"time over R": 3.8}
    ),
    "A-bf16": Setting(
        SMALL, groups=1, prompt=256, response=64, precision="bf16", claims={"time over R": 5}, aims={"time over R": 7}
    ),
    "G1": Setting(
        LLAMA_1B,
        groups=4,
        prompt=512,
        response=128,
        precision="bf16",
        device="cuda",
        claims={"time over R": 2.4, "time over S": 2.0},
        aims={"time over R": 2.8, "time over S": 2.4},
    ),
    "G2": Setting(
        LLAMA_1B,
        groups=16,
        prompt=60,
        response=130,
        ragged=True,
        precision="bf16",
        device="cuda",
        reference_parts=4,
        claims={"time over R": 2.9, "memory over R": 5},
        aims={"time over R": 3.4, "memory over R": 10},
    ),
    "G3": Setting(
        LLAMA_1B,
        groups=4,
        prompt=1024,
        response=128,
        precision="bf16",
        device="cuda",
        reference_parts=2,
        claims={"time over R": 3.1},
        aims={"time over R": 3.7},
    ),
}
