"""How a model reads sequences, and which way suits it: the fastest one that gives the model's own numbers.

What a model does with a packed row cannot be told from its name, so every route is tried and compared with the plain
way: one padded row per sequence, and the model's own logits. In float32 the two must agree to rounding. In half
precision both are off; there the route may be no further from float32 than the plain way is, give or take half of it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import torch
from transformers import AttentionInterface

from tunalm.training.attention import Kernel, two_call
from tunalm.training.encoding import Group
from tunalm.training.heads import Head, device_of, unwrapped
from tunalm.training.objective import SequenceValues
from tunalm.training.packing import separate, tokens_read

RouteName = Literal["two_call", "varlen", "none", "padded"]
Asked = Literal["auto"] | RouteName

TOLERANCE = 1e-3
"""Nats per token of a response, or units of a score, by which a route may differ from the plain way in float32."""
SLACK = 1.5
"""How many times the plain way's error a route may have in half precision: the mean over tokens, against float32."""
NOISE = 0.1
"""The same mean, in nats, where float32 cannot be had (weights in half precision) and the two ways are compared."""
TRIED_TOKENS = 96
"""Target tokens over which errors in half precision are compared, so that no single short row decides."""


@dataclass(frozen=True)
class Route:
    """`two_call` and `varlen` read what a group has in common once; `none` packs whole sequences with the best kernel;
    `padded` gives every sequence a padded row."""

    name: RouteName
    kernel: Kernel | None
    head: Head | Literal["auto"] = "auto"

    @property
    def shares(self) -> bool:
        """Whether the sequences of a group are read as one."""
        return self.name == self.kernel

    def tokens(self, group: Group) -> int:
        """Tokens that the model reads for a group."""
        return tokens_read(group) if self.shares else sum(map(tokens_read, separate([group])))


PLAIN = Route("padded", None, "logits")


class ReadSequences(Protocol):
    """Reads the sequences of some groups by a route; `step.sequence_logprobs` is one."""

    def __call__(self, model: Any, groups: Sequence[Group], route: Route, pad_id: int) -> SequenceValues:
        """Values of the targets of all groups, in their order."""


@dataclass(frozen=True)
class RouteChoice:
    """A route, and why those before it were not taken."""

    route: Route
    refused: list[str]


def choose_route(
    model: Any,
    groups: Sequence[Group],
    asked: Asked = "auto",
    *,
    read: ReadSequences,
    pad_id: int = 0,
    half_precision: bool = False,
    largest: Callable[[float], float] = lambda value: value,
) -> RouteChoice:
    """Try routes in order of speed and take the first one that agrees with the plain way.

    Args:
        model: a causal language model, wrapped or not. It runs forward, without gradients, a few times.
        groups: that will be trained on; the shortest are tried.
        asked: a route by name is tried first.
        read: gives the values that are compared.
        pad_id: stands where nothing does.
        half_precision: whether the model computes in less than float32.
        largest: the largest of a number over all processes, which must call this at the same time.
    """
    with _evaluating(model):
        trial = _Trial(model, groups, read, pad_id, half_precision)
        refused: list[str] = []
        for route in _candidates(unwrapped(model), asked):
            if route.shares and has_dropout(unwrapped(model)):
                reason: str | None = "dropout would be the same for all responses"
            else:
                reason = trial.objection(route, largest)
            if reason is None:
                return RouteChoice(route, refused)
            refused.append(f"{route.name}{f' ({route.kernel})' if route.name == 'none' else ''}: {reason}")
    return RouteChoice(PLAIN, refused)


def _candidates(model: Any, asked: Asked) -> Iterator[Route]:
    """Routes in the order in which they are tried, each first with the log-probabilities taken at the head."""
    kernels: list[Any] = ["varlen", "two_call"] if device_of(model).type == "cuda" else ["two_call"]
    first: list[Any] = [asked] if asked != "auto" else [] if has_dropout(model) else kernels
    for name in dict.fromkeys([*first, "none", "padded"]):
        for kernel in {"none": kernels, "padded": [None]}.get(name, [name]):
            yield Route(name, kernel)
            yield Route(name, kernel, "logits")


class _Trial:
    """The shortest groups, read the plain way in float32 and in the precision of the run."""

    def __init__(
        self, model: Any, groups: Sequence[Group], read: ReadSequences, pad_id: int, half_precision: bool
    ) -> None:
        self.model, self.read, self.pad_id = model, read, pad_id
        self.groups = _shortest(groups, half_precision)
        with _in_float32(model):
            self.truth = self._values(PLAIN)
        self.plain = self._values(PLAIN) if half_precision else None

    def objection(self, route: Route, largest: Callable[[float], float]) -> str | None:
        """Why a route is not taken: it differs from the plain way, or the model refuses it."""
        problem, excess = None, float("inf")
        try:
            problem, excess = self._compare(route)
        except (TypeError, ValueError, RuntimeError, IndexError, AttributeError) as error:
            problem = str(error).strip().split("\n")[0][:120] or type(error).__name__
        return problem if not largest(excess) <= 1 else None

    def _compare(self, route: Route) -> tuple[str, float]:
        """What is to be said of a route, and by how many times it misses what is allowed."""
        if self.plain is None or not torch.equal(self.plain.tokens, self.truth.tokens):
            with _in_float32(self.model):
                difference = float((self._values(route).means - self.truth.means).abs().max())
            if self.plain is None or not difference <= TOLERANCE:
                return f"differs from the plain forward pass by {difference:.2g}", difference / TOLERANCE
        error = float((self._values(route).tokens - self.truth.tokens).abs().mean())
        allowed = max(SLACK * float((self.plain.tokens - self.truth.tokens).abs().mean()), TOLERANCE)
        if torch.equal(self.plain.tokens, self.truth.tokens):
            allowed = NOISE
        return f"is {error:.2g} a token off in half precision, where {allowed:.2g} is allowed", error / allowed

    def _values(self, route: Route) -> SequenceValues:
        with attending(unwrapped(self.model), route.kernel):
            return self.read(self.model, self.groups, route, self.pad_id)


def _shortest(groups: Sequence[Group], half_precision: bool) -> list[Group]:
    """Two short groups, if possible of several targets; in half precision as many as errors are compared over."""
    several = [group for group in groups if len(group.targets) > 1]
    ordered = sorted(several or groups, key=lambda group: group.num_tokens)
    sizes = [sum(len(target.tokens) for target in group.targets) for group in ordered]
    count = 2
    while half_precision and count < len(ordered) and sum(sizes[:count]) < TRIED_TOKENS:
        count += 1
    return ordered[:count]


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


@contextmanager
def _in_float32(model: Any) -> Iterator[None]:
    """Take off the autocast that accelerate has put around a forward pass."""
    wrapped = [module for module in model.modules() if "_original_forward" in vars(module)]
    casting = [vars(module).pop("forward", None) for module in wrapped]
    for module in wrapped:
        module.forward = module._original_forward
    try:
        with torch.autocast(device_of(unwrapped(model)).type, enabled=False):
            yield
    finally:
        for module, forward in zip(wrapped, casting, strict=True):
            if forward is None:
                del module.forward
            else:
                module.forward = forward


@contextmanager
def attending(model: Any, kernel: Kernel | None) -> Iterator[None]:
    """Let a transformers model attend by a kernel, and as before afterwards.

    A backward pass that recomputes layers belongs inside, too. None leaves the model as it is.
    """
    if kernel is None:
        yield
        return
    from tunalm.training.flash import varlen

    AttentionInterface.register(f"tunalm_{kernel}", varlen if kernel == "varlen" else two_call)
    before, model.config._attn_implementation = model.config._attn_implementation, f"tunalm_{kernel}"
    try:
        yield
    finally:
        model.config._attn_implementation = before
