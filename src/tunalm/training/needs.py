"""What a training stage is going to take: rows and tokens from its data, memory and disk from the size of its model.

Pure arithmetic on settings, rows and the shapes in the model's files; it needs no torch.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from math import prod

from safetensors import SafetensorError, safe_open

from tunalm.engines.models import local_folder
from tunalm.recipe import Proxy, Reinforce, Training
from tunalm.records import Message, Ranking
from tunalm.training.course import Course

BYTES = 4
"""Of a number in fp32, as weights, gradients, moments and checkpoints are kept."""
TRAINED = 4
"""Numbers per trained weight: itself, its gradient and the two moments of AdamW."""
SAVED = 3
"""Of these in a checkpoint: all but the gradient."""
CHECKPOINTS = 3
"""On disk at once: two that are kept and one that is being written."""
TOKEN_BUDGET = 4096
"""Of a GPU, where none is given; on a CPU it is less."""
LOGITS = 2**28
"""Bytes of logits that are held at once."""


@dataclass(frozen=True)
class ModelShape:
    """Sizes of a model that memory depends on."""

    parameters: int
    layers: int
    hidden: int
    intermediate: int
    linear: int
    """Inputs and outputs of all linear layers but the head, added up: weights of adapters per unit of rank."""
    vocabulary: int = 0
    cache: int = 0
    """Bytes of keys and values that are kept of a token while the model writes, in fp32."""

    @property
    def activations(self) -> int:
        """Bytes that a layer keeps of a token for the backward pass, in fp32; in bf16 it is less.

        Counted in a Llama layer with fused attention: ten tensors of the width of the model, four of the MLP's.
        """
        return BYTES * (10 * self.hidden + 4 * self.intermediate)


@cache
def model_shape(source: str) -> ModelShape | None:
    """Sizes of a model from its files, or None if they are not on this machine."""
    folder = local_folder(source)
    if folder is None:
        return None
    shapes: dict[str, list[int]] = {}
    try:
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        for path in sorted(folder.glob("*.safetensors")):
            with safe_open(path, framework="numpy") as file:
                shapes |= {name: file.get_slice(name).get_shape() for name in file.keys()}  # noqa: SIM118
        layers, hidden, inner = (int(config[key]) for key in ("num_hidden_layers", "hidden_size", "intermediate_size"))
    except (OSError, ValueError, KeyError, TypeError, SafetensorError):
        return None
    if not shapes:
        return None
    inside = {name: shape for name, shape in shapes.items() if "embed" not in name and not name.startswith("lm_head")}
    linear = [shape for shape in inside.values() if len(shape) == 2]
    heads = int(config.get("num_attention_heads", 1))
    width = int(config.get("num_key_value_heads", heads)) * int(config.get("head_dim") or hidden // heads)
    total = sum(map(prod, shapes.values()))
    vocabulary = int(config.get("vocab_size", 0))
    return ModelShape(total, layers, hidden, inner, sum(map(sum, linear)), vocabulary, 2 * BYTES * layers * width)


@dataclass(frozen=True)
class TrainingNeeds:
    """What training takes."""

    rows: int
    """That fit into `max_length`."""
    tokens: int
    """Read over all epochs, each prompt counted once per list."""
    operations: float | None = None
    """Floating-point operations; None if the size of the model is not known."""
    memory: int | None = None
    """Bytes of the accelerator, or of main memory without one; None if the size of the model is not known."""
    disk: int | None = None
    """Bytes while it runs: checkpoints and the finished model."""


def requests(
    settings: Training,
    rows: Iterable[Ranking],
    source: str,
    *,
    prompt_tokens: Callable[[Sequence[Message]], int],
    text_tokens: Callable[[str], int],
) -> TrainingNeeds:
    """Count what a training stage will read, and what that takes.

    Args:
        settings: of the stage.
        rows: that it trains on; plain instructions are rows without responses.
        source: the model whose files tell the sizes: the one to be trained, or the one that it will come from.
        prompt_tokens: counts the tokens of a conversation in the stage's template.
        text_tokens: counts those of a response, without the end token.
    """
    lists = [_list_tokens(row, settings, prompt_tokens, text_tokens) for row in rows]
    passes = settings.epochs
    if settings.max_steps > 0:
        passes = min(passes, settings.max_steps * settings.batch_size / max(len(lists), 1))
    tokens, fitting = round(sum(lists) * passes), sum(tokens > 0 for tokens in lists)
    shape = model_shape(source)
    if shape is None:
        return TrainingNeeds(fitting, tokens)
    at_once = max(settings.token_budget or TOKEN_BUDGET, max(lists, default=0))
    # Two for each weight and token forward, twice as many backward; attention is not counted.
    operations = (8 if settings.gradient_checkpointing else 6) * shape.parameters * tokens
    return TrainingNeeds(fitting, tokens, operations, _memory(settings, shape, at_once), _disk(settings, shape))


def reinforcement_requests(
    settings: Reinforce, ahead: Course, rows: int, tokens: float, longest: int, source: str, reward: str
) -> TrainingNeeds:
    """Count what reinforcement learning will read in its optimizer steps, and what the whole of it takes.

    Args:
        settings: of the stage.
        ahead: how far it goes.
        rows: instructions that it takes.
        tokens: that a response is expected to have, with its prompt.
        longest: the most that one may have.
        source: the model whose files tell the sizes of the policy.
        reward: likewise, of the proxy.
    """
    written = ahead.all_responses * tokens
    trained = round(written * ahead.passes)
    policy, proxy = model_shape(source), model_shape(reward)
    if policy is None or proxy is None:
        return TrainingNeeds(rows, trained)
    ppo, against = settings.method == "ppo", settings.method == "ppo" or settings.kl_weight > 0
    value = proxy if proxy.vocabulary == policy.vocabulary else policy  # see `load_models`
    learning = [policy, value] if ppo else [policy]
    size = sum(shape.parameters for shape in learning)
    # Written by the policy, read by the proxy, by the start, and before PPO's steps by all that learns.
    read = policy.parameters * (1 + against) + proxy.parameters + (size if ppo else 0)
    frozen = policy.parameters * against + proxy.parameters
    cache = ahead.rows_at_once * longest * policy.cache
    logits = 4 * BYTES * policy.vocabulary  # themselves, at the temperature, their logarithms, a gradient
    graph = sum(shape.layers * shape.activations for shape in learning) + logits
    memory = BYTES * (TRAINED * size + frozen) + max(cache, ahead.sequences_at_once * longest * graph)
    kept = 2 if ppo else CHECKPOINTS
    return TrainingNeeds(rows, trained, 2 * read * written + 6 * size * trained, memory, BYTES * kept * SAVED * size)


def _list_tokens(
    row: Ranking,
    settings: Training,
    prompt_tokens: Callable[[Sequence[Message]], int],
    text_tokens: Callable[[str], int],
) -> int:
    """Tokens of a prompt and all that is learned after it; nothing if the prompt leaves no room."""
    prompt = prompt_tokens(row.messages())
    room = settings.max_length - prompt
    if room <= 0:
        return 0
    texts = [response.text for response in row.responses if response.failure is None and response.text]
    texts += [row.reference] if row.reference and not isinstance(settings, Proxy) else []
    return prompt + sum(min(text_tokens(text) + 1, room) for text in texts)


def _memory(settings: Training, shape: ModelShape, tokens: int) -> int:
    """Bytes of one process that keeps the whole model."""
    adapters = settings.lora_rank * shape.linear
    weights = BYTES * (shape.parameters + TRAINED * adapters if adapters else TRAINED * shape.parameters)
    if settings.precision == "bf16":
        weights += 2 * shape.parameters
    activations = shape.layers * shape.activations
    if settings.gradient_checkpointing:
        activations = shape.layers * BYTES * shape.hidden + shape.activations
    return weights + tokens * activations + LOGITS


def _disk(settings: Training, shape: ModelShape) -> int:
    """Bytes while it runs: full checkpoints, or those of adapters, the adapter and the model that has it merged in."""
    if not settings.lora_rank:
        return BYTES * CHECKPOINTS * SAVED * shape.parameters
    adapters = settings.lora_rank * shape.linear
    return BYTES * (CHECKPOINTS * SAVED * adapters + adapters + shape.parameters)
