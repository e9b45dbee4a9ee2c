"""Forward and backward over the groups of one micro-batch, in one pass or in two.

The loss looks at the responses only through their log-probabilities. Once these are known, the loss's derivative by
each of them is a number, and the gradient is that of a weighted sum of log-probabilities:

    dL/dtheta = sum_k c_k d(log p_k)/dtheta,    c_k = dL/d(log p_k)

A pass without gradients gives every c_k. Then only the responses with c_k != 0 are read again, with gradients, under
the budget of tokens: exact, and peak memory depends on the budget and not on the length of the lists. A response has
c_k = 0 when its margins are met, or when the hinges that push it up and down cancel. This pays where few responses are
live (see `two_phases_pay`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from typing import Any

import torch

from tunalm.training.encoding import Group
from tunalm.training.logprobs import Logprobs, Read, Route, reading, sequence_logprobs
from tunalm.training.objective import Objective, Share, share_of_step
from tunalm.training.packing import pack

PAYS_BELOW = 0.6
"""Live share of the tokens read. One pass costs 3 units a token (backward counts 2); two passes cost 1 + 3 x the live
share; below 2/3 they are cheaper, and a little less is asked for."""


def two_phases_pay(live_tokens: float) -> bool:
    """Whether two passes are cheaper than one, where this share of the tokens read belongs to live responses."""
    return live_tokens < PAYS_BELOW


@dataclass(frozen=True)
class Outcome:
    """What became of a micro-batch; its gradients are in the model."""

    share: Share
    """Its share of the step's loss."""
    logprobs: Logprobs
    """Of its sequences, without a graph."""
    coefficients: torch.Tensor
    """[R], c_k of every sequence."""
    tokens: int
    """That a pass over the micro-batch reads."""
    live_tokens: int
    """That a pass over its live sequences reads."""

    @property
    def loss(self) -> torch.Tensor:
        """Scalar: the share of the step's loss."""
        return self.share.loss

    @property
    def live(self) -> torch.Tensor:
        """[R], bool: the sequence moves the weights."""
        return self.coefficients != 0


@dataclass
class RankingStep:
    """Computes losses and gradients of micro-batches.

    Attributes:
        model: a causal language model of transformers, wrapped or not, in training mode.
        objective: the knobs of the loss.
        route: how sequences are read.
        pad_id: stands where nothing does.
        token_budget: of a pass with gradients, where a micro-batch is read in two phases.
        synchronised: the context of a pass with gradients, told whether it is the last one of an optimizer step.
        largest: the largest of a number over all processes, for these must make as many passes as each other.
        read: gives the values of sequences that the loss looks at.
    """

    model: Any
    objective: Objective
    route: Route
    pad_id: int
    token_budget: int = 1024
    synchronised: Callable[[bool], AbstractContextManager[Any]] = lambda last: nullcontext()
    largest: Callable[[float], float] = lambda value: value
    read: Read = sequence_logprobs

    def __call__(
        self,
        groups: Sequence[Group],
        *,
        lists: float,
        tokens: float,
        backward: Callable[[torch.Tensor], None],
        two_phases: bool = False,
        last: bool = True,
    ) -> Outcome:
        """Add the gradients of a micro-batch to the model's.

        Args:
            groups: of the micro-batch, perhaps none.
            lists: number of lists in the whole optimizer step.
            tokens: number of target tokens in the whole optimizer step.
            backward: called with a scalar whose gradient is to be added, once for every pass.
            two_phases: see the module. Needs a forward pass without dropout.
            last: whether this is the optimizer step's last micro-batch.

        Raises:
            FloatingPointError: the loss is not finite; no gradient was computed.
        """
        with reading(self.model, self.route):
            if not two_phases:
                with self.synchronised(last):
                    logprobs = self._logprobs(groups)
                    outcome = self._outcome(logprobs, groups, lists, tokens)
                    backward((logprobs.sums * outcome.coefficients).sum())
                return outcome
            with torch.no_grad():
                logprobs = self._logprobs(groups)
            outcome = self._outcome(logprobs, groups, lists, tokens)
            self._second_phase(groups, outcome, backward, last)
            return outcome

    def _logprobs(self, groups: Sequence[Group]) -> Logprobs:
        return self.read(self.model, groups, self.route, self.pad_id)

    def _outcome(self, logprobs: Logprobs, groups: Sequence[Group], lists: float, tokens: float) -> Outcome:
        sums = logprobs.sums.detach().requires_grad_()
        known = replace(logprobs, sums=sums, last=None if logprobs.last is None else logprobs.last.detach())
        with torch.enable_grad():
            share = share_of_step(known, groups, self.objective, lists=lists, tokens=tokens)
        if not torch.isfinite(share.loss):
            raise FloatingPointError(f"a loss of {share.loss.item()}")
        (coefficients,) = torch.autograd.grad(share.loss, sums, allow_unused=True, materialize_grads=True)
        share = replace(share, loss=share.loss.detach())
        live = _live_part(groups, coefficients)
        return Outcome(
            share,
            replace(known, sums=sums.detach()),
            coefficients,
            tokens=sum(map(self.route.tokens, groups)),
            live_tokens=sum(self.route.tokens(group) for group, _ in live),
        )

    def _second_phase(
        self, groups: Sequence[Group], outcome: Outcome, backward: Callable[[torch.Tensor], None], last: bool
    ) -> None:
        parts = [
            part
            for group, coefficients in _live_part(groups, outcome.coefficients)
            for part in self._under_budget(group, coefficients)
        ]
        bins = pack([self.route.tokens(group) for group, _ in parts], self.token_budget)
        passes = round(self.largest(len(bins)))
        bins += [[]] * (passes - len(bins))
        for number, members in enumerate(bins, start=1):
            with self.synchronised(last and number == passes):
                logprobs = self._logprobs([parts[member][0] for member in members])
                weights = [weight for member in members for weight in parts[member][1]]
                backward((logprobs.sums * logprobs.sums.new_tensor(weights)).sum())

    def _under_budget(self, group: Group, coefficients: list[float]) -> list[tuple[Group, list[float]]]:
        """Cut a group that is over the budget; each part reads the prompt again."""
        if self.route.tokens(group) <= self.token_budget or len(group.targets) == 1:
            return [(group, coefficients)]
        half = len(group.targets) // 2
        return [
            part
            for targets, weights in (
                (group.targets[:half], coefficients[:half]),
                (group.targets[half:], coefficients[half:]),
            )
            for part in self._under_budget(replace(group, targets=targets), weights)
        ]


def _live_part(groups: Sequence[Group], coefficients: torch.Tensor) -> list[tuple[Group, list[float]]]:
    """The groups reduced to their live targets, with the coefficients of these; groups without any are left out."""
    following = iter(coefficients.tolist())
    parts = []
    for group in groups:
        pairs = [(target, weight) for target, weight in zip(group.targets, following, strict=False) if weight != 0]
        if pairs:
            parts.append((replace(group, targets=[target for target, _ in pairs]), [weight for _, weight in pairs]))
    return parts
