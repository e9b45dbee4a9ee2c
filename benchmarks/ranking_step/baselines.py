"""What tunalm is compared with: R, how the authors' trainer computes a step, and S, how a careful trainer does today.

R (LMOps, `tuna/src`) pads every prompt with every response to one length, runs the whole model over all of it with
`labels`, which normalises every position over the vocabulary for the MLE term, and normalises every position a second
time for the scores. Activations are kept and nothing is offloaded, which is kinder than their configuration.

S reads whole sequences without padding, each attending to itself alone, and computes log-probabilities of response
tokens only. It does not share prompts. Its head works in chunks (`torch.nn.functional.linear_cross_entropy`) or, where
all logits of responses fit, in place (`tunalm.training.heads`): whichever is faster is S.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import accumulate
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch.nn.attention.varlen import varlen_attn
from torch.nn.utils.rnn import pad_sequence
from transformers import AttentionInterface

from tunalm.training.encoding import Group, Target
from tunalm.training.heads import token_logprobs

IGNORED = -100
"""Label of a position that is not learned."""
CHUNK_ON_CPU, CHUNK_ON_GPU = 128, 1024
"""Tokens of a chunk of the head; what torch chooses by itself made the step on a CPU five times as slow."""
PADDING_FREE = "benchmark_padding_free"
"""Attention within each of the sequences that follow each other in one row."""

Step = Callable[[], torch.Tensor]
"""Adds the gradients of all groups to the model's and returns the loss."""


@dataclass(frozen=True)
class Task:
    """What a step is computed for, by every variant alike."""

    model: Any
    """A Llama of transformers, in fp32."""
    groups: Sequence[Group]
    """Each with as many targets as the others."""
    precision: torch.dtype
    """Of products; weights and gradients stay in fp32."""
    pad_id: int = 0
    margin: float = 0.1
    mle_weight: float = 1.0

    @property
    def target_tokens(self) -> int:
        """Tokens that are learned."""
        return sum(len(target.tokens) for group in self.groups for target in group.targets)


def ordered_targets(group: Group) -> list[Target]:
    """The five sequences of a group as the authors' loss ranks them: the reference, then the responses, best first."""
    return sorted(group.targets, key=lambda target: -1 if target.rank is None else target.rank)


def lmops_ranking_loss(scores: torch.Tensor, margin: float) -> torch.Tensor:
    """Hinges of all pairs that are d places apart, averaged, and summed over d; the mean over the lists.

    Args:
        scores: [G, N], best response first.
        margin: between neighbours.
    """
    loss = scores.new_zeros(())
    for gap in range(1, scores.shape[1]):
        loss = loss + F.relu(scores[:, gap:] - scores[:, :-gap] + margin * gap).mean()
    return loss


def reference_step(task: Task, parts: int = 1) -> Step:
    """R, in one micro-batch or, where that has no room, in parts of as many groups each, padded as the whole is."""
    model, groups = task.model, task.groups
    size = len(groups) // parts
    rows = size * len(groups[0].targets)
    batches = list(zip(*(tensor.split(rows) for tensor in _padded(groups, task.pad_id)), strict=True))

    def loss_of(batch: Sequence[torch.Tensor]) -> torch.Tensor:
        input_ids, attention_mask, labels = (part.to(model.device) for part in batch)
        with _computing(model, "sdpa", task.precision):
            output = model(input_ids=input_ids, attention_mask=attention_mask, labels=labels, use_cache=False)
        logprobs = output.logits[:, :-1].log_softmax(-1, dtype=torch.float32)
        is_learned = labels[:, 1:] != IGNORED
        tokens = logprobs.gather(-1, input_ids[:, 1:, None]).squeeze(-1) * is_learned
        scores = (tokens.sum(-1) / is_learned.sum(-1)).view(size, -1)
        share_of_mle = is_learned.sum() / task.target_tokens
        ranking_loss = lmops_ranking_loss(scores, task.margin) / parts
        loss: torch.Tensor = ranking_loss + task.mle_weight * output.loss * share_of_mle
        return loss

    def step() -> torch.Tensor:
        return torch.stack([_backward(loss_of(batch)) for batch in batches]).sum()

    return step


def _backward(loss: torch.Tensor) -> torch.Tensor:
    """Add the gradients of a loss, and return it without its graph."""
    loss.backward()
    return loss.detach()


def _padded(groups: Sequence[Group], pad_id: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Input ids, attention mask and labels, each [G * N, L], of all sequences."""
    pairs = [(group.prompt, target.tokens) for group in groups for target in ordered_targets(group)]
    rows = [torch.tensor(prompt + tokens) for prompt, tokens in pairs]
    labels = [torch.tensor([IGNORED] * len(prompt) + tokens) for prompt, tokens in pairs]
    return (
        pad_sequence(rows, batch_first=True, padding_value=pad_id),
        pad_sequence([torch.ones_like(row) for row in rows], batch_first=True),
        pad_sequence(labels, batch_first=True, padding_value=IGNORED),
    )


def strong_step(task: Task, head: Literal["chunked", "in_place"]) -> Step:
    """S, with one of the two heads."""
    model, groups = task.model, task.groups
    pairs = [(group.prompt, target.tokens) for group in groups for target in ordered_targets(group)]
    sizes = [len(prompt) + len(tokens) for prompt, tokens in pairs]
    starts = [0, *accumulate(sizes)]
    lengths = [len(tokens) for _, tokens in pairs]

    def tensor(values: list[int]) -> torch.Tensor:
        return torch.tensor(values, device=model.device)

    inputs = {
        "input_ids": tensor([token for prompt, tokens in pairs for token in prompt + tokens])[None],
        "position_ids": tensor([place for size in sizes for place in range(size)])[None],
        "sequence_lengths": sizes,
        "sequence_starts": tensor(starts).to(torch.int32),
        "use_cache": False,
    }
    learned = tensor(
        [
            place
            for start, (prompt, tokens) in zip(starts[:-1], pairs, strict=True)
            for place in range(start + len(prompt) - 1, start + len(prompt) + len(tokens) - 1)
        ]
    )
    targets = tensor([token for _, tokens in pairs for token in tokens])

    def step() -> torch.Tensor:
        with _computing(model, PADDING_FREE, task.precision):
            hidden = model.model(**inputs).last_hidden_state[0, learned]
            tokens = _head_logprobs(model.lm_head, hidden, targets, head)
        scores = torch.stack([part.mean() for part in tokens.split(lengths)]).view(len(groups), -1)
        return _backward(lmops_ranking_loss(scores, task.margin) - task.mle_weight * tokens.mean())

    return step


def _head_logprobs(
    head: torch.nn.Linear, hidden: torch.Tensor, targets: torch.Tensor, how: Literal["chunked", "in_place"]
) -> torch.Tensor:
    """Log-probability [M] of each target after its hidden state [M, H]."""
    if how == "in_place":
        return token_logprobs(head(hidden), torch.arange(len(targets), device=targets.device), targets)
    weight = head.weight
    if torch.is_autocast_enabled(hidden.device.type):
        precision = torch.get_autocast_dtype(hidden.device.type)
        hidden, weight = hidden.to(precision), weight.to(precision)
    rows = CHUNK_ON_GPU if hidden.is_cuda else CHUNK_ON_CPU
    options = torch.nn.LinearCrossEntropyOptions(batch_chunk_size=rows, chunking_method=None)
    return -F.linear_cross_entropy(hidden, weight, targets, reduction="none", options=options).float()


@contextmanager
def _computing(model: Any, attention: str, precision: torch.dtype) -> Iterator[None]:
    """Run a model with an attention function of transformers, by name, and in a precision."""
    before = model.config._attn_implementation
    AttentionInterface.register(PADDING_FREE, _flash if model.device.type == "cuda" else _one_by_one)
    model.config._attn_implementation = attention
    try:
        with torch.autocast(model.device.type, precision, enabled=precision != torch.float32):
            yield
    finally:
        model.config._attn_implementation = before


def _one_by_one(
    module: Any,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: None,
    *,
    sequence_lengths: list[int],
    scaling: float | None = None,
    **_: Any,
) -> tuple[torch.Tensor, None]:
    """Attention function of transformers: query [1, H, T, D], key and value [1, H_kv, T, D] -> [1, T, H, D]."""
    parts = zip(*(tensor.split(sequence_lengths, dim=2) for tensor in (query, key, value)), strict=True)
    outputs = [
        F.scaled_dot_product_attention(q, k, v, is_causal=True, scale=scaling, enable_gqa=q.shape[1] != k.shape[1])
        for q, k, v in parts
    ]
    return torch.cat(outputs, dim=2).transpose(1, 2), None


def _flash(
    module: Any,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: None,
    *,
    sequence_lengths: list[int],
    sequence_starts: torch.Tensor,
    scaling: float | None = None,
    **_: Any,
) -> tuple[torch.Tensor, None]:
    """The same in one launch of the flash kernel of torch; shapes as for `_one_by_one`."""
    q, k, v = (tensor[0].transpose(0, 1) for tensor in (query, key, value))
    longest = max(sequence_lengths)
    output: Any = varlen_attn(
        q,
        k,
        v,
        sequence_starts,
        sequence_starts,
        longest,
        longest,
        scale=scaling,
        window_size=(-1, 0),
        enable_gqa=q.shape[1] != k.shape[1],
    )
    return output[None], None
