"""A byte tokenizer and random models of a few thousand weights."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from tests.tiny import save_tiny_scorer, tiny_tokenizer
from tunalm import training
from tunalm.calls.context import StageContext
from tunalm.data.prompts import PromptEncoder
from tunalm.recipe import Proxy, Train
from tunalm.records import Ranking, Response
from tunalm.store import Summary, write_rows
from tunalm.training.trainer import RankingConfig, RankingTrainer

Make = Callable[..., RankingTrainer]


@pytest.fixture(scope="module", autouse=True)
def _small_heap() -> Iterator[None]:
    """Every run of the trainer collects garbage: spare it the half million objects of the libraries."""
    gc.collect()
    gc.freeze()
    yield
    gc.unfreeze()


@pytest.fixture
def tokenizer() -> PreTrainedTokenizerFast:
    return tiny_tokenizer()


@pytest.fixture
def encoder(tokenizer: PreTrainedTokenizerFast) -> PromptEncoder:
    return PromptEncoder(tokenizer, "chat", "tiny")


@pytest.fixture
def make_model(tokenizer: PreTrainedTokenizerFast) -> Callable[..., Any]:
    """Makes a random Llama, the same one every time; large weights, so that what a token sees matters."""

    def make(**changes: Any) -> LlamaForCausalLM:
        torch.manual_seed(0)
        return LlamaForCausalLM(
            LlamaConfig(
                vocab_size=len(tokenizer),
                hidden_size=32,
                intermediate_size=48,
                num_hidden_layers=2,
                num_attention_heads=4,
                num_key_value_heads=2,
                max_position_embeddings=512,
                initializer_range=0.3,
                eos_token_id=tokenizer.eos_token_id,
                pad_token_id=tokenizer.eos_token_id,
                bos_token_id=None,
                **changes,
            )
        )

    return make


@pytest.fixture
def model_folder(tmp_path: Path, make_model: Callable[..., Any], tokenizer: PreTrainedTokenizerFast) -> Path:
    folder = tmp_path / "base"
    make_model().save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture
def proxy_folder(model_folder: Path, tmp_path: Path) -> Path:
    """A random proxy with the tokens of the model."""
    return save_tiny_scorer(tmp_path / "proxy", model_folder, max_length=512)


@pytest.fixture
def context(tmp_path: Path) -> StageContext:
    """Of a stage that has a folder of its own."""
    folder = tmp_path / "stage"
    folder.mkdir()
    return StageContext(folder, tmp_path / "ledger.sqlite")


@pytest.fixture
def rows() -> list[Ranking]:
    """Ten lists of unequal length, with ties, an absent response, and one row with nothing but a reference."""
    made = [
        Ranking(
            id=f"row-{n}",
            instruction="Say " + "again " * (n % 3) + str(n),
            reference=f"It is {n}" + "." * n,
            responses=[
                Response(text="yes " * (n % 4 + 1), rank=0),
                Response(text="no", rank=1),
                Response(text="never " * 3, rank=1 if n % 2 else 2),
                Response(text="lost", rank=None),
            ][: 2 + n % 3],
        )
        for n in range(9)
    ]
    return [*made, Ranking(id="row-9", instruction="Say it", reference="Fine.", responses=[])]


@pytest.fixture
def train(tmp_path: Path, model_folder: Path, rows: list[Ranking], context: StageContext) -> Callable[..., Summary]:
    """Runs the stage `train` or `proxy` on the tiny model; changes go to its settings."""

    def run(data: list[Ranking] | None = None, kind: type[Train | Proxy] = Train, **changes: Any) -> Summary:
        path = tmp_path / "lists.jsonl"
        write_rows(path, rows if data is None else data)
        few = {"batch_size": 4, "token_budget": 64, "learning_rate": 1e-2}
        return training.run(kind(start=str(model_folder), rankings=str(path), **{**few, **changes}), context)

    return run


@pytest.fixture
def make_trainer(make_model: Callable[..., Any], tokenizer: Any, rows: list[Ranking], tmp_path: Path) -> Make:
    """Makes a trainer of the same tiny model and rows; changes go to its config."""

    def make(data: list[Ranking] | None = None, model: Any = None, callbacks: Any = None, **changes: Any) -> Any:
        config: dict[str, Any] = {
            "output_dir": str(tmp_path / "checkpoints"),
            "save_strategy": "no",
            "learning_rate": 1e-2,
            "warmup_steps": 0,
            "use_cpu": True,
            "disable_tqdm": True,
            "batch_size": 8,
            **changes,
        }
        return RankingTrainer(
            model=make_model() if model is None else model,
            args=RankingConfig(**config),
            train_dataset=rows if data is None else data,
            processing_class=tokenizer,
            callbacks=callbacks,
        )

    return make


def weights(trainer: RankingTrainer) -> torch.Tensor:
    return torch.cat([parameter.detach().flatten() for parameter in trainer.model.parameters()])
