"""Log-probabilities of responses under the model that is trained, without [B, T, V] logits."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch.autograd.function import once_differentiable

from tunalm.training.encoding import Group
from tunalm.training.layouts import Layout, collate, model_inputs

CHUNK_ELEMENTS = 1 << 23
"""Logits that are held in fp32 at a time (32 MB)."""

SHARED_ATTENTION = ("sdpa", "eager")
AGREEMENT = {torch.float32: 1e-3, torch.bfloat16: 0.1, torch.float16: 0.03}
"""Nats per token by which two layouts may differ through rounding, by the precision of the weights."""


@dataclass(frozen=True)
class Logprobs:
    """Of the R sequences of a batch, in fp32."""

    sums: torch.Tensor
    """[R], log p(response | prompt)."""
    lengths: torch.Tensor
    """[R], tokens of each response, end token included."""
    last: torch.Tensor
    """[R], log p of each response's last token."""

    @property
    def means(self) -> torch.Tensor:
        """[R], v of Eq. 4: the log-probability divided by the length."""
        return self.sums / self.lengths


def sequence_logprobs(model: Callable[..., Any], batch: Mapping[str, torch.Tensor], layout: Layout) -> Logprobs:
    """Run the model over a collated batch.

    Args:
        model: a causal language model of transformers, wrapped (DDP, FSDP, peft) or not.
        batch: as `layouts.collate` returns it, on the model's device.
        layout: that it was collated with.
    """
    inner = unwrapped(model)
    inputs = model_inputs(batch, layout, inner.config._attn_implementation)
    if keeps_logits(inner):
        inputs["logits_to_keep"] = batch["keep"]
    logits = model(**inputs, use_cache=False).logits
    if logits.ndim == 3:
        logits = logits[batch["keep"]]
    tokens = token_logprobs(logits, batch["sources"], batch["targets"])
    sequences, count = batch["sequences"], len(batch["ended"])
    lengths = torch.bincount(sequences, minlength=count)
    sums = tokens.new_zeros(count).index_add(0, sequences, tokens)
    return Logprobs(sums, lengths, tokens[lengths.cumsum(0) - 1])


def token_logprobs(logits: torch.Tensor, sources: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """Log-probability [M] of each target under the softmax of logits[source].

    The softmax is taken in fp32 (fp64 for fp64 logits), a few rows at a time in both directions, so that the logits
    and their gradient, in the dtype of the logits, are the only tensors with a vocabulary dimension that last.

    Args:
        logits: [K, V].
        sources: [M], a row of `logits` for each target; several targets may share one.
        targets: [M], token ids.
    """
    return _TokenLogprobs.apply(logits, sources, targets)  # type: ignore[no-any-return, no-untyped-call]


class _TokenLogprobs(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, logits: torch.Tensor, sources: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        normalisers = torch.cat([_wide(rows).logsumexp(-1) for rows in torch.split(logits, _chunk(logits))])
        ctx.save_for_backward(logits, normalisers, sources, targets)
        return _wide(logits[sources, targets]) - normalisers[sources]

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, upstream: torch.Tensor) -> tuple[torch.Tensor, None, None]:
        logits, normalisers, sources, targets = ctx.saved_tensors
        row_sums = torch.zeros_like(normalisers).index_add(0, sources, upstream)
        gradient = torch.empty_like(logits)
        size = _chunk(logits)
        for start in range(0, len(logits), size):
            rows = slice(start, start + size)
            wide = (_wide(logits[rows]) - normalisers[rows, None]).exp_().mul_(-row_sums[rows, None])
            here = (sources >= start) & (sources < start + size)
            places = (sources[here] - start) * logits.shape[-1] + targets[here]
            gradient[rows] = wide.view(-1).index_add_(0, places, upstream[here]).view_as(wide)
        return gradient, None, None


def _wide(tensor: torch.Tensor) -> torch.Tensor:
    return tensor.to(torch.promote_types(tensor.dtype, torch.float32))


def _chunk(logits: torch.Tensor) -> int:
    return max(1, CHUNK_ELEMENTS // logits.shape[-1])


def unwrapped(model: Any) -> Any:
    """The transformers model inside DDP, FSDP, DeepSpeed, torch.compile and peft."""
    while hasattr(model, "module") or hasattr(model, "_orig_mod"):
        model = model.module if hasattr(model, "module") else model._orig_mod
    return model.get_base_model() if hasattr(model, "get_base_model") else model


def keeps_logits(model: Any) -> bool:
    """Whether the model computes logits for chosen positions only.

    Models with code of their own may know an older form of `logits_to_keep`; they compute all of them.
    """
    own_code = not type(model).__module__.startswith("transformers.")
    return not own_code and "logits_to_keep" in inspect.signature(model.forward).parameters


def shared_layout_fits(model: Any, groups: Sequence[Group], max_length: int) -> bool:
    """Whether the shared layout gives this model's own numbers.

    What is known to break it is ruled out; then both layouts are computed and compared on a few short groups, for a
    model that carries state along the row (SSM, linear attention) or reads its mask otherwise is not known by name.
    """
    inner = unwrapped(model)
    config = inner.config.get_text_config()
    window = getattr(config, "sliding_window", None)
    if inner.config._attn_implementation not in SHARED_ATTENTION or (window is not None and window < max_length):
        return False
    weight = next(inner.parameters())
    if weight.is_meta or weight.numel() == 0:  # not here: sharded over processes or machines
        return False
    shortest = sorted((group for group in groups if len(group.targets) > 1), key=lambda group: group.num_tokens)[:2]
    try:
        return _largest_difference(inner, shortest) <= AGREEMENT.get(weight.dtype, 0.0)
    except (TypeError, ValueError, RuntimeError, IndexError):  # it takes no such mask or positions
        return False


def _largest_difference(model: Any, groups: Sequence[Group]) -> float:
    """Of the two layouts, in nats per token."""
    device = next(model.parameters()).device
    found = []
    with _evaluating(model):
        for layout in ("shared", "padded"):
            batch = collate(list(enumerate(groups)), layout, pad_id=0)
            on_device = {name: tensor.to(device) for name, tensor in batch.items()}
            found.append(sequence_logprobs(model, on_device, layout).means)
    return float((found[0] - found[1]).abs().max())


@contextmanager
def _evaluating(model: Any) -> Iterator[None]:
    was_training = model.training
    model.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        model.train(was_training)
