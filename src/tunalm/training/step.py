"""The ranking step: the loss of Eq. 6 over the lists of a micro-batch, and its gradient.

    groups --packing--> rows of tokens --the model, attending over shared prefixes--> hidden states
           --heads--> log p of every target token --Eq. 4--> v of every response
           --objective, Eq. 5-6--> loss --backward--> gradients in the model

`plain_step` computes the same one sequence at a time, with the equations as loops; a test holds the two equal.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from typing import Any

import torch

from tunalm.training.attention import Forest
from tunalm.training.encoding import Group
from tunalm.training.heads import device_of, target_logprobs, unwrapped
from tunalm.training.objective import Objective, SequenceValues, Share, StepSize, share_of_step
from tunalm.training.packing import Batch, collate, separate
from tunalm.training.routes import ReadSequences, Route, attending


@dataclass(frozen=True)
class MicroBatch:
    """What became of a micro-batch; its gradients are in the model."""

    share: Share
    """Its share of the step's loss."""
    logprobs: SequenceValues
    """Of its sequences."""
    live: torch.Tensor
    """[R], bool: the sequence moves the weights. Not so when its margins are met, or when the hinges that push it up
    and down cancel."""
    tokens: int
    """That the model read."""


def reading(model: Any, route: Route) -> AbstractContextManager[None]:
    """Within it the model reads by the route; a backward pass that recomputes layers belongs inside, too."""
    return attending(unwrapped(model), route.kernel)


def lay_out(model: Any, groups: Sequence[Group], route: Route, pad_id: int) -> tuple[Batch, dict[str, Any]]:
    """A batch on the model's device, and what the model is given of it: tokens, and what each of them may see."""
    layout = collate(groups if route.shares else separate(groups), "packed" if route.kernel else "rows", pad_id)
    batch = layout.to(device_of(model))
    if batch.trees is None:
        columns = torch.arange(batch.input_ids.shape[1], device=batch.lengths.device)
        return batch, {"input_ids": batch.input_ids, "attention_mask": (columns < batch.lengths[:, None]).long()}
    forest = Forest(batch.trees, batch.input_ids.device)
    return batch, {"input_ids": batch.input_ids, "position_ids": batch.position_ids, "forest": forest}


def sequence_logprobs(model: Any, groups: Sequence[Group], route: Route, pad_id: int) -> SequenceValues:
    """Run a causal language model over some groups, within `reading`.

    Args:
        model: of transformers, wrapped (DDP, FSDP, peft) or not.
        groups: each with at least one target.
        route: how they are read.
        pad_id: stands where nothing does.

    Returns:
        Log-probabilities of the targets of all groups, in their order.
    """
    batch, inputs = lay_out(unwrapped(model), groups, route, pad_id)
    tokens = target_logprobs(model, inputs, batch, route.head)
    count = len(batch.target_lengths)
    owners = torch.arange(count, device=tokens.device).repeat_interleave(batch.target_lengths)
    return SequenceValues(tokens.new_zeros(count).index_add(0, owners, tokens), batch.target_lengths, tokens)


def ranking_step(
    model: Any,
    groups: Sequence[Group],
    objective: Objective,
    size: StepSize,
    *,
    route: Route,
    pad_id: int,
    backward: Callable[[torch.Tensor], None] = torch.Tensor.backward,
    read: ReadSequences = sequence_logprobs,
) -> MicroBatch:
    """Add the gradients of a micro-batch to the model's.

    Args:
        model: a causal language model of transformers, wrapped or not, in training mode.
        groups: of the micro-batch, perhaps none.
        objective: the knobs of the loss.
        size: of the whole optimizer step.
        route: how sequences are read.
        pad_id: stands where nothing does.
        backward: called with the scalar whose gradient is to be added.
        read: gives the values of sequences that the loss looks at.

    Raises:
        FloatingPointError: the loss is not finite; no gradient was computed.
    """
    with reading(model, route):
        logprobs = read(model, groups, route, pad_id)
        share = share_of_step(logprobs, groups, objective, size)
        if not torch.isfinite(share.loss):
            raise FloatingPointError(f"a loss of {share.loss.item()}")
        (slopes,) = torch.autograd.grad(share.loss, logprobs.sums, retain_graph=True, materialize_grads=True)
        backward(share.loss)
    share = replace(share, loss=share.loss.detach())
    return MicroBatch(share, logprobs.detach(), slopes != 0, sum(map(route.tokens, groups)))
