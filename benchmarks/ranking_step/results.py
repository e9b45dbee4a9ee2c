"""Measures settings and says what came out."""

from __future__ import annotations

import statistics
from dataclasses import asdict, dataclass, replace
from typing import Any

import torch

from benchmarks.measure import Spread, clock_of, interleaved, peak_memory, ratios
from benchmarks.ranking_step.baselines import reference_step
from benchmarks.ranking_step.settings import SETTINGS, Against, Setting
from benchmarks.ranking_step.variants import VARIANTS, Errors, check_agreement, prepared

COLUMNS = (
    "setting",
    "seconds R / S / ours",
    "time over R",
    "bound",
    "time over S",
    "bound",
    "MB R / S / ours",
    "memory over R",
    "groups/s",
    "response tokens/s",
    "to reach (aim)",
    "reached",
)
NOTES = (
    "R: the authors' trainer, rewritten. S: no padding, log-probabilities of response tokens only, no shared prompts;",
    "   the faster of a chunked head and one in place.",
    "Over: median (minimum-maximum) of the ratios to ours, round by round. Bound: ratio of tokens times weights.",
    "MB: peak over one step beyond weights and gradients.",
)


@dataclass(frozen=True)
class Result:
    """Of one setting; `S` is the faster of its two heads."""

    name: str
    setting: Setting
    seconds: dict[str, list[float]]
    """Of each variant in each round."""
    first_seconds: dict[str, float]
    """Of each variant's first step, with whatever is compiled in it."""
    memory: dict[str, int]
    """Bytes, of R, S and ours."""
    errors: dict[str, Errors]
    strong: str
    """Which variant is S."""

    def spreads(self) -> dict[Against, Spread]:
        """What there are figures to reach for, and the time ratio that there is none for."""
        ours, memory = self.seconds["ours"], self.memory["R"] / self.memory["ours"]
        return {
            "time over R": ratios(self.seconds["R"], ours),
            "time over S": ratios(self.seconds[self.strong], ours),
            "memory over R": Spread.of([memory]),
        }

    def reached(self) -> str:
        """`aim`, `claim`, what is missing for the claim, or nothing where there is nothing to reach."""
        medians = {against: spread.median for against, spread in self.spreads().items()}
        missing = [against for against, value in self.setting.claims.items() if medians[against] < value]
        if missing:
            return f"no: {', '.join(missing)}"
        if not self.setting.claims:
            return ""
        return "aim" if all(medians[against] >= value for against, value in self.setting.aims.items()) else "claim"

    def row(self) -> list[str]:
        """Cells of the table, in the order of `COLUMNS`."""
        spreads = self.spreads()
        groups = self.setting.make_groups()
        over_r, over_s = self.setting.bounds(groups)
        seconds = {name: statistics.median(values) for name, values in self.seconds.items()}
        tokens = sum(len(target.tokens) for group in groups for target in group.targets)
        strong = self.strong
        return [
            self.name,
            " / ".join(f"{seconds[name]:.3g}" for name in ("R", strong, "ours")),
            str(spreads["time over R"]),
            f"{over_r:.2f}",
            str(spreads["time over S"]),
            f"{over_s:.2f}",
            " / ".join(f"{self.memory[name] / 1e6:.0f}" for name in ("R", strong, "ours")),
            f"{spreads['memory over R'].median:.1f}",
            f"{len(groups) / seconds['ours']:.3g}",
            f"{tokens / seconds['ours']:.4g}",
            _to_reach(self.setting),
            self.reached(),
        ]

    def as_json(self) -> dict[str, Any]:
        """Everything, for programs."""
        over_r, over_s = self.setting.bounds(self.setting.make_groups())
        return {
            "setting": self.name,
            **asdict(self.setting),
            "strong": self.strong,
            "seconds": self.seconds,
            "first_seconds": self.first_seconds,
            "peak_bytes": self.memory,
            "errors": {name: asdict(errors) for name, errors in self.errors.items()},
            "ratios": {against: asdict(spread) for against, spread in self.spreads().items()},
            "bounds": {"time over R": over_r, "time over S": over_s},
            "reached": self.reached(),
        }


def _to_reach(setting: Setting) -> str:
    return ", ".join(
        f"{against.removeprefix('time over ')} {claim:g} ({setting.aims.get(against, claim):g})"
        for against, claim in setting.claims.items()
    )


def measure(name: str, rounds: int) -> Result:
    """Check that the variants of a setting agree, and measure them.

    Raises:
        DisagreementError: they do not.
    """
    setting = SETTINGS[name]
    clock = clock_of(setting.device)
    model = setting.shape.model(setting.device)
    task = setting.task(model)
    steps = {variant: make(task, setting) for variant, make in VARIANTS.items()}
    truth = reference_step(replace(task, precision=torch.float32), parts=setting.groups)
    first_seconds = {variant: clock(step) for variant, step in steps.items()}
    errors = check_agreement(steps, truth, model, task.precision)
    seconds = interleaved(steps, rounds, clock=clock)
    strong = min((variant for variant in steps if variant.startswith("S")), key=lambda s: statistics.median(seconds[s]))
    del steps, truth, task, model
    memory = {variant: peak_memory(prepared, name, variant, device=setting.device) for variant in ("R", strong, "ours")}
    memory["R"] *= setting.reference_parts
    return Result(name, setting, seconds, first_seconds, memory, errors, strong)
