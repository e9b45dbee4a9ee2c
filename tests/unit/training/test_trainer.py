"""The trainer: its loss and its update, however a step is split; its metrics; what it refuses."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.unit.training.conftest import Make, weights
from tunalm.errors import TrainingError
from tunalm.records import Ranking, Response
from tunalm.training.losses import Convention
from tunalm.training.plain_step import plain_loss
from tunalm.training.trainer import RankingTrainer


def logged(trainer: RankingTrainer) -> list[dict[str, float]]:
    return [line for line in trainer.state.log_history if "loss" in line]


@pytest.mark.parametrize("attention", ["auto", "none", "padded"])
def test_the_loss_of_a_step_is_the_equation(make_trainer: Make, attention: str) -> None:
    trainer = make_trainer(batch_size=10, token_budget=200, margin=0.3, mle_weight=0.7, attention=attention)
    with torch.no_grad():
        expected = plain_loss(trainer.model, trainer.encoded.groups, margin=0.3, mle_weight=0.7).item()
    trainer.train()
    assert logged(trainer)[0]["loss"] == pytest.approx(expected, rel=1e-5)


def test_without_responses_it_is_the_length_normalised_sft_loss(make_trainer: Make, rows: list[Ranking]) -> None:
    plain = [row.model_copy(update={"responses": []}) for row in rows]
    trainer = make_trainer(plain, batch_size=10)
    with torch.no_grad():
        expected = plain_loss(trainer.model, trainer.encoded.groups).item()
    trainer.train()
    [line] = logged(trainer)
    assert line["loss"] == pytest.approx(expected, rel=1e-5)
    assert line["loss_rank"] == 0


@pytest.mark.parametrize("convention", ["paper", "lmops"])
@pytest.mark.parametrize("optimizer", ["sgd", "adamw_torch"])
def test_loss_and_update_do_not_depend_on_how_a_step_is_split(
    make_trainer: Make, convention: Convention, optimizer: str
) -> None:
    """Ten rows in steps of eight, the second of which is incomplete: whole, in parts, row by row."""
    runs = []
    for split in ({"token_budget": 10_000}, {"token_budget": 300}, {"token_budget": 1}):
        trainer = make_trainer(
            **split,
            num_train_epochs=2,
            convention=convention,
            optim=optimizer,
            learning_rate=1e-4,
        )
        trainer.train()
        assert trainer.state.global_step == 4
        runs.append((torch.tensor([line["loss"] for line in logged(trainer)]), weights(trainer), logged(trainer)))
    first_losses, first_weights, first_lines = runs[0]
    for losses, found, lines in runs[1:]:
        assert (losses - first_losses).abs().max() < 1e-6 * first_losses.max()
        assert (found - first_weights).abs().max() < 1e-6
        for ours, theirs in zip(lines, first_lines, strict=True):
            assert ours == pytest.approx({**theirs, "seconds": ours["seconds"]}, rel=1e-3, abs=1e-5)


def test_lists_of_a_batch_size_given_by_accumulation_steps_are_those_of_transformers(make_trainer: Make) -> None:
    trainer = make_trainer(batch_size=None, per_device_train_batch_size=2, gradient_accumulation_steps=3)
    assert trainer.args.batch_size == 6
    assert trainer.args.gradient_accumulation_steps == 1  # a batch of the data loader is a step


def test_training_teaches_the_ranking(make_trainer: Make) -> None:
    trainer = make_trainer(num_train_epochs=30, learning_rate=3e-3)
    trainer.train()
    first, last = logged(trainer)[0], logged(trainer)[-1]
    assert last["loss_rank"] < first["loss_rank"] / 4
    assert last["pair_accuracy"] > 0.9 > first["pair_accuracy"]
    assert last["margins_met"] > first["margins_met"]
    assert last["v_rank_0"] > last["v_rank_1"] > last["v_rank_2"]


@pytest.mark.parametrize("loss", ["rrhf", "plackett_luce", "dpo", "simpo"])
def test_every_loss_teaches_the_ranking_however_a_step_is_split(make_trainer: Make, loss: str) -> None:
    changes = {"ranking_loss": loss, "beta": 1.0, "mle_weight": 0.1, "num_train_epochs": 8}
    once, twice = make_trainer(**changes), make_trainer(**changes, token_budget=60)
    once.train()
    twice.train()
    lines = logged(once)
    assert lines[-1]["pair_accuracy"] > lines[0]["pair_accuracy"]
    assert (weights(once) - weights(twice)).abs().max() < 1e-3


def test_dpo_starts_from_what_the_model_says_at_the_start(make_trainer: Make, rows: list[Ranking]) -> None:
    trainer = make_trainer(rows[:9], ranking_loss="dpo", beta=0.1, mle_weight=0.0, batch_size=100)
    trainer.train()
    assert logged(trainer)[0]["loss"] == pytest.approx(math.log(2), abs=1e-5)


def test_metrics_of_a_step_are_complete(make_trainer: Make) -> None:
    trainer = make_trainer(batch_size=10, token_budget=300)
    trainer.train()
    [line] = logged(trainer)
    targets = [target for group in trainer.encoded.groups for target in group.targets]
    assert line["response_tokens"] == pytest.approx(sum(len(target.tokens) for target in targets) / len(targets))
    assert line["loss"] == pytest.approx(line["loss_rank"] + line["loss_mle"], rel=1e-5)
    assert line["v_reference"] == pytest.approx(-line["loss_mle"], rel=1e-5)
    expected = sum(
        len(group.prompt) + sum(len(t.tokens) - 1 for t in group.targets) for group in trainer.encoded.groups
    )
    assert line["tokens"] == expected
    assert 0 < line["live_fraction"] <= 1
    assert {"eos_logprob", "grad_norm", "learning_rate", "seconds", "pair_accuracy_gap_1", "margins_met"} <= line.keys()


def test_a_loss_that_is_not_finite_stops_before_any_weight_is_changed(
    make_trainer: Make, rows: list[Ranking], tokenizer: Any
) -> None:
    poison = tokenizer.encode("#")[0]
    bad = rows[4].model_copy(update={"instruction": "# is poison"})
    trainer = make_trainer([*rows[:4], bad, *rows[5:]], token_budget=1)
    with torch.no_grad():
        trainer.model.get_input_embeddings().weight[poison] = float("nan")
    before = weights(trainer).clone()
    with pytest.raises(TrainingError, match=r"step \d.*nan in the rows row-4\.") as stopped:
        trainer.train()
    step = int(stopped.value.where.removeprefix("step "))
    unchanged = torch.equal(weights(trainer).nan_to_num(), before.nan_to_num())
    assert unchanged == (step == 1)
    assert weights(trainer).isnan().sum() == before.isnan().sum()


def test_a_gradient_that_is_not_finite_stops_before_any_weight_is_changed(make_trainer: Make) -> None:
    trainer = make_trainer()
    trainer.model.lm_head.weight.register_hook(lambda gradient: gradient * float("inf"))
    before = weights(trainer).clone()
    with pytest.raises(TrainingError, match="a gradient of norm"):
        trainer.train()
    assert torch.equal(weights(trainer), before)


def test_the_alpaca_template_is_saved_with_the_model(make_trainer: Make, tokenizer: Any, tmp_path: Path) -> None:
    trainer = make_trainer(template="alpaca")
    trainer.save_model(str(tmp_path / "saved"))
    rendered = (
        type(tokenizer)
        .from_pretrained(tmp_path / "saved")
        .apply_chat_template([{"role": "user", "content": "Add 1 and 2."}], tokenize=False, add_generation_prompt=True)
    )
    assert rendered.endswith("### Instruction:\nAdd 1 and 2.\n\n### Response:")


@pytest.mark.parametrize(("asked", "said"), [("auto", ""), ("two_call", "two_call: dropout would be the same")])
def test_a_model_that_cannot_share_prompts_is_trained_all_the_same(
    make_trainer: Make, make_model: Callable[..., Any], capsys: pytest.CaptureFixture[str], asked: str, said: str
) -> None:
    model = make_model()
    model.config.attention_dropout = 0.1
    trainer = make_trainer(model=model, attention=asked)
    trainer.train()
    assert trainer.route.name == "none"
    assert len(logged(trainer)) == 2
    assert said in capsys.readouterr().err


def test_every_lambda_of_a_sweep_sees_the_same_batches_and_denominators(
    make_trainer: Make, rows: list[Ranking]
) -> None:
    """Tied lists and rows with nothing but a reference stay at lambda 0, where they have nothing to learn."""
    tied = [Response(text="a", rank=0), Response(text="b", rank=0)]
    data = [*rows, *(Ranking(id=f"tied-{n}", instruction="Say x", reference="x", responses=tied) for n in range(9))]
    first = [
        logged(trainer)[0]
        for mle_weight in (0.0, 0.1, 10.0)
        for trainer in [make_trainer(data, mle_weight=mle_weight, max_steps=1)]
        if trainer.train()
    ]
    names = ("loss_rank", "loss_mle", "tokens", "v_reference", "response_tokens")
    assert [{name: line[name] for name in names} for line in first] == [{name: first[0][name] for name in names}] * 3
    assert first[0]["loss"] == pytest.approx(first[0]["loss_rank"])


def test_an_anchored_margin_starts_at_a_change_of_zero(make_trainer: Make) -> None:
    """Before anything has changed, every pair misses its whole margin."""
    trainer = make_trainer(anchor="start", margin=0.3, batch_size=100)
    trainer.train()
    groups = trainer.encoded.groups
    ranks = [[target.rank for target in group.targets if target.rank is not None] for group in groups]
    missed = [sum(max(0, worse - better) for better in of_list for worse in of_list) for of_list in ranks]
    assert logged(trainer)[0]["loss_rank"] == pytest.approx(0.3 * sum(missed) / len(groups), rel=1e-3)


def test_gradient_checkpointing_and_dropout_free_adapters_change_no_number(make_trainer: Make) -> None:
    plain, checkpointed = (make_trainer(activation_checkpointing=flag) for flag in (False, True))
    plain.train()
    checkpointed.train()
    assert torch.allclose(weights(plain), weights(checkpointed), atol=1e-6)
