"""The whole loss of Eq. 6, from the log-probabilities of a batch.

    L = (sum over lists of w L_rank + lambda * sum over lists of L_MLE) / number of lists

The weight w of a list is 1 unless its ranker gave it another. The sums run over the whole optimizer step. A batch is a
part of a step: it adds its share to both sums and divides by the step's number of lists, so the shares of all
micro-batches and processes add up to L however the step is split.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch

from tunalm.training.encoding import Group
from tunalm.training.layouts import rectangle
from tunalm.training.logprobs import Logprobs
from tunalm.training.losses import Convention, list_losses
from tunalm.training.other_losses import Pairs, logistic_losses, plackett_luce_losses

RankingLoss = Literal["margin", "rrhf", "plackett_luce", "dpo", "simpo"]
ABSENT = -1


@dataclass(frozen=True)
class Objective:
    """The knobs of the loss.

    `paper` is Eq. 4-6. `lmops` is the loss of the authors' released trainer: the hinge of `losses.list_losses` over a
    list in which the reference takes part (where it stood in their lists is not published; here it is above all
    candidates), and an MLE term that is the mean over the tokens of everything in the list.
    """

    margin: float = 0.1
    mle_weight: float = 1.0
    convention: Convention = "paper"
    loss: RankingLoss = "margin"
    """What stands in the place of Eq. 4-5, for comparison. `rrhf` (Yuan et al. 2023) is the hinge without a margin, and
    imitates the best candidate, token by token, and not the reference; for the others see `other_losses`."""
    beta: float = 1.0
    """Scale of the values of `plackett_luce`, `dpo` and `simpo`."""
    pairs: Pairs = "all"
    """That `dpo` and `simpo` look at."""


@dataclass(frozen=True)
class Share:
    """What one batch adds to the loss of its optimizer step."""

    loss: torch.Tensor
    """Scalar: this batch's share of L."""
    rank_loss: float
    """Sum of w L_rank over the lists of the batch."""
    mle_loss: float
    """Sum of L_MLE over the lists of the batch (`lmops`: its share of the token mean, times the number of lists)."""
    scores: torch.Tensor
    """[G, N], v of everything that is ranked."""
    ranks: torch.Tensor
    """[G, N], -1 where there is none."""
    references: torch.Tensor
    """[G], which of the batch's targets is the list's reference, -1 where there is none."""


def share_of_step(
    logprobs: Logprobs, groups: Sequence[Group], objective: Objective, *, lists: float, tokens: float
) -> Share:
    """Compute a batch's share of the loss.

    Args:
        logprobs: of the targets of all groups, in their order.
        groups: of the batch.
        objective: the knobs.
        lists: number of lists in the whole optimizer step.
        tokens: number of target tokens in the whole optimizer step.
    """
    means = logprobs.means
    slots, ranks, references = (part.to(means.device) for part in _lists(groups))
    if objective.convention == "lmops":
        slots, ranks = _with_reference_on_top(slots, ranks, references)
        mle_loss = -logprobs.sums.sum() * (lists / tokens)
    elif objective.loss == "rrhf":
        mle_loss = -logprobs.sums[_best(slots, ranks)].sum()
    else:
        mle_loss = -means[references[references != ABSENT]].sum()
    scores = _of_lists(means, slots)
    values = scores
    if objective.loss == "dpo":
        starts = means.new_tensor([target.start_logprob for group in groups for target in group.targets])
        values = _of_lists(logprobs.sums - starts, slots)
    weights = scores.new_tensor([group.weight for group in groups])
    rank_loss = weights @ _ranking_losses(values, ranks, objective)
    loss = (rank_loss + objective.mle_weight * mle_loss) / lists
    return Share(loss, float(rank_loss.detach()), float(mle_loss.detach()), scores.detach(), ranks, references)


def _ranking_losses(values: torch.Tensor, ranks: torch.Tensor, objective: Objective) -> torch.Tensor:
    """[G], from the values and ranks [G, N] of the responses."""
    match objective.loss:
        case "plackett_luce":
            return plackett_luce_losses(objective.beta * values, ranks)
        case "dpo":
            return logistic_losses(objective.beta * values, ranks, pairs=objective.pairs)
        case "simpo":
            return logistic_losses(objective.beta * values, ranks, margin=objective.margin, pairs=objective.pairs)
        case "rrhf":
            return list_losses(values, ranks, margin=0.0)
        case "margin":
            return list_losses(values, ranks, margin=objective.margin, convention=objective.convention)


def _of_lists(values: torch.Tensor, slots: torch.Tensor) -> torch.Tensor:
    """Values of all targets as [G, N]; 0 where there is none."""
    return torch.cat([values, values.new_zeros(1)])[slots]  # ABSENT, -1, picks the zero at the end


def _best(slots: torch.Tensor, ranks: torch.Tensor) -> torch.Tensor:
    """Where the first of the best responses of each list is among all targets; nothing for a list without responses."""
    if not slots.shape[1]:
        return slots.flatten()
    last = torch.iinfo(ranks.dtype).max
    first = ranks.masked_fill(ranks == ABSENT, last).argmin(-1, keepdim=True)
    best = slots.gather(1, first).squeeze(1)
    return best[best != ABSENT]


def _lists(groups: Sequence[Group]) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Where the ranked responses [G, N] and the reference [G] of each group are among all targets, and the ranks
    [G, N]; -1 where there is none."""
    slots: list[list[int]] = []
    ranks: list[list[int]] = []
    references = []
    first = 0
    for group in groups:
        numbered = list(enumerate(group.targets, first))
        slots.append([number for number, target in numbered if target.rank is not None])
        ranks.append([target.rank for _, target in numbered if target.rank is not None])
        references.append(next((number for number, target in numbered if target.rank is None), ABSENT))
        first += len(group.targets)
    return rectangle(slots, ABSENT), rectangle(ranks, ABSENT), torch.tensor(references, dtype=torch.long)


def _with_reference_on_top(
    slots: torch.Tensor, ranks: torch.Tensor, references: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Put the reference before the [G, N] responses of each list, and move their ranks down by one."""
    top = torch.where(references == ABSENT, ABSENT, 0)
    below = torch.where(ranks == ABSENT, ABSENT, ranks + 1)
    return torch.cat([references[:, None], slots], dim=1), torch.cat([top[:, None], below], dim=1)
