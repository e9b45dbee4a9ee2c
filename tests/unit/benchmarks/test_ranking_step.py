"""The benchmark of the ranking step runs, compares like with like, and refuses to compare anything else."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from benchmarks.ranking_step import results
from benchmarks.ranking_step.__main__ import main
from benchmarks.ranking_step.baselines import Step, Task, lmops_ranking_loss, ordered_targets, reference_step
from benchmarks.ranking_step.settings import SETTINGS, Setting
from benchmarks.ranking_step.variants import VARIANTS, DisagreementError, check_agreement
from tunalm.training.losses import ranking_loss

TINY = SETTINGS["tiny"]


def make_task(precision: torch.dtype = torch.float32) -> Task:
    task = TINY.task(TINY.shape.model("cpu"))
    return Task(task.model, task.groups, precision)


@pytest.fixture
def _without_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(results, "peak_memory", lambda make, name, variant, device: 10**6)


@pytest.mark.usefixtures("_without_processes")
def test_the_tiny_setting_is_measured_and_written(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--settings", "tiny", "--rounds", "2", "--device", "cpu", "--json", str(tmp_path / "out.json")]) == 0
    assert "response tokens/s" in capsys.readouterr().out
    (result,) = json.loads((tmp_path / "out.json").read_text())["results"]
    assert result["setting"] == "tiny"
    assert {name: len(seconds) for name, seconds in result["seconds"].items()} == dict.fromkeys(VARIANTS, 2)
    assert result["ratios"]["time over R"]["median"] > 0


@pytest.mark.usefixtures("_without_processes")
def test_a_variant_that_computes_something_else_ends_the_run(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def without_margin(task: Task, setting: Setting) -> Step:
        return reference_step(Task(task.model, task.groups, task.precision, margin=0.0))

    monkeypatch.setitem(VARIANTS, "ours", without_margin)
    assert main(["--settings", "tiny", "--rounds", "2", "--device", "cpu"]) == 1
    assert "ours: the loss differs" in capsys.readouterr().err


def scaled(weight: torch.Tensor, factor: float) -> None:
    assert weight.grad is not None
    weight.grad *= factor


def without_gradient(weight: torch.Tensor) -> None:
    weight.grad = None


def perturbed(step: Step, task: Task, change: Callable[[torch.Tensor], object]) -> Step:
    """The step with the gradient of one small weight changed."""

    def run() -> torch.Tensor:
        loss = step()
        change(task.model.model.norm.weight)
        return loss

    return run


def test_a_wrong_or_missing_gradient_of_one_parameter_is_found() -> None:
    task = make_task()
    truth = reference_step(task)
    assert check_agreement({"R": truth}, truth, task.model, torch.float32)["R"].gradients < 1e-6
    for change in (lambda weight: scaled(weight, 1.01), without_gradient):
        with pytest.raises(DisagreementError):
            check_agreement({"R": truth, "ours": perturbed(truth, task, change)}, truth, task.model, torch.float32)


def test_in_bf16_nothing_may_be_further_from_fp32_than_the_reference_is() -> None:
    task = make_task(torch.bfloat16)
    truth = reference_step(Task(task.model, task.groups, torch.float32))
    steps = {name: make(task, TINY) for name, make in VARIANTS.items()}
    errors = check_agreement(steps, truth, task.model, torch.bfloat16)
    assert 1e-4 < errors["R"].gradients < 0.2
    wrong = perturbed(steps["ours"], task, lambda weight: scaled(weight, 2))
    with pytest.raises(DisagreementError):
        check_agreement({**steps, "ours": wrong}, truth, task.model, torch.bfloat16)


def test_parts_of_the_reference_add_up() -> None:
    task = make_task()
    whole, parts = reference_step(task), reference_step(task, parts=2)
    check_agreement({"R": parts}, whole, task.model, torch.float32)


def test_the_ranking_loss_is_that_of_the_library() -> None:
    torch.manual_seed(0)
    scores = torch.randn(3, 5)
    ranks = torch.arange(5).expand(3, 5)
    expected = ranking_loss(scores, ranks, margin=0.1, convention="lmops")
    torch.testing.assert_close(lmops_ranking_loss(scores, 0.1), expected)


def test_settings_are_drawn_alike_and_as_long_as_they_say() -> None:
    for setting in (SETTINGS["A"], SETTINGS["B"], SETTINGS["G2"]):
        groups = setting.make_groups()
        assert groups == setting.make_groups()
        lengths = [len(target.tokens) for group in groups for target in group.targets]
        assert sum(lengths) / len(lengths) == pytest.approx(setting.response, rel=0.02)
        assert sum(len(group.prompt) for group in groups) / len(groups) == pytest.approx(setting.prompt, rel=0.02)
        assert all(ordered_targets(group)[0].rank is None for group in groups)


def test_bounds_count_tokens_times_weights() -> None:
    over_r, over_s = SETTINGS["A"].bounds(SETTINGS["A"].make_groups())
    blocks, head = 4 * (4 * 256**2 + 3 * 256 * 688), 256 * 32000
    assert over_r == pytest.approx(5 * 320 * (blocks + head) / (576 * blocks + 320 * head))
    assert over_s == pytest.approx((5 * 320 * blocks + 320 * head) / (576 * blocks + 320 * head))


def test_an_unknown_setting_is_refused() -> None:
    with pytest.raises(SystemExit):
        main(["--settings", "nothing", "--device", "cpu"])
