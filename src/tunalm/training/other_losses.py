"""Ranking losses of other papers, on the same lists: what stands in the place of Eq. 4-5 when they are compared.

Each is a function of the values of the responses, [G, N], and their ranks, [G, N] (0 is best, equal ranks are ties, -1
is an absent response whose value is never looked at), and gives the loss of each list, [G]. Responses of equal rank are
never told apart. What the values are is said for each: v is the mean log-probability of a token, as in the paper.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch.nn import functional

Pairs = Literal["all", "best_worst"]


def plackett_luce_losses(values: torch.Tensor, ranks: torch.Tensor) -> torch.Tensor:
    """Negative log-likelihood of the order under the Plackett-Luce model (ListMLE, Xia et al. 2008; PRO, LiPO).

        L = - sum over k of [ s_k - log sum over j in {k} + {j: rank_j > rank_k} of exp(s_j) ]

    The best response is chosen among all, the next among the rest, and so on. Of equal ranks each is chosen among
    itself and all that are worse; those of the last rank are not chosen, for there is nothing left to choose from.

    Args:
        values: s; here beta times v.
        ranks: of the responses.
    """
    present = ranks >= 0
    known = torch.where(present, values, 0)
    worse = _worse(ranks)
    rivals = worse | torch.eye(ranks.shape[1], dtype=torch.bool, device=ranks.device)
    chosen_among = known[:, None, :].expand(-1, ranks.shape[1], -1).masked_fill(~rivals, -torch.inf)
    losses = chosen_among.logsumexp(-1) - known
    return torch.where(worse.any(-1), losses, 0).sum(-1)


def logistic_losses(
    values: torch.Tensor, ranks: torch.Tensor, *, margin: float = 0.0, pairs: Pairs = "all"
) -> torch.Tensor:
    """Mean over the pairs of a list of -log sigmoid(s_better - s_worse - margin); 0 for a list without pairs.

    DPO (Rafailov et al. 2023) has s = beta (log p(r) - log p_start(r)) and no margin; SimPO (Meng et al. 2024) has
    s = beta v and its gamma as the margin.

    Args:
        values: s of the responses.
        ranks: of the responses.
        margin: by which the better one should win.
        pairs: `all` pairs of unequal rank, or only those of the `best_worst` rank.
    """
    worse = _worse(ranks)
    if pairs == "best_worst":
        present = ranks >= 0
        best = present & (ranks == ranks.masked_fill(~present, torch.iinfo(ranks.dtype).max).amin(-1, keepdim=True))
        worst = present & (ranks == ranks.amax(-1, keepdim=True))
        worse = worse & best[:, :, None] & worst[:, None, :]
    known = torch.where(ranks >= 0, values, 0)
    losses = -functional.logsigmoid(known[:, :, None] - known[:, None, :] - margin)
    return torch.where(worse, losses, 0).sum((1, 2)) / worse.sum((1, 2)).clamp(min=1)


def _worse(ranks: torch.Tensor) -> torch.Tensor:
    """[G, j, k], bool: both are present, and k ranks below j."""
    present = ranks >= 0
    return present[:, :, None] & present[:, None, :] & (ranks[:, None, :] > ranks[:, :, None])
