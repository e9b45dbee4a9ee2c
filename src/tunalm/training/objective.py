"""The whole loss of Eq. 6, from the log-probabilities of a batch.

    L = sum over lists of w L_rank / number of lists + lambda * sum over lists of L_MLE / number of lists that imitate

The weight w of a list is 1 unless its ranker gave it another. A list imitates if it has what L_MLE asks for: in the
paper all do, by their references. The sums run over the whole optimizer step. A batch is a part of a step: it adds its
share to both sums and divides by the numbers of the whole step, so the shares of all micro-batches and processes add up
to L however the step is split.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal, Self

import torch

from tunalm.training.encoding import Group, Imitate
from tunalm.training.losses import Convention, list_losses
from tunalm.training.other_losses import Pairs, logistic_losses, plackett_luce_losses

RankingLoss = Literal["margin", "rrhf", "plackett_luce", "dpo", "simpo", "none"]
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
    imitates by the sum over tokens, not their mean; `none` is L_MLE alone; for the others see `other_losses`."""
    beta: float = 1.0
    """Scale of the values of `plackett_luce`, `dpo` and `simpo`."""
    pairs: Pairs = "all"
    """That `dpo` and `simpo` look at."""
    imitate: Imitate | None = "reference"
    """What L_MLE imitates (see `Group.imitated`); None: nothing."""
    anchored: bool = False
    """Whether Eq. 5 looks at v minus its value at the start of training."""


@dataclass(frozen=True)
class StepSize:
    """The denominators of the loss: of the whole optimizer step, over all micro-batches and processes."""

    lists: int
    imitating: int
    """Lists that have what L_MLE imitates."""
    tokens: int
    """Target tokens."""

    @classmethod
    def of(cls, groups: Sequence[Group], imitate: Imitate | None = "reference") -> StepSize:
        """Of a step that is made of these groups."""
        return cls(
            lists=len(groups),
            imitating=sum(group.imitated(imitate) is not None for group in groups),
            tokens=sum(len(target.tokens) for group in groups for target in group.targets),
        )


@dataclass(frozen=True)
class SequenceValues:
    """Of R sequences, in fp32."""

    sums: torch.Tensor
    """[R], log p(response | prompt)."""
    lengths: torch.Tensor
    """[R], tokens of each response, end token included."""
    tokens: torch.Tensor
    """[M], log p of every token of the responses, which follow each other."""

    @property
    def means(self) -> torch.Tensor:
        """[R], v of Eq. 4: the log-probability divided by the length."""
        return self.sums / self.lengths

    @property
    def last(self) -> torch.Tensor | None:
        """[R], log p of each response's last token; None where nobody looks at it."""
        return self.tokens[self.lengths.cumsum(0) - 1]

    def detach(self) -> Self:
        """The same without a graph."""
        return replace(self, sums=self.sums.detach(), tokens=self.tokens.detach())


@dataclass(frozen=True)
class Share:
    """What one batch adds to the loss of its optimizer step."""

    loss: torch.Tensor
    """Scalar: this batch's share of L."""
    rank_loss: float
    """Sum of w L_rank over the lists of the batch."""
    mle_loss: float
    """Sum of L_MLE over the lists of the batch (`lmops`: its share of the token mean, times `StepSize.imitating`)."""
    imitating: int
    """Lists of the batch that have what L_MLE imitates."""
    scores: torch.Tensor
    """[G, N], v of everything that is ranked."""
    ranks: torch.Tensor
    """[G, N], -1 where there is none."""
    references: torch.Tensor
    """[G], which of the batch's targets is the list's reference, -1 where there is none."""


def share_of_step(logprobs: SequenceValues, groups: Sequence[Group], objective: Objective, size: StepSize) -> Share:
    """Compute a batch's share of the loss.

    Args:
        logprobs: of the targets of all groups, in their order.
        groups: of the batch.
        objective: the knobs.
        size: of the whole optimizer step.
    """
    means = logprobs.means
    slots, ranks, references = (part.to(means.device) for part in _lists(groups))
    imitating = max(size.imitating, 1)
    imitated = _imitated(groups, objective.imitate)
    if objective.convention == "lmops":
        slots, ranks = _with_reference_on_top(slots, ranks, references)
        places = ranks
        mle_loss = -logprobs.sums.sum() * (imitating / max(size.tokens, 1))
    else:
        places = _places(groups).to(means.device)
        mle_loss = -(logprobs.sums if objective.loss == "rrhf" else means)[imitated].sum()
    scores = _of_lists(means, slots)
    values = scores
    if objective.loss == "dpo" or objective.anchored:
        starts = means.new_tensor([target.start_logprob for group in groups for target in group.targets])
        changes = logprobs.sums - starts
        values = _of_lists(changes if objective.loss == "dpo" else changes / logprobs.lengths, slots)
    weights = scores.new_tensor([group.weight for group in groups])
    rank_loss = weights @ _ranking_losses(values, ranks, places, objective)
    loss = rank_loss / max(size.lists, 1) + objective.mle_weight * mle_loss / imitating
    return Share(
        loss, float(rank_loss.detach()), float(mle_loss.detach()), len(imitated), scores.detach(), ranks, references
    )


def _ranking_losses(
    values: torch.Tensor, ranks: torch.Tensor, places: torch.Tensor, objective: Objective
) -> torch.Tensor:
    """[G], from the values, ranks and places [G, N] of the responses; margins grow with the difference of places."""
    match objective.loss:
        case "plackett_luce":
            return plackett_luce_losses(objective.beta * values, ranks)
        case "dpo":
            return logistic_losses(objective.beta * values, ranks, pairs=objective.pairs)
        case "simpo":
            return logistic_losses(objective.beta * values, ranks, margin=objective.margin, pairs=objective.pairs)
        case "none":
            return values.new_zeros(len(values))
        case "rrhf":
            return list_losses(values, ranks, margin=0.0)
        case "margin":
            return list_losses(values, places, margin=objective.margin, convention=objective.convention)


def _of_lists(values: torch.Tensor, slots: torch.Tensor) -> torch.Tensor:
    """Values of all targets as [G, N]; 0 where there is none."""
    return torch.cat([values, values.new_zeros(1)])[slots]  # ABSENT, -1, picks the zero at the end


def _imitated(groups: Sequence[Group], imitate: Imitate | None) -> list[int]:
    """Which of the targets of all groups L_MLE imitates."""
    found, first = [], 0
    for group in groups:
        place = group.imitated(imitate)
        found += [] if place is None else [first + place]
        first += len(group.targets)
    return found


def _places(groups: Sequence[Group]) -> torch.Tensor:
    """[G, N], how far below the best of its list a response is: its rank, or what its list says instead."""
    ranked = [[target for target in group.targets if target.rank is not None] for group in groups]
    return rectangle(
        [[float((each.rank or 0) if each.place is None else each.place) for each in targets] for targets in ranked],
        ABSENT,
    )


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


def rectangle(rows: Sequence[Sequence[float]], fill: int) -> torch.Tensor:
    """Numbers of unequal rows as one tensor [rows, longest]; integers stay integers."""
    longest = max((len(row) for row in rows), default=0)
    made = torch.tensor([[*row, *[fill] * (longest - len(row))] for row in rows]).reshape(len(rows), longest)
    return made if made.numel() else made.long()


def _with_reference_on_top(
    slots: torch.Tensor, ranks: torch.Tensor, references: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Put the reference before the [G, N] responses of each list, and move their ranks down by one."""
    top = torch.where(references == ABSENT, ABSENT, 0)
    below = torch.where(ranks == ABSENT, ABSENT, ranks + 1)
    return torch.cat([references[:, None], slots], dim=1), torch.cat([top[:, None], below], dim=1)
