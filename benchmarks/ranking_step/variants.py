"""The variants of a step, and whether they compute the same on the same weights and data."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import torch

from benchmarks.ranking_step.baselines import Step, Task, reference_step, strong_step
from benchmarks.ranking_step.settings import SETTINGS, Setting
from tunalm.training.batches import default_budget, pack
from tunalm.training.objective import Objective, StepSize
from tunalm.training.routes import choose_route
from tunalm.training.step import ranking_step, sequence_logprobs

LOSS_TOLERANCE, GRADIENT_TOLERANCE = 1e-5, 1e-5
"""In fp32: of the loss in absolute terms, of all gradients together relative to their norm."""
BF16_SLACK = 1.1
"""How many times R's error in bf16, against fp32, ours may be."""
BF16_SLACK_OF_BASELINES = 3.0
"""The same for S, whose chunked head rounds every log-probability to bf16."""
BF16_LOSS_TOLERANCE = 1e-2
"""An error of the loss in bf16 that is never too large, for R's may be small by chance."""


class DisagreementError(Exception):
    """A variant does not compute what the others do."""


@dataclass(frozen=True)
class Errors:
    """How far a variant is from R in fp32."""

    loss: float
    """Absolute."""
    gradients: float
    """Of all parameters together, relative to their norm; infinite if one has none."""


def _reference(task: Task, setting: Setting) -> Step:
    return reference_step(task, setting.reference_parts)


def _strong(head: Any, task: Task, setting: Setting) -> Step:
    return strong_step(task, head)


class _InPrecision(torch.nn.Module):
    """Runs a model under autocast, as accelerate does for a trainer; unchanged in fp32."""

    def __init__(self, model: Any, precision: torch.dtype) -> None:
        super().__init__()
        self.module = model
        self.precision = precision
        self._original_forward = model.forward

    def forward(self, **inputs: Any) -> Any:
        with torch.autocast(self.module.device.type, self.precision, enabled=self.precision != torch.float32):
            return self.module(**inputs)


def _ours(task: Task, setting: Setting) -> Step:
    """tunalm as it trains by default: route, head and micro-batches chosen by itself."""
    model = _InPrecision(task.model, task.precision)
    objective = Objective(task.margin, task.mle_weight, convention="lmops")
    half = task.precision != torch.float32
    route = choose_route(model, task.groups, read=sequence_logprobs, pad_id=task.pad_id, half_precision=half).route
    if setting.head != "auto":
        route = replace(route, head=setting.head)
    bins = pack([route.tokens(group) for group in task.groups], default_budget(task.model.device.type))
    micro_batches = [[task.groups[number] for number in members] for members in bins]
    size = StepSize.of(task.groups)

    def step() -> torch.Tensor:
        shares = [
            ranking_step(model, groups, objective, size, route=route, pad_id=task.pad_id).share
            for groups in micro_batches
        ]
        return torch.stack([share.loss for share in shares]).sum()

    return step


VARIANTS: dict[str, Callable[[Task, Setting], Step]] = {
    "R": _reference,
    "S chunked": partial(_strong, "chunked"),
    "S in place": partial(_strong, "in_place"),
    "ours": _ours,
}


def prepared(setting_name: str, variant: str) -> Step:
    """A step of a setting with a model of its own, for a process of its own."""
    setting = SETTINGS[setting_name]
    if setting.device == "cpu":
        torch.set_num_threads(1)
    return VARIANTS[variant](setting.task(setting.shape.model(setting.device)), setting)


def check_agreement(steps: Mapping[str, Step], truth: Step, model: Any, precision: torch.dtype) -> dict[str, Errors]:
    """Compare losses and gradients with those of R in fp32; the gradients in the model are lost.

    Args:
        steps: of all variants, R among them.
        truth: R in fp32.
        model: of all steps.
        precision: of `steps`. In fp32 all must agree with the truth to rounding, else none may be further from it
            than R is; the baselines may be so by a factor.

    Raises:
        DisagreementError: a variant computes something else.
    """
    loss, gradients = _outcome(truth, model)
    errors = {}
    for name, step in steps.items():
        other_loss, others = _outcome(step, model)
        errors[name] = Errors(abs(other_loss - loss), _relative_error(others, gradients))
    for name, found in errors.items():
        allowed = _allowed(name, errors["R"], precision)
        if not (found.loss <= allowed.loss and found.gradients <= allowed.gradients):
            raise DisagreementError(
                f"{name}: the loss differs by {found.loss:.1e} (allowed {allowed.loss:.1e}), the gradients by "
                f"{found.gradients:.1e} of their norm (allowed {allowed.gradients:.1e})"
            )
    return errors


def _allowed(name: str, errors_of_r: Errors, precision: torch.dtype) -> Errors:
    if precision == torch.float32:
        return Errors(LOSS_TOLERANCE, GRADIENT_TOLERANCE)
    slack = BF16_SLACK if name == "ours" else BF16_SLACK_OF_BASELINES
    return Errors(max(slack * errors_of_r.loss, BF16_LOSS_TOLERANCE * slack), slack * errors_of_r.gradients)


def _outcome(step: Step, model: Any) -> tuple[float, dict[str, torch.Tensor]]:
    model.zero_grad(set_to_none=True)
    loss = float(step())
    gradients = {name: weight.grad for name, weight in model.named_parameters() if weight.grad is not None}
    model.zero_grad(set_to_none=True)
    return loss, gradients


def _relative_error(found: Mapping[str, torch.Tensor], expected: Mapping[str, torch.Tensor]) -> float:
    if found.keys() != expected.keys():
        return math.inf
    squares = sum(float((found[name] - grad).double().square().sum()) for name, grad in expected.items())
    return math.sqrt(squares / sum(float(grad.double().square().sum()) for grad in expected.values()))
