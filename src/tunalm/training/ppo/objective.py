"""The mathematics of PPO over tokens: shaped rewards, advantages, the clipped loss.

All tensors are [B, T]: B responses, T tokens of the longest one. `mask` is 1 at the tokens of a response, its end token
included, and 0 behind it; whatever stands there has no influence.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torchrl.objectives.value.functional import generalized_advantage_estimate

WHITENING_EPSILON = 1e-8


def masked_mean(values: Tensor, mask: Tensor) -> Tensor:
    """Mean over the tokens that are there."""
    return (values * mask).sum() / mask.sum()


def whiten(values: Tensor, mask: Tensor, *, shift_mean: bool) -> Tensor:
    """Scale values to variance 1; their mean becomes 0, or stays as it is without `shift_mean`."""
    mean = masked_mean(values, mask)
    variance = masked_mean((values - mean) ** 2, mask)
    whitened = (values - mean) * torch.rsqrt(variance + WHITENING_EPSILON)
    return (whitened if shift_mean else whitened + mean) * mask


def shaped_rewards(
    scores: Tensor, logprobs: Tensor, start_logprobs: Tensor, mask: Tensor, kl_weight: float
) -> tuple[Tensor, Tensor]:
    """Rewards of tokens: a penalty on the divergence from the start, and at the last token the score of the response.

    Args:
        scores: [B], of the proxy.
        logprobs: of the policy that wrote the responses.
        start_logprobs: of the model that training started from.
        mask: of the tokens.
        kl_weight: of the penalty, whose estimate per token, log p - log p_start, is clamped at 0 from below.

    Returns:
        Rewards, and the clamped estimate of the divergence.
    """
    divergence = (logprobs - start_logprobs).clamp(min=0) * mask
    rewards = -kl_weight * divergence
    last = mask.sum(1).long() - 1
    rewards[torch.arange(len(scores)), last] += scores
    return rewards, divergence


def advantages_and_returns(
    rewards: Tensor, values: Tensor, mask: Tensor, *, gamma: float, gae_lambda: float, whiten_rewards: bool
) -> tuple[Tensor, Tensor]:
    """Generalized advantage estimates (Schulman et al. 2016), whitened, and the returns that values should predict."""
    if whiten_rewards:
        rewards = whiten(rewards, mask, shift_mean=False)
    following = torch.cat([values[:, 1:] * mask[:, 1:], torch.zeros_like(values[:, :1])], dim=1)
    done = torch.zeros_like(mask, dtype=torch.bool)
    done[torch.arange(len(mask)), mask.sum(1).long() - 1] = True
    estimate, returns = generalized_advantage_estimate(
        gamma, gae_lambda, values[..., None], following[..., None], rewards[..., None], done[..., None]
    )
    return whiten(estimate[..., 0] * mask, mask, shift_mean=True), returns[..., 0] * mask


def clipped_loss(
    logprobs: Tensor,
    old_logprobs: Tensor,
    values: Tensor,
    old_values: Tensor,
    advantages: Tensor,
    returns: Tensor,
    mask: Tensor,
    *,
    clip: float,
    value_clip: float,
) -> tuple[Tensor, Tensor, Tensor]:
    """The clipped surrogate of the policy and the clipped squared error of the values.

    Args:
        logprobs, values: of the models as they are now, with gradients.
        old_logprobs, old_values: of those that made the roll-out.
        advantages, returns: see `advantages_and_returns`.
        mask: of the tokens.
        clip: how far the ratio of probabilities may leave 1.
        value_clip: how far a value may leave the old one.

    Returns:
        Sums over the tokens: the loss of the policy, half the squared error of the values, and the tokens at which the
        clipping of the policy's ratio decides. Divided by the tokens of a step they add up to its means.
    """
    ratio = torch.exp((logprobs - old_logprobs) * mask)
    plain, bounded = -advantages * ratio, -advantages * ratio.clamp(1 - clip, 1 + clip)
    near = old_values + (values - old_values).clamp(-value_clip, value_clip)
    error = torch.maximum((values - returns) ** 2, (near - returns) ** 2)
    policy = (torch.maximum(plain, bounded) * mask).sum()
    return policy, 0.5 * (error * mask).sum(), ((bounded > plain) * mask).sum()
