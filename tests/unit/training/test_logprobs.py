"""Log-probabilities of targets without a second tensor of logits."""

from __future__ import annotations

import pytest
import torch

from tunalm.training import logprobs
from tunalm.training.logprobs import token_logprobs

SOURCES = torch.tensor([0, 0, 1, 3, 3, 2, 0])
TARGETS = torch.tensor([4, 4, 0, 2, 6, 1, 5])


@pytest.fixture(autouse=True, params=[1, 14, 1 << 20])
def _chunks(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """One row, two rows, and all rows of logits at a time."""
    monkeypatch.setattr(logprobs, "CHUNK_ELEMENTS", request.param)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_values_and_gradients_are_those_of_log_softmax(dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    logits = (torch.randn(4, 7, dtype=dtype) * 5).requires_grad_()
    weights = torch.linspace(-1, 2, len(TARGETS), dtype=dtype)
    expected = logits.log_softmax(-1)[SOURCES, TARGETS]
    found = token_logprobs(logits, SOURCES, TARGETS)
    assert torch.allclose(found, expected, atol=1e-6)
    (ours,) = torch.autograd.grad((found * weights).sum(), logits)
    (theirs,) = torch.autograd.grad((expected * weights).sum(), logits)
    assert torch.allclose(ours, theirs, atol=1e-6)


def test_gradients_agree_with_finite_differences() -> None:
    torch.manual_seed(0)
    logits = torch.randn(4, 7, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x: token_logprobs(x, SOURCES, TARGETS), logits)


def test_half_precision_logits_are_normalised_in_single_precision() -> None:
    torch.manual_seed(0)
    logits = (torch.randn(4, 7) * 5).bfloat16().requires_grad_()
    exact = logits.detach().double().log_softmax(-1)[SOURCES, TARGETS]
    found = token_logprobs(logits, SOURCES, TARGETS)
    assert found.dtype == torch.float32
    assert torch.allclose(found.double(), exact, atol=1e-5)
    (gradient,) = torch.autograd.grad(found.sum(), logits)
    assert gradient.dtype == torch.bfloat16
