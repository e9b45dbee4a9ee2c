"""Which route suits a model: the fastest one that gives the model's own numbers.

What a model does with a packed row cannot be told from its name, so every route is tried on a few short groups and
compared with the plain way: one padded row per sequence, and the model's own logits.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, Literal

import torch

from tunalm.training.encoding import Group
from tunalm.training.logprobs import Read, Route, RouteName, device_of, reading, sequence_logprobs, unwrapped

Asked = Literal["auto"] | RouteName

AGREEMENT = {torch.float32: 1e-3, torch.bfloat16: 0.1, torch.float16: 0.03}
"""Nats per token, or units of the score, by which two routes may differ through rounding, by the precision of the
computation."""
PLAIN = Route("padded", None, "logits")


@dataclass(frozen=True)
class Choice:
    """A route, and why those before it were not taken."""

    route: Route
    refused: list[str]


def choose_route(
    model: Any,
    groups: Sequence[Group],
    asked: Asked = "auto",
    *,
    pad_id: int = 0,
    precision: torch.dtype = torch.float32,
    processes: int = 1,
    largest: Callable[[float], float] = lambda value: value,
    read: Read = sequence_logprobs,
) -> Choice:
    """Try routes in order of speed and take the first one that agrees with the plain way.

    Args:
        model: a causal language model, wrapped or not. It runs forward, without gradients, a few times.
        groups: that will be trained on; the shortest are tried.
        asked: a route by name is tried first.
        pad_id: stands where nothing does.
        precision: of the computation.
        processes: that train together; all of them must call this at the same time.
        largest: the largest of a number over all processes.
        read: gives the values that are compared.
    """
    sample = _sample(groups)
    longest = max(len(group.prompt) + len(target.tokens) for group in groups for target in group.targets)
    refused: list[str] = []
    with _evaluating(model):
        plain = _means(model, sample, PLAIN, pad_id, read)
        for route in _candidates(unwrapped(model), asked, processes):
            reason = _known(unwrapped(model), route, longest) or _disagreement(
                model, sample, route, pad_id, plain, AGREEMENT[precision], largest, read
            )
            if reason is None:
                return Choice(route, refused)
            refused.append(f"{route.name}{f' ({route.kernel})' if route.name == 'none' else ''}: {reason}")
    return Choice(PLAIN, refused)


def _sample(groups: Sequence[Group]) -> list[Group]:
    """The two shortest groups with several targets, or failing that the two shortest."""
    several = [group for group in groups if len(group.targets) > 1]
    return sorted(several or groups, key=lambda group: group.num_tokens)[:2]


def _candidates(model: Any, asked: Asked, processes: int) -> Iterator[Route]:
    """Routes in the order in which they are tried, each first with the log-probabilities taken at the head."""
    on_gpu = device_of(model).type == "cuda"
    names: list[Any] = ["varlen", "flex", "two_call"] if on_gpu else ["two_call"]
    names = ["none"] if has_dropout(model) else [*names, "mask4d", "none"]
    if asked != "auto":
        names = [asked, *(name for name in names if name == "none" and asked != "none")]
    for name in names + (["rows"] if processes == 1 and "rows" not in names else []) + ["padded"]:
        kernels: list[Any] = {"none": ["varlen", "two_call"] if on_gpu else ["two_call"]}.get(name, [name])
        for kernel in kernels:
            route = Route(name, None if name in ("rows", "padded") else kernel)
            yield route
            yield replace(route, head="logits")


def _known(model: Any, route: Route, longest: int) -> str | None:
    """Why a route cannot be right, where that does not show on short groups."""
    if route.shares and has_dropout(model):
        return "dropout would be the same for all responses"
    window = getattr(model.config.get_text_config(), "sliding_window", None)
    if route.kernel in ("mask4d", "flex") and window is not None and window < longest:
        return f"its mask knows no sliding window ({window} tokens, the longest sequence has {longest})"
    return None


def _disagreement(
    model: Any,
    sample: Sequence[Group],
    route: Route,
    pad_id: int,
    plain: torch.Tensor,
    tolerance: float,
    largest: Callable[[float], float],
    read: Read,
) -> str | None:
    """Why a route is not taken: it differs from the plain way, or the model refuses it."""
    problem = None
    try:
        difference = float((_means(model, sample, route, pad_id, read) - plain).abs().max())
    except (TypeError, ValueError, RuntimeError, IndexError, AttributeError) as error:
        problem, difference = str(error).strip().split("\n")[0][:120] or type(error).__name__, float("inf")
    difference = largest(difference)
    if difference <= tolerance:
        return None
    return problem or f"differs from the plain forward pass by {difference:.2g}"


def _means(model: Any, groups: Sequence[Group], route: Route, pad_id: int, read: Read) -> torch.Tensor:
    with reading(model, route):
        return read(model, groups, route, pad_id, always_share=True).means


def has_dropout(model: Any) -> bool:
    """Whether a training forward pass of the model is random."""
    attention = getattr(model.config.get_text_config(), "attention_dropout", 0.0)
    modules = (module.p for module in model.modules() if isinstance(module, torch.nn.Dropout))
    return bool(attention) or any(p > 0 for p in modules)


@contextmanager
def _evaluating(model: Any) -> Iterator[None]:
    was_training = model.training
    model.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        model.train(was_training)
