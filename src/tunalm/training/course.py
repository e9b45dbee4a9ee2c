"""How far a run of reinforcement learning goes: what it writes, scores and learns from. Needs no torch."""

from __future__ import annotations

import math
from dataclasses import dataclass

from tunalm.recipe import Reinforce

ROWS_AT_ONCE = 32
"""Responses that PPO writes together; TRL writes those of a whole optimizer step."""


@dataclass(frozen=True)
class Course:
    """Roll-outs: responses are written and scored, then learned from."""

    rollouts: int
    responses: int
    """In each roll-out."""
    steps: int
    """Optimizer steps in each roll-out."""
    passes: int
    """How often each response is learned from."""
    rows_at_once: int
    """Responses that are written together."""
    sequences_at_once: int
    """Of a forward pass with gradients."""

    @property
    def all_steps(self) -> int:
        """Optimizer steps of the whole run."""
        return self.rollouts * self.steps

    @property
    def all_responses(self) -> int:
        """Of the whole run."""
        return self.rollouts * self.responses


def course_of(rows: int, settings: Reinforce) -> Course:
    """The course over so many instructions; `max_steps` decides where it is positive.

    PPO takes the instructions of a roll-out from one pass after the other; TRL's RLOO and GRPO leave out what does not
    fill an optimizer step at the end of a pass, and have no roll-outs at all where a step has more than there are.
    """
    if settings.method == "ppo":
        size, passes = max(1, min(settings.ppo.rollout_size, rows)), settings.ppo.epochs_per_rollout
        steps = math.ceil(size / settings.batch_size) * passes
        by_epochs, at_once = math.ceil(settings.epochs * rows / size), settings.ppo.sequences_at_once
        rollouts = math.ceil(settings.max_steps / steps) if settings.max_steps > 0 else by_epochs
        return Course(rollouts, size, steps, passes, min(ROWS_AT_ONCE, size), min(at_once, size))
    responses, per_pass = settings.batch_size * settings.num_responses, rows // settings.batch_size
    rollouts = settings.max_steps if settings.max_steps > 0 and per_pass else math.ceil(settings.epochs * per_pass)
    return Course(rollouts, responses, 1, 1, responses, settings.num_responses)
