"""The ranking objective as a pure function of scores and ranks (Eq. 4-5; the whole loss of Eq. 6 is in `objective`)."""

from __future__ import annotations

from typing import Literal

import torch

Convention = Literal["paper", "lmops"]


def ranking_loss(
    scores: torch.Tensor, ranks: torch.Tensor, *, margin: float = 0.1, convention: Convention = "paper"
) -> torch.Tensor:
    """Mean over the lists of `list_losses`; 0 when there is no list.

    Args:
        scores: [G, N], float; v_k of the paper, the length-normalised log-probability of every response.
        ranks: [G, N], int; 0 is best, equal ranks are ties, -1 is an absent response (its score is never looked at).
        margin: m of Eq. 5, between neighbouring ranks.
        convention: `paper` or `lmops`, see `list_losses`.

    Returns:
        A scalar.
    """
    losses = list_losses(scores, ranks, margin=margin, convention=convention)
    return losses.sum() / max(len(losses), 1)


def list_losses(
    scores: torch.Tensor, ranks: torch.Tensor, *, margin: float = 0.1, convention: Convention = "paper"
) -> torch.Tensor:
    """Ranking loss of each list, [G]; arguments as for `ranking_loss`.

    `paper` (Eq. 4-5) sums max(0, v_k - v_j + margin * (rank_k - rank_j)) over all pairs in which j ranks better than
    k. Ties and absent responses make no pair; a list without pairs costs nothing.

    `lmops` is what the authors' released trainer computes: equal ranks are put in the order in which they stand, as
    a stable sort does, ranks are positions in that order, and the hinge is averaged over the pairs that are d
    positions apart before it is summed over d.

    Raises:
        ValueError: the shapes differ, or the convention is unknown.
    """
    if scores.ndim != 2 or scores.shape != ranks.shape:
        raise ValueError(f"scores {tuple(scores.shape)} and ranks {tuple(ranks.shape)} must both be [G, N]")
    if convention not in ("paper", "lmops"):
        raise ValueError(f"convention must be 'paper' or 'lmops', not {convention!r}")
    present = ranks >= 0
    if convention == "lmops":
        ranks = _positions(ranks)
    gap = ranks[:, None, :] - ranks[:, :, None]  # [G, j, k]
    is_pair = present[:, :, None] & present[:, None, :] & (gap > 0)
    known = torch.where(present, scores, 0)  # so that a NaN of an absent response reaches neither value nor gradient
    hinge = (known[:, None, :] - known[:, :, None] + margin * gap).clamp(min=0)
    if convention == "lmops":
        pairs_of_gap = (present.sum(-1)[:, None, None] - gap).clamp(min=1)
        hinge = hinge / pairs_of_gap
    return torch.where(is_pair, hinge, 0).sum((1, 2))


def _positions(ranks: torch.Tensor) -> torch.Tensor:
    """Position [G, N] of every response in its list, best first, ties as they stand, absent ones last."""
    last = torch.iinfo(ranks.dtype).max
    order = ranks.masked_fill(ranks < 0, last).argsort(stable=True, dim=-1)
    return torch.argsort(order, dim=-1)
