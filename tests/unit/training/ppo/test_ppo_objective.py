"""The mathematics of PPO against slow loops over single numbers."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

pytest.importorskip("torchrl")

from tunalm.training.ppo.objective import advantages_and_returns, clipped_loss, shaped_rewards, whiten

LENGTHS = (5, 3, 1, 4)
LONGEST = max(LENGTHS)


def random(*shape: int, seed: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.fixture
def mask() -> Tensor:
    return (torch.arange(LONGEST) < torch.tensor(LENGTHS)[:, None]).double()


def ragged(tensor: Tensor) -> list[list[float]]:
    return [row[:length].tolist() for row, length in zip(tensor, LENGTHS, strict=True)]


def slow_whitened(rows: list[list[float]], *, shift_mean: bool) -> list[list[float]]:
    flat = [value for row in rows for value in row]
    mean = sum(flat) / len(flat)
    deviation = math.sqrt(sum((value - mean) ** 2 for value in flat) / len(flat))
    return [[(value - mean) / deviation + (0 if shift_mean else mean) for value in row] for row in rows]


@pytest.mark.parametrize("whitened", [True, False])
@pytest.mark.parametrize(("gamma", "gae_lambda"), [(1.0, 1.0), (0.9, 0.8)])
def test_advantages_equal_a_loop_over_tokens(mask: Tensor, gamma: float, gae_lambda: float, whitened: bool) -> None:
    scores, logprobs, start = random(4, seed=0), random(4, LONGEST, seed=1), random(4, LONGEST, seed=2)
    values = random(4, LONGEST, seed=3)
    rewards, divergence = shaped_rewards(scores, logprobs, start, mask, kl_weight=0.1)
    advantages, returns = advantages_and_returns(
        rewards, values * mask, mask, gamma=gamma, gae_lambda=gae_lambda, whiten_rewards=whitened
    )

    expected_rewards = []
    for row, length in enumerate(LENGTHS):
        own = [-0.1 * max(0.0, float(logprobs[row, t] - start[row, t])) for t in range(length)]
        own[-1] += float(scores[row])
        expected_rewards.append(own)
    assert_ragged(rewards, expected_rewards)
    if whitened:
        expected_rewards = slow_whitened(expected_rewards, shift_mean=False)
    expected, expected_returns = [], []
    for row, length in enumerate(LENGTHS):
        own_values, later, own = ragged(values)[row], 0.0, [0.0] * length
        for t in reversed(range(length)):
            following = own_values[t + 1] if t + 1 < length else 0.0
            later = expected_rewards[row][t] + gamma * following - own_values[t] + gamma * gae_lambda * later
            own[t] = later
        expected.append(own)
        expected_returns.append([advantage + value for advantage, value in zip(own, own_values, strict=True)])
    assert_ragged(returns, expected_returns)
    assert_ragged(advantages, slow_whitened(expected, shift_mean=True))
    assert float(divergence.min()) == 0


def assert_ragged(tensor: Tensor, expected: list[list[float]]) -> None:
    for row, other in zip(ragged(tensor), expected, strict=True):
        assert row == pytest.approx(other, abs=1e-5)


def test_whitening_looks_at_tokens_only(mask: Tensor) -> None:
    values = random(4, LONGEST, seed=4)
    assert torch.equal(whiten(values, mask, shift_mean=True), whiten(values + 9 * (1 - mask), mask, shift_mean=True))


def test_the_clipped_loss_equals_a_loop_over_tokens(mask: Tensor) -> None:
    new, old, values, old_values, advantages, returns = (random(4, LONGEST, seed=seed) for seed in range(5, 11))
    found = clipped_loss(new, old, values, old_values, advantages, returns, mask, clip=0.2, value_clip=0.3)
    policy = value = clipped = 0.0
    for row, length in enumerate(LENGTHS):
        for t in range(length):
            ratio = math.exp(new[row, t] - old[row, t])
            plain, bounded = -advantages[row, t] * ratio, -advantages[row, t] * min(max(ratio, 0.8), 1.2)
            policy += max(float(plain), float(bounded))
            clipped += float(bounded > plain)
            near = float(old_values[row, t]) + min(max(float(values[row, t] - old_values[row, t]), -0.3), 0.3)
            value += 0.5 * max(float(values[row, t] - returns[row, t]) ** 2, (near - float(returns[row, t])) ** 2)
    assert [float(each) for each in found] == pytest.approx([policy, value, clipped], abs=1e-5)


def test_the_loss_of_a_batch_is_the_sum_over_its_parts(mask: Tensor) -> None:
    tensors = [random(4, LONGEST, seed=seed) for seed in range(5, 11)]

    def losses(rows: slice) -> Tensor:
        new, old, values, old_values, advantages, returns, here = (tensor[rows] for tensor in (*tensors, mask))
        found = clipped_loss(new, old, values, old_values, advantages, returns, here, clip=0.2, value_clip=0.2)
        return torch.stack(found)

    assert torch.allclose(losses(slice(4)), losses(slice(1)) + losses(slice(1, 4)))
