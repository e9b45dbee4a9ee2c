"""The stages `sft` and `train`, from a file of rows to a model that transformers loads."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import PeftModel
from transformers import AutoModelForCausalLM, AutoTokenizer

from tunalm import training
from tunalm.calls.context import StageContext
from tunalm.errors import DataError, StoreError
from tunalm.recipe import Data, Lists, Proxy, Sft, Train
from tunalm.records import Ranking, Response
from tunalm.store import Summary, write_rows
from tunalm.training.fitting import TrainingRun
from tunalm.training.metrics import read_metrics


def load(folder: Path) -> Any:
    return AutoModelForCausalLM.from_pretrained(folder)


def write(model: Any, folder: Path) -> torch.Tensor:
    tokenizer = AutoTokenizer.from_pretrained(folder)
    prompt: Any = tokenizer.apply_chat_template(
        [{"role": "user", "content": "Say 1"}], add_generation_prompt=True, return_tensors="pt"
    )
    return model.generate(**prompt, max_new_tokens=5)  # type: ignore[no-any-return]


def test_train_leaves_a_model_that_generates_and_nothing_half_done(
    train: Callable[..., Summary], context: StageContext, model_folder: Path
) -> None:
    summary = train()
    assert sorted(path.name for path in context.folder.iterdir()) == ["metrics.jsonl", "model", "training.json"]
    model = load(context.folder / "model")
    assert model.dtype == torch.float32
    assert model.config.use_cache
    assert model.generation_config.eos_token_id == [AutoTokenizer.from_pretrained(model_folder).eos_token_id]
    assert write(model, context.folder / "model").shape[1] > 5
    base = load(model_folder)
    assert not torch.equal(model.lm_head.weight, base.lm_head.weight)
    assert not (context.folder / "model" / "training_args.bin").exists()
    (context.folder / "model" / "new").touch()
    assert len({path.stat().st_mode for path in (context.folder / "model").iterdir()}) == 1
    assert (summary.requested, summary.ok) == (10, 10)
    assert summary.details["steps"] == 3 == len(read_metrics(context.folder / "metrics.jsonl"))


@pytest.mark.parametrize("kind", [Train, Proxy])
def test_the_same_settings_give_the_same_bits_and_the_seed_changes_them(
    train: Callable[..., Summary], context: StageContext, kind: type
) -> None:
    found = []
    for seed in (0, 0, 1):
        train(kind=kind, seed=seed)
        found.append((context.folder / "model" / "model.safetensors").read_bytes())
        (context.folder / "model").rename(context.folder / f"{len(found)}")
    assert found[0] == found[1] != found[2]


@pytest.mark.parametrize("kind", [Train, Proxy])
def test_a_run_that_was_stopped_goes_on_and_ends_at_the_same_bits(
    train: Callable[..., Summary], context: StageContext, monkeypatch: pytest.MonkeyPatch, kind: type
) -> None:
    straight = train(kind=kind)
    expected = (context.folder / "model" / "model.safetensors").read_bytes()
    (context.folder / "model").rename(context.folder / "straight")
    with monkeypatch.context() as patch:
        patch.setattr(TrainingRun, "_publish", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            train(kind=kind, save_steps=2)
    steps_before = read_metrics(context.folder / "metrics.jsonl")
    again = train(kind=kind, save_steps=2)
    assert read_metrics(context.folder / "metrics.jsonl") == steps_before  # all steps were in the last checkpoint
    assert (context.folder / "model" / "model.safetensors").read_bytes() == expected
    assert again.details.get("held_out") == straight.details.get("held_out")
    monkeypatch.setattr(TrainingRun, "_trainer", None)  # what is done is not done again
    assert train(kind=kind, save_steps=2) == again


def test_adapters_are_saved_beside_the_model_that_they_are_merged_into(
    train: Callable[..., Summary], context: StageContext, model_folder: Path
) -> None:
    train(lora_rank=2, lora_alpha=8)
    merged, base = load(context.folder / "model"), load(model_folder)
    ids = torch.arange(20)[None]
    adapted = PeftModel.from_pretrained(load(model_folder), context.folder / "adapter")
    assert torch.allclose(merged(ids).logits, adapted(ids).logits, atol=1e-4)
    assert not torch.allclose(merged(ids).logits, base(ids).logits, atol=1e-4)
    assert write(merged, context.folder / "model").shape[1] > 5


def test_sft_learns_the_references(tmp_path: Path, model_folder: Path, context: StageContext) -> None:
    path = tmp_path / "data.jsonl"
    path.write_text("".join(json.dumps({"instruction": f"Say {n}", "output": "Fine."}) + "\n" for n in range(8)))
    settings = Sft(
        model=str(model_folder),
        data=Data(source=str(path)),
        batch_size=4,
        epochs=10,
        learning_rate=1e-2,
        template="alpaca",
    )
    summary = training.run(settings, context)
    assert summary.ok == 8
    losses = [line["loss"] for line in read_metrics(context.folder / "metrics.jsonl")]
    assert losses[-1] < losses[0] / 4
    tokenizer = AutoTokenizer.from_pretrained(context.folder / "model")
    written = str(tokenizer.decode(write(load(context.folder / "model"), context.folder / "model")[0]))
    assert written.endswith("### Response:Fine.")


def test_sft_also_learns_the_responses_that_it_is_given(
    tmp_path: Path, model_folder: Path, rows: list[Ranking], context: StageContext
) -> None:
    data = tmp_path / "data.jsonl"
    data.write_text(json.dumps({"instruction": "Say 7", "output": "7"}) + "\n", encoding="utf-8")
    write_rows(tmp_path / "lists.jsonl", rows)
    settings = Sft(model=str(model_folder), data=Data(source=str(data)), responses=str(tmp_path / "lists.jsonl"))
    given = sum(response.failure is None and bool(response.text) for row in rows for response in row.responses)
    assert training.run(settings, context).requested == 1 + given


def test_lists_of_several_files_are_put_one_after_the_other(
    tmp_path: Path, model_folder: Path, rows: list[Ranking], context: StageContext
) -> None:
    for name in ("one", "other"):
        write_rows(tmp_path / f"{name}.jsonl", rows)
    parts = [
        Lists(source=str(tmp_path / "one.jsonl"), rows=":3"),
        Lists(source=str(tmp_path / "other.jsonl"), rows="-5:"),
    ]
    summary = training.run(Train(start=str(model_folder), rankings=parts, batch_size=8), context)
    assert summary.details["rows"] == 8
    assert summary.details["lists"] == [3, 5]


def test_what_was_left_out_is_told(train: Callable[..., Summary], rows: list[Ranking]) -> None:
    long = Ranking(id="long", instruction="a" * 200, reference="b", responses=rows[0].responses)
    wordy = Ranking(id="wordy", instruction="a", reference="b" * 200, responses=rows[0].responses)
    summary = train([*rows, long, wordy], max_length=64)
    counts = {name: summary.details[name] for name in ("rows", "trained", "dropped", "cut", "unranked", "idle")}
    assert counts == {"rows": 12, "trained": 11, "dropped": 1, "cut": 1, "unranked": 0, "idle": 0}
    assert (summary.requested, summary.ok, summary.failed, summary.unknown) == (11, 11, 0, 0)


def test_a_row_longer_than_the_positions_of_the_model_is_named(
    tmp_path: Path, make_model: Callable[..., Any], tokenizer: Any, rows: list[Ranking], train: Callable[..., Summary]
) -> None:
    make_model().save_pretrained(tmp_path / "base")
    config = json.loads((tmp_path / "base" / "config.json").read_text())
    (tmp_path / "base" / "config.json").write_text(json.dumps({**config, "max_position_embeddings": 30}))
    with pytest.raises(DataError, match=r"30 positions, and \d+ tokens in row row-\d"):
        train()
    assert train(max_length=30).details["cut"] > 0


def test_adapters_may_be_a_start(
    train: Callable[..., Summary], context: StageContext, tmp_path: Path, model_folder: Path, rows: list[Ranking]
) -> None:
    train(lora_rank=2)
    lists = tmp_path / "lists.jsonl"
    knobs: dict[str, Any] = {"rankings": [Lists(source=str(lists))], "learning_rate": 0.0, "batch_size": 4}
    continued = Train(start=str(context.folder / "adapter"), **knobs)
    training.train(rows, continued, tmp_path / "more")
    ids = torch.arange(20)[None]
    merged, found = load(context.folder / "model"), load(tmp_path / "more" / "model")
    assert torch.allclose(merged(ids).logits, found(ids).logits, atol=1e-5)


def test_rows_that_cannot_be_trained_on_are_refused(train: Callable[..., Summary], rows: list[Ranking]) -> None:
    short = [row.model_copy(update={"responses": row.responses[:1]}) for row in rows]
    for data, found in (
        ([], "no rows"),
        ([*rows, rows[3]], "id 'row-3' for the second time"),
        (short, "none of which has two ranked responses"),
    ):
        with pytest.raises(DataError, match=found):
            train(data)


@pytest.mark.parametrize(("changes", "imitated"), [({"mle_weight": 0}, 0), ({"imitate": "best"}, 4)])
def test_lists_without_any_reference_are_refused_unless_something_else_is_learned(
    train: Callable[..., Summary], rows: list[Ranking], changes: dict[str, Any], imitated: int
) -> None:
    without = [row.model_copy(update={"reference": None}) for row in rows[:4]]
    with pytest.raises(DataError, match="no reference in any of 4 lists"):
        train(without)
    summary = train(without, **changes)
    assert (summary.ok, summary.details["imitated"]) == (4, imitated)


def test_rows_without_a_reference_train_on_their_ranking_alone(
    train: Callable[..., Summary], rows: list[Ranking], capsys: pytest.CaptureFixture[str]
) -> None:
    summary = train(
        [row.model_copy(update={"reference": None if n < 3 else row.reference}) for n, row in enumerate(rows)]
    )
    assert (summary.details["trained"], summary.details["imitated"]) == (10, 7)
    assert "3 of 10 lists have no reference" in capsys.readouterr().err


def test_the_function_needs_no_stage_and_resumes_in_its_folder(
    tmp_path: Path, model_folder: Path, rows: list[Ranking], monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "mine"
    settings = Train(start=str(model_folder), rankings=[Lists(source="lists")], batch_size=4, save_steps=1)
    with monkeypatch.context() as patch:
        patch.setattr(TrainingRun, "_publish", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            training.train(rows, settings, out)
    assert training.train(rows, settings, out).ok == 10
    assert write(load(out / "model"), out / "model").shape[1] > 5
    with pytest.raises(StoreError, match="a training from another model, on other rows"):
        training.train(rows[:5], settings, out)


def test_lists_that_all_tie_are_no_error(train: Callable[..., Summary]) -> None:
    tied = [Response(text="a", rank=0), Response(text="b", rank=0)]
    summary = train([Ranking(id="x", instruction="Say x", reference="x", responses=tied)])
    assert summary.details["unranked"] == 1
