"""Log-probabilities of responses under the model that is trained, by any route.

A route is a layout with a way to attend. `none` and `padded` read every sequence whole; the others read what the
sequences of a group have in common once.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from typing import Any, Literal, Protocol, get_args

import torch
import torch.nn.functional as F

from tunalm.training.attention import BLOCK, OWN, Forest, Kernel, attending
from tunalm.training.encoding import Group
from tunalm.training.heads import Head, answering, token_logprobs
from tunalm.training.layouts import Batch, collate
from tunalm.training.packing import separate_tokens, shared_tokens, sharing_pays

RouteName = Literal["two_call", "varlen", "flex", "mask4d", "none", "rows", "padded"]


@dataclass(frozen=True)
class Route:
    """How sequences are read.

    `none` packs whole sequences with the best kernel; `rows` gives each a row and reads rows of equal length
    together, so that nothing is padded; `padded` reads all rows in one call.
    """

    name: RouteName
    kernel: Kernel | None
    head: Head | Literal["auto"] = "auto"

    @property
    def shares(self) -> bool:
        """Whether the sequences of a group are read as one."""
        return self.name in get_args(Kernel)

    def tokens(self, group: Group) -> int:
        """Tokens that the model reads for a group."""
        return shared_tokens(group) if self.shares else separate_tokens(group)


@dataclass(frozen=True)
class Logprobs:
    """Of R sequences, in fp32."""

    sums: torch.Tensor
    """[R], log p(response | prompt)."""
    lengths: torch.Tensor
    """[R], tokens of each response, end token included."""
    last: torch.Tensor | None
    """[R], log p of each response's last token; None where nobody looks at it."""

    @property
    def means(self) -> torch.Tensor:
        """[R], v of Eq. 4: the log-probability divided by the length."""
        return self.sums / self.lengths


class Read(Protocol):
    """Reads the sequences of some groups by a route; `sequence_logprobs` is one."""

    def __call__(
        self, model: Any, groups: Sequence[Group], route: Route, pad_id: int, *, always_share: bool = False
    ) -> Logprobs:
        """Values of the targets of all groups, in their order."""


OfBatch = Callable[[Any, Batch, Route], Logprobs]
"""Runs a model over one batch."""


def reading(model: Any, route: Route) -> AbstractContextManager[None]:
    """Within it the model reads by the route; a backward pass that recomputes layers belongs inside, too."""
    return attending(unwrapped(model), route.kernel) if route.kernel else nullcontext()


def sequence_logprobs(
    model: Any, groups: Sequence[Group], route: Route, pad_id: int, *, always_share: bool = False
) -> Logprobs:
    """Run the model over some groups, within `reading`; see `read_groups`."""
    return read_groups(model, groups, route, pad_id, logprobs_of_batch, always_share=always_share)


def read_groups(
    model: Any,
    groups: Sequence[Group],
    route: Route,
    pad_id: int,
    of_batch: OfBatch,
    *,
    always_share: bool = False,
) -> Logprobs:
    """Lay groups out by a route and run a model over them, within `reading`.

    Args:
        model: of transformers, wrapped (DDP, FSDP, peft) or not.
        groups: each with at least one target.
        route: how they are read.
        pad_id: stands where nothing does.
        of_batch: what is wanted of the model.
        always_share: let a route that can share do so where it does not pay, too.

    Returns:
        Values of the targets of all groups, in their order.
    """
    if route.name == "rows":
        return _by_length(model, groups, route, pad_id, of_batch)
    if route.kernel is None:
        return of_batch(model, collate(groups, "rows", pad_id), route)
    share = route.shares and (always_share or sharing_pays(groups))
    return of_batch(model, collate(groups, "packed", pad_id, share=share), route)


def _by_length(model: Any, groups: Sequence[Group], route: Route, pad_id: int, of_batch: OfBatch) -> Logprobs:
    """One call for all sequences of a length."""
    single = [Group(group.id, group.prompt, [target]) for group in groups for target in group.targets]
    lengths = [separate_tokens(each) for each in single]
    order = sorted(range(len(single)), key=lambda number: lengths[number])
    parts = []
    for length in sorted(set(lengths)) or [0]:
        alike = [single[number] for number in order if lengths[number] == length]
        parts.append(of_batch(model, collate(alike, "rows", pad_id), route))
    back = torch.tensor(order, dtype=torch.long).argsort().to(parts[0].sums.device)
    joined = {
        name: torch.cat([getattr(part, name) for part in parts])[back]
        for name, value in vars(parts[0]).items()
        if value is not None
    }
    return replace(parts[0], **joined)


def logprobs_of_batch(model: Any, batch: Batch, route: Route) -> Logprobs:
    """Run a causal language model over a batch."""
    inner = unwrapped(model)
    batch = batch.to(device_of(inner))
    inputs = inputs_of(batch, route, inner.config._attn_implementation)
    if route.head == "logits":
        tokens = _from_logits(model(**inputs, **_wanted(inner, batch), use_cache=False).logits, batch)
    else:
        with answering(inner, batch, route.head):
            tokens = model(**inputs, use_cache=False).logits
    sequences, count = batch.sequences, batch.num_sequences
    lengths = torch.bincount(sequences, minlength=count)
    sums = tokens.new_zeros(count).index_add(0, sequences, tokens)
    return Logprobs(sums, lengths, tokens[lengths.cumsum(0) - 1])


def inputs_of(batch: Batch, route: Route, attention: str) -> dict[str, Any]:
    """What the model reads: tokens, and what each of them may see."""
    if batch.trees is None:
        columns = torch.arange(batch.input_ids.shape[1], device=batch.lengths.device)
        return {"input_ids": batch.input_ids, "attention_mask": (columns < batch.lengths[:, None]).long()}
    forest = Forest(batch.trees, batch.input_ids.device)
    inputs: dict[str, Any] = {"input_ids": batch.input_ids, "position_ids": batch.position_ids}
    if route.kernel in OWN:
        return inputs | {"forest": forest}
    if route.kernel == "flex":
        short = -batch.input_ids.shape[1] % BLOCK
        return {name: F.pad(tensor, (0, short)) for name, tensor in inputs.items()} | {
            "attention_mask": forest.block_mask()
        }
    mask = forest.dense_mask()
    if attention == "eager":  # which adds the mask to the scores
        mask = torch.zeros_like(mask, dtype=torch.float32).masked_fill(~mask, torch.finfo(torch.float32).min)
    return inputs | {"attention_mask": mask}


def _wanted(model: Any, batch: Batch) -> dict[str, torch.Tensor]:
    """Ask for the logits of learned places only. Models with code of their own may know an older form of this."""
    if not type(model).__module__.startswith("transformers."):
        return {}
    keep = torch.zeros_like(batch.input_ids, dtype=torch.bool)
    keep.view(-1)[batch.kept] = True
    return {"logits_to_keep": keep}


def _from_logits(logits: torch.Tensor, batch: Batch) -> torch.Tensor:
    if logits.ndim == 3:
        logits = logits.reshape(-1, logits.shape[-1])[batch.kept]
    return token_logprobs(logits, batch.sources, batch.targets)


def unwrapped(model: Any) -> Any:
    """The transformers model inside DDP, FSDP, DeepSpeed, torch.compile and peft."""
    while hasattr(model, "module") or hasattr(model, "_orig_mod"):
        model = model.module if hasattr(model, "module") else model._orig_mod
    return model.get_base_model() if hasattr(model, "get_base_model") else model


def device_of(model: Any) -> torch.device:
    """Device on which a model computes."""
    return next(model.parameters()).device  # type: ignore[no-any-return]
