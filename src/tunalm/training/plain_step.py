"""The ranking step as the paper writes it: one sequence at a time, no packing, no shared prefix, Eq. 4-6 as loops.

It is what `step` must compute, in loss and in gradients, and it trains nothing: every prompt is read N + 1 times.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from tunalm.training.encoding import Group


def plain_loss(model: Any, groups: Sequence[Group], *, margin: float = 0.1, mle_weight: float = 1.0) -> torch.Tensor:
    """The loss of an optimizer step, a scalar with a graph.

    Args:
        model: a causal language model of transformers.
        groups: all lists of the step.
        margin: m of Eq. 5.
        mle_weight: lambda of Eq. 6.
    """
    ranking, imitation, references = torch.zeros(()), torch.zeros(()), 0
    for group in groups:
        ranked = []
        for target in group.targets:
            v = mean_logprob(model, group.prompt, target.tokens)
            if target.rank is None:
                imitation, references = imitation - v, references + 1  # L_MLE, Eq. 6
            else:
                ranked.append((target.rank, v))
        for rank_j, v_j in ranked:
            for rank_k, v_k in ranked:
                if rank_j < rank_k:  # j is better than k, Eq. 5
                    hinge = torch.clamp(v_k - v_j + margin * (rank_k - rank_j), min=0)
                    ranking = ranking + group.weight * hinge
    return ranking / len(groups) + mle_weight * imitation / max(references, 1)


def mean_logprob(model: Any, prompt: list[int], response: list[int]) -> torch.Tensor:
    """v of Eq. 4: the mean over the response's tokens of log p(token | what stands before it)."""
    logits = model(input_ids=torch.tensor([prompt + response])).logits[0]
    total = torch.zeros(())
    for place, token in enumerate(response, start=len(prompt)):
        total = total + logits[place - 1].log_softmax(-1)[token]
    return total / len(response)
