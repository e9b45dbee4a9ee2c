"""What is logged about every optimizer step: the parts of the loss, and what the ranking has learned so far."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from itertools import combinations
from pathlib import Path
from statistics import fmean
from typing import Any

from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from tunalm.store import write_text
from tunalm.training.encoding import Group
from tunalm.training.objective import ABSENT
from tunalm.training.step import MicroBatch


class Means:
    """Named averages that grow value by value, and can be added up over processes."""

    def __init__(self) -> None:
        self.sums: dict[str, tuple[float, float]] = {}

    def add(self, name: str, value: float, weight: float = 1.0) -> None:
        """Count `value` as the sum of `weight` observations."""
        total, count = self.sums.get(name, (0.0, 0.0))
        self.sums[name] = (total + value, count + weight)

    def merge(self, other: dict[str, tuple[float, float]]) -> None:
        """Add the `sums` of another process."""
        for name, (value, weight) in other.items():
            self.add(name, value, weight)

    def averages(self) -> dict[str, float]:
        """Every average by name, sorted."""
        return {name: total / count for name, (total, count) in sorted(self.sums.items()) if count}


def observe_list(means: Means, scores: Iterable[float], ranks: Iterable[int], margin: float) -> None:
    """Count one ranked list.

    `v_rank_R` is the mean score of rank R; `pair_accuracy_gap_D` the share of pairs, D ranks apart, in which the better
    response has the higher score; `pair_accuracy` the same over all pairs; `margins_met` the share of pairs whose hinge
    is 0, so that they move nothing any more.
    """
    present = [(rank, score) for rank, score in zip(ranks, scores, strict=True) if rank >= 0]
    for rank, score in present:
        means.add(f"v_rank_{rank}", score)
    for (better, high), (worse, low) in combinations(sorted(present, key=lambda pair: pair[0]), 2):
        gap = worse - better
        if gap == 0:
            continue
        means.add(f"pair_accuracy_gap_{gap}", float(high > low))
        means.add("pair_accuracy", float(high > low))
        means.add("margins_met", float(high - low >= margin * gap))


def observe_batch(means: Means, found: MicroBatch, groups: Sequence[Group], margin: float) -> None:
    """Count a micro-batch: its lists as `observe_list` does, `v_reference`, and over all sequences `response_tokens`
    and the log-probability of ending where the response ends (`eos_logprob`; cut responses have no end, and a model
    that does not write knows of none).

    `live_fraction` is the share of responses, what is imitated included, that move the weights.
    """
    share, logprobs = found.share, found.logprobs
    means.add("loss_rank", share.rank_loss, len(groups))
    means.add("loss_mle", share.mle_loss, share.imitating)
    means.add("tokens", found.tokens, 0)
    means.add("live_fraction", int(found.live.sum()), len(found.live))
    for scores, ranks in zip(share.scores.tolist(), share.ranks.tolist(), strict=True):
        observe_list(means, scores, ranks, margin)
    values = logprobs.means.tolist()
    for reference in share.references.tolist():
        if reference != ABSENT:
            means.add("v_reference", values[reference])
    for length in logprobs.lengths.tolist():
        means.add("response_tokens", length)
    if logprobs.last is None:
        return
    targets = (target for group in groups for target in group.targets)
    for target, last in zip(targets, logprobs.last.tolist(), strict=True):
        if target.ended:
            means.add("eos_logprob", last)


class MetricsFile(TrainerCallback):
    """Writes every line that the trainer logs to a JSONL file, one line per optimizer step and never two."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Take back what was logged after the checkpoint that training resumes from."""
        if state.is_world_process_zero:
            rewind(self.path, state.global_step)

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: dict[str, float] | None = None,
        **kwargs: Any,
    ) -> None:
        """Add a line; the closing totals of the trainer are not those of a step."""
        if state.is_world_process_zero and logs and "loss" in logs:
            add_line(self.path, {"step": state.global_step, **logs})


def add_line(path: Path, line: dict[str, Any]) -> None:
    """Add what is known of a step to a metrics file."""
    with open(path, "a", encoding="utf-8") as file:
        file.write(json.dumps(line) + "\n")


def rewind(path: Path, step: int) -> None:
    """Take the lines of later steps out of a metrics file."""
    kept = [line for line in read_metrics(path) if line["step"] <= step]
    write_text(path, "".join(json.dumps(line) + "\n" for line in kept))


def reward_figures(path: Path) -> dict[str, Any]:
    """Steps of a metrics file, and the mean reward of the first and of the last tenth of them."""
    rewards = [line["reward"] for line in read_metrics(path)]
    part = max(1, len(rewards) // 10)
    return {
        "steps": len(rewards),
        "reward_at_first": round(fmean(rewards[:part]), 4) if rewards else None,
        "reward_at_last": round(fmean(rewards[-part:]), 4) if rewards else None,
    }


def read_metrics(path: Path) -> list[dict[str, Any]]:
    """Lines of a metrics file; empty when there is none, and without a last line that a kill has torn."""
    if not path.exists():
        return []
    lines = []
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            lines.append(json.loads(line))
        except ValueError:
            break
    return lines
