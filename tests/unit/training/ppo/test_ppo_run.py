"""PPO from settings to a model: it learns what a proxy likes, and a kill changes nothing."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM

pytest.importorskip("torchrl")

from tunalm import training
from tunalm.calls.context import StageContext
from tunalm.data import load
from tunalm.engines.huggingface.proxies import ProxyScorer
from tunalm.errors import DataError, TrainingError
from tunalm.recipe import Reinforce
from tunalm.training import course_of
from tunalm.training.ppo.run import rate_at


@pytest.fixture
def settings(model_folder: Path, proxy_folder: Path) -> Callable[..., Reinforce]:
    """Makes the settings of a small run; changes go to it, or to its `ppo`."""

    def make(ppo: dict[str, Any] | None = None, **changes: Any) -> Reinforce:
        few = {"batch_size": 4, "max_new_tokens": 6, "learning_rate": 1e-3, "epochs": 3, "precision": "fp32"}
        small = {"rollout_size": 8, "warmup_rollouts": 1, "sequences_at_once": 3, **(ppo or {})}
        data = {"source": "checkable:train", "limit": 12}
        models = {"start": str(model_folder), "reward": str(proxy_folder)}
        return Reinforce.model_validate({"method": "ppo", **models, "data": data, **few, "ppo": small, **changes})

    return make


def context(folder: Path) -> StageContext:
    folder.mkdir(exist_ok=True)
    return StageContext(folder, folder.parent / "ledger.sqlite")


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return load_file(folder / "model" / "model.safetensors")


def metrics(folder: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]


def test_the_defaults_are_those_of_alpacafarm() -> None:
    plain = Reinforce.model_validate({"method": "ppo", "start": "a/b", "reward": "c/d", "data": "checkable:train"})
    assert (plain.batch_size, plain.learning_rate, plain.kl_weight, plain.max_new_tokens) == (256, 1e-5, 0.0067, 300)
    assert (plain.ppo.rollout_size, plain.ppo.epochs_per_rollout, plain.ppo.max_prompt_tokens) == (512, 2, 192)
    assert plain.temperature == plain.ppo.gamma == plain.ppo.gae_lambda == 1
    assert Reinforce.model_validate({**plain.model_dump(), "method": "rloo", "num_responses": 2}).method == "rloo"


def test_the_course_of_a_run_follows_epochs_or_steps(settings: Callable[..., Reinforce]) -> None:
    def rollouts_and_steps(rows: int, **changes: Any) -> tuple[int, int]:
        ahead = course_of(rows, settings(**changes))
        return ahead.rollouts, ahead.steps

    assert rollouts_and_steps(12) == (5, 4)  # 3 epochs of 12 in roll-outs of 8; 2 passes of 2 steps
    assert rollouts_and_steps(12, max_steps=9) == (3, 4)
    assert rollouts_and_steps(5) == (3, 4)


def test_the_learning_rate_moves_once_a_rollout_and_is_never_0() -> None:
    assert [rate_at(number, 6, 2) for number in range(6)] == [0.5, 1.0, 0.8, 0.6, 0.4, 0.2]
    assert rate_at(0, 1, 0) == rate_at(0, 1, 1) == 1


def test_a_model_is_trained_and_every_step_told(
    settings: Callable[..., Reinforce], model_folder: Path, tmp_path: Path
) -> None:
    asked = settings()
    summary = training.run(asked, context(tmp_path / "stage"))
    lines = metrics(tmp_path / "stage")
    assert [line["step"] for line in lines] == list(range(1, 21))
    told = {"reward", "kl", "entropy", "clip_fraction", "value_loss", "policy_loss", "response_tokens", "without_end"}
    assert told <= lines[0].keys()
    assert lines[0]["kl"] == 0  # the policy is still the start
    assert summary.details["steps"] == 20
    start = AutoModelForCausalLM.from_pretrained(model_folder)
    trained = AutoModelForCausalLM.from_pretrained(tmp_path / "stage" / "model")
    assert not torch.equal(trained.lm_head.weight, start.lm_head.weight)
    assert training.run(asked, context(tmp_path / "stage")) == summary


def test_how_a_step_is_split_changes_nothing(settings: Callable[..., Reinforce], tmp_path: Path) -> None:
    for size in (1, 4):
        asked = settings({"sequences_at_once": size}, max_steps=4)
        training.run(asked, context(tmp_path / str(size)))
    one, four = weights(tmp_path / "1"), weights(tmp_path / "4")
    assert max(float((one[name] - four[name]).abs().max()) for name in one) < 1e-5


def test_the_reward_goes_up_where_the_best_answer_is_known(
    settings: Callable[..., Reinforce], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A toy whose best answer is known: nothing but vowels."""

    def letters(self: ProxyScorer, conversations: Any, texts: list[str]) -> torch.Tensor:
        return torch.tensor([sum(letter in "aeiou" for letter in text) / max(1, len(text)) for text in texts])

    monkeypatch.setattr(ProxyScorer, "score", letters)
    asked = settings(
        {"rollout_size": 12, "missing_end_reward": None},
        epochs=25,
        batch_size=6,
        learning_rate=1e-2,
        kl_weight=0.0,
    )
    summary = training.run(asked, context(tmp_path / "stage"))
    assert summary.details["reward_at_first"] < 0.1
    assert summary.details["reward_at_last"] > 0.7


def test_a_score_that_is_no_number_names_its_instruction_and_no_other(
    settings: Callable[..., Reinforce], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []

    def broken(self: ProxyScorer, conversations: Any, texts: list[str]) -> torch.Tensor:
        asked.append(conversations[3][-1].text)
        return torch.tensor([math.nan if place == 3 else 0.0 for place in range(len(texts))])

    monkeypatch.setattr(ProxyScorer, "score", broken)
    with pytest.raises(TrainingError, match=r"^step 1: found no finite score of the proxy for \S+; expected") as caught:
        training.run(settings({"missing_end_reward": None}), context(tmp_path / "stage"))
    (named,) = [row for row in load(settings().data) if row.messages()[-1].text == asked[0]]
    assert f" for {named.id};" in str(caught.value)


@pytest.mark.parametrize(("rate", "said"), [(1e3, "gradients that are not finite for"), (1e30, "a loss of nan for")])
def test_training_that_runs_away_stops_and_names_instructions(
    settings: Callable[..., Reinforce], tmp_path: Path, rate: float, said: str
) -> None:
    ids = {row.id for row in load(settings().data)}
    with pytest.raises(TrainingError, match=said) as caught:
        training.run(settings(learning_rate=rate, epochs=20), context(tmp_path / "stage"))
    assert any(id_ in str(caught.value) for id_ in ids)
    assert not (tmp_path / "stage" / "model").exists()


def test_instructions_that_are_all_too_long_are_an_error(settings: Callable[..., Reinforce], tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"more than 1 tokens.*max_prompt_tokens"):
        training.run(settings({"max_prompt_tokens": 1}), context(tmp_path / "stage"))
