"""Log-probabilities of target tokens, computed inside the module that turns hidden states into logits.

While a model runs, its head answers with log-probabilities instead of logits. It is still the head that runs, so what
is wrapped around it (the gathering of sharded weights, adapters, mixed precision) does what it always does, and no
logits of tokens that nobody learns are ever computed.

    in_place   logits of the learned places once, turned into their own gradient where they lie: three matrix products
    chunked    a few places at a time, computed again in the backward pass: four products, almost no memory
    logits     the model's own logits of the learned places: for models that change them after the head
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch.autograd.function import once_differentiable
from torch.utils.checkpoint import checkpoint

from tunalm.training.packing import Batch

Head = Literal["in_place", "chunked", "logits"]
KEPT_ELEMENTS = {"cpu": 1 << 26, "cuda": 1 << 28}
"""Logits that may be held at once, by device (256 MB in fp32 on a CPU); where a batch has more the head works in
chunks."""
CHUNK_ROWS = {"cpu": 128, "cuda": 1024}
"""Places whose logits the head computes in one chunk, by device: enough for a product of full speed."""
SOFTMAX_ELEMENTS = 1 << 20
"""Logits that are normalised at a time."""


def target_logprobs(model: Any, inputs: dict[str, Any], batch: Batch, head: Head | Literal["auto"]) -> torch.Tensor:
    """Run a causal language model; log-probabilities [M] of a batch's targets, in fp32.

    Args:
        model: of transformers, wrapped or not.
        inputs: what it reads.
        batch: says which tokens are predicted where.
        head: see the module; `auto` is `in_place` while the logits are few, else `chunked`.
    """
    inner = unwrapped(model)
    if head != "logits":
        with answering(inner, batch, head):
            return model(**inputs, use_cache=False).logits  # type: ignore[no-any-return]
    logits = model(**inputs, **_wanted(inner, batch), use_cache=False).logits
    if logits.ndim == 3:
        logits = logits.reshape(-1, logits.shape[-1])[batch.kept]
    return token_logprobs(logits, batch.sources, batch.targets)


def _wanted(model: Any, batch: Batch) -> dict[str, torch.Tensor]:
    """Ask for the logits of learned places only. Models with code of their own may know an older form of this."""
    if not type(model).__module__.startswith("transformers."):
        return {}
    keep = torch.zeros_like(batch.input_ids, dtype=torch.bool)
    keep.view(-1)[batch.kept] = True
    return {"logits_to_keep": keep}


def unwrapped(model: Any) -> Any:
    """The transformers model inside DDP, FSDP, DeepSpeed, torch.compile and peft."""
    while hasattr(model, "module") or hasattr(model, "_orig_mod"):
        model = model.module if hasattr(model, "module") else model._orig_mod
    return model.get_base_model() if hasattr(model, "get_base_model") else model


def device_of(model: Any) -> torch.device:
    """Device on which a model computes."""
    return next(model.parameters()).device  # type: ignore[no-any-return]


@contextmanager
def answering(model: Any, batch: Batch, head: Head | Literal["auto"]) -> Iterator[None]:
    """Let the head of a transformers model answer hidden states [B, T, H] with log-probabilities [M] of a batch."""
    module = model.get_output_embeddings()
    logits_of = module.forward

    def forward(hidden: torch.Tensor) -> torch.Tensor:
        rows = hidden.reshape(-1, hidden.shape[-1])[batch.kept]
        if head == "in_place" or (
            head == "auto" and len(rows) * _vocabulary(module) <= KEPT_ELEMENTS.get(rows.device.type, 1 << 26)
        ):
            return token_logprobs(logits_of(rows), batch.sources, batch.targets)
        return _in_chunks(module, logits_of, rows, batch)

    module.forward = forward
    try:
        yield
    finally:
        del module.forward


def _vocabulary(module: Any) -> int:
    return int(getattr(module, "out_features", 0)) or int(module.weight.shape[0])


def _in_chunks(module: Any, logits_of: Any, rows: torch.Tensor, batch: Batch) -> torch.Tensor:
    """Log-probabilities [M] from hidden states [K, H]."""
    if len(batch.targets) == 0:
        return token_logprobs(logits_of(rows), batch.sources, batch.targets)
    size = CHUNK_ROWS.get(rows.device.type, CHUNK_ROWS["cpu"])
    if type(module) is torch.nn.Linear and not torch.is_autocast_enabled(rows.device.type):
        options = torch.nn.LinearCrossEntropyOptions(batch_chunk_size=size, chunking_method=None)
        negative = F.linear_cross_entropy(
            rows[batch.sources],
            module.weight,
            batch.targets,
            linear_bias=module.bias,
            reduction="none",
            options=options,
        )
        return -negative.float()

    def chunk(hidden: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        return token_logprobs(logits_of(hidden), torch.arange(len(hidden), device=hidden.device), targets)

    parts = zip(rows[batch.sources].split(size), batch.targets.split(size), strict=True)
    return torch.cat([checkpoint(chunk, *part, use_reentrant=False) for part in parts])


def token_logprobs(logits: torch.Tensor, sources: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """Log-probability [M] of each target under the softmax of logits[source].

    The softmax is taken in fp32 (fp64 for fp64 logits), a few rows at a time in both directions. The logits are used
    up: they become their own gradient.

    Args:
        logits: [K, V].
        sources: [M], a row of `logits` for each target; several targets may share one.
        targets: [M], token ids.
    """
    return _TokenLogprobs.apply(logits, sources, targets)  # type: ignore[no-any-return, no-untyped-call]


class _TokenLogprobs(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, logits: torch.Tensor, sources: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        normalisers = torch.cat(
            [_normaliser(_wide(rows)) for rows in logits.split(_rows_of(SOFTMAX_ELEMENTS, logits.shape[-1]))]
        )
        ctx.save_for_backward(logits, normalisers, sources, targets)
        return _wide(logits[sources, targets]) - normalisers[sources]

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, upstream: torch.Tensor) -> tuple[torch.Tensor, None, None]:
        logits, normalisers, sources, targets = ctx.saved_tensors
        row_sums = torch.zeros_like(normalisers).index_add(0, sources, upstream)
        gradient = logits.detach()
        size = _rows_of(SOFTMAX_ELEMENTS, logits.shape[-1])
        for start in range(0, len(logits), size):
            rows = slice(start, start + size)
            wide = _wide(logits[rows]).sub_(normalisers[rows, None]).exp_().mul_(-row_sums[rows, None])
            here = (sources >= start) & (sources < start + size)
            places = (sources[here] - start) * logits.shape[-1] + targets[here]
            wide.view(-1).index_add_(0, places, upstream[here])
            if wide.dtype != gradient.dtype:  # else it is a view of the gradient
                gradient[rows] = wide
        return gradient, None, None


def _normaliser(logits: torch.Tensor) -> torch.Tensor:
    """log of the summed exponentials of each row, [K]; on a CPU log_softmax is the faster kernel for it."""
    return logits.amax(-1) - logits.log_softmax(-1).amax(-1)


def _wide(tensor: torch.Tensor) -> torch.Tensor:
    return tensor.to(torch.promote_types(tensor.dtype, torch.float32))


def _rows_of(elements: int, vocabulary: int) -> int:
    """Rows that have so many logits, at least one."""
    return max(1, elements // vocabulary)
