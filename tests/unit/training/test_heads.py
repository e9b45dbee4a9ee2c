"""Log-probabilities at the head: the numbers of log_softmax, in both directions, for every parameter."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import pytest
import torch

from tunalm.training import heads
from tunalm.training.encoding import Group, Target
from tunalm.training.heads import answering, token_logprobs
from tunalm.training.packing import collate

SOURCES = torch.tensor([0, 0, 1, 3, 3, 2, 0])
TARGETS = torch.tensor([4, 4, 0, 2, 6, 1, 5])
GROUP = Group(
    "one",
    [5, 6, 7],
    [Target([8, 9, 10], 0, 0, ended=True), Target([8, 3], 1, 1, ended=True), Target([4] * 5, None, None, ended=True)],
)


@pytest.fixture(autouse=True, params=[1, 14, 1 << 20])
def _chunks(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """One row, two rows (of 7 logits), and all rows of logits at a time."""
    monkeypatch.setattr(heads, "CHUNK_ROWS", {"cpu": -(-request.param // 7)})
    monkeypatch.setattr(heads, "SOFTMAX_ELEMENTS", request.param)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_values_and_gradients_are_those_of_log_softmax(dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    logits = (torch.randn(4, 7, dtype=dtype) * 5).requires_grad_()
    weights = torch.linspace(-1, 2, len(TARGETS), dtype=dtype)
    expected = logits.log_softmax(-1)[SOURCES, TARGETS]
    found = token_logprobs(logits.clone(), SOURCES, TARGETS)
    assert torch.allclose(found, expected, atol=1e-6)
    (ours,) = torch.autograd.grad((found * weights).sum(), logits)
    (theirs,) = torch.autograd.grad((expected * weights).sum(), logits)
    assert torch.allclose(ours, theirs, atol=1e-6)


def test_half_precision_logits_are_normalised_in_single_precision() -> None:
    torch.manual_seed(0)
    logits = (torch.randn(4, 7) * 5).bfloat16().requires_grad_()
    exact = logits.detach().double().log_softmax(-1)[SOURCES, TARGETS]
    found = token_logprobs(logits.clone(), SOURCES, TARGETS)
    assert found.dtype == torch.float32
    assert torch.allclose(found.double(), exact, atol=1e-5)
    (gradient,) = torch.autograd.grad(found.sum(), logits)
    assert gradient.dtype == torch.bfloat16


@pytest.mark.parametrize("made", [torch.clone, torch.tanh])
def test_logits_are_used_up_once_and_not_in_silence(made: Callable[[torch.Tensor], torch.Tensor]) -> None:
    """A second backward pass needs them, and so does the gradient of tanh, which is computed from its result."""
    torch.manual_seed(0)
    found = token_logprobs(made(torch.randn(4, 7, requires_grad=True)), SOURCES, TARGETS).sum()

    def twice() -> None:
        found.backward(retain_graph=True)
        found.backward()

    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        twice()


def with_adapters(model: Any) -> Any:
    from peft import LoraConfig, get_peft_model

    adapted = get_peft_model(model, LoraConfig(r=4, target_modules=["lm_head", "q_proj"], init_lora_weights=False))
    return adapted.get_base_model()


@pytest.mark.parametrize("head", ["in_place", "chunked"])
@pytest.mark.parametrize("kind", ["plain", "tied", "adapters"])
def test_every_parameter_gets_the_gradient_of_the_logits(
    make_model: Callable[..., Any], kind: str, head: Literal["in_place", "chunked"]
) -> None:
    model = make_model(tie_word_embeddings=kind == "tied")
    model = with_adapters(model) if kind == "adapters" else model
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    batch = collate([GROUP], "rows", pad_id=0)
    weights = torch.linspace(-2, 3, len(batch.targets))
    logits = model(input_ids=batch.input_ids).logits.reshape(-1, model.config.vocab_size)[batch.kept]
    expected = logits.log_softmax(-1)[batch.sources, batch.targets]
    theirs = torch.autograd.grad((expected * weights).sum(), parameters)
    with answering(model, batch, head):
        found = model(input_ids=batch.input_ids).logits
    ours = torch.autograd.grad((found * weights).sum(), parameters)
    assert torch.allclose(found, expected, atol=1e-5)
    assert model(input_ids=batch.input_ids).logits.shape[-1] == model.config.vocab_size  # as before
    for mine, reference in zip(ours, theirs, strict=True):
        assert reference.any()
        assert (mine - reference).norm() <= 1e-5 * reference.norm()


def test_mixed_precision_reaches_the_head(make_model: Callable[..., Any]) -> None:
    model = make_model()
    batch = collate([GROUP], "rows", pad_id=0)
    found = []
    for head in ("in_place", "chunked"):
        with torch.autocast("cpu", torch.bfloat16), answering(model, batch, head):
            found.append(model(input_ids=batch.input_ids).logits)
    assert found[0].dtype == torch.float32
    assert torch.equal(*found)


def test_many_logits_are_computed_in_chunks(make_model: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    model, batch, widths = make_model(), collate([GROUP], "rows", pad_id=0), []
    original = heads.token_logprobs

    def spy(logits: torch.Tensor, *rest: torch.Tensor) -> torch.Tensor:
        widths.append(len(logits))
        return original(logits, *rest)

    monkeypatch.setattr(heads, "token_logprobs", spy)
    for kept in (1 << 20, 1):
        monkeypatch.setattr(heads, "KEPT_ELEMENTS", {"cpu": kept})
        with answering(model, batch, "auto"):
            model(input_ids=batch.input_ids)
    assert widths == [len(batch.kept)]  # the second time torch's own chunked kernel took them
