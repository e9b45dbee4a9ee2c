"""TRL trains on what `tunalm convert` writes, and sees the texts of the lists."""

from __future__ import annotations

import json
import math
import sys
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from transformers import AutoModelForCausalLM, AutoTokenizer

from tunalm.cli.app import main
from tunalm.records import Message, Ranking, Response
from tunalm.store import write_rows

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(find_spec("trl") is None, reason="TRL (extra baselines) is not installed"),
]


@pytest.fixture
def lists(tmp_path: Path) -> Path:
    """Three lists with a tie in each, so that all pairs are two of three."""
    texts = [("yes", 0), ("no", 1), ("n\u00f3", 1)]
    rows = [
        Ranking(
            id=str(number),
            instruction=f"Say {number}.",
            reference="yes!",
            history=[Message(role="system", content="Be short.")],
            responses=[Response(text=text, rank=rank) for text, rank in texts],
        )
        for number in range(3)
    ]
    write_rows(tmp_path / "lists.jsonl", rows)
    return tmp_path / "lists.jsonl"


def converted(lists: Path, name: str, to: str, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The dataset that TRL's users load from a converted file."""
    from datasets import load_dataset

    target = lists.parent / name
    words = ["--quiet", "convert", str(lists), str(target), "--to", to, "--pairs", "all"]
    monkeypatch.setattr(sys, "argv", ["tunalm", *words])
    with pytest.raises(SystemExit) as ended:
        main()
    assert not ended.value.code
    builder = "parquet" if target.suffix == ".parquet" else "json"
    return load_dataset(builder, data_files=str(target), split="train", cache_dir=str(lists.parent / "cache"))


def one_step(module: str, name: str, model: Path, rows: Any, out: Path) -> tuple[Any, float]:
    """Train for one step on all rows; returns the trainer and its loss."""
    trl = import_module(module)
    settings = getattr(trl, f"{name}Config")(
        output_dir=str(out),
        max_steps=1,
        per_device_train_batch_size=len(rows),
        report_to=[],
        use_cpu=True,
        bf16=False,
        save_strategy="no",
    )
    trainer = getattr(trl, f"{name}Trainer")(
        model=AutoModelForCausalLM.from_pretrained(model),
        args=settings,
        train_dataset=rows,
        processing_class=AutoTokenizer.from_pretrained(model),
    )
    return trainer, trainer.train().training_loss


@pytest.mark.parametrize("name", ["pairs.jsonl", "pairs.json", "pairs.parquet"])
def test_dpo_starts_from_a_loss_of_log_two_and_sees_the_texts(
    lists: Path, tiny_model: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = converted(lists, name, "trl-pairs", monkeypatch)
    assert len(rows) == 6
    trainer, loss = one_step("trl", "DPO", tiny_model, rows, lists.parent / "out")
    assert loss == pytest.approx(math.log(2), abs=1e-5)  # model and reference are the same
    tokenizer = AutoTokenizer.from_pretrained(tiny_model)
    seen = [
        {part: str(tokenizer.decode(row[f"{part}_ids"])) for part in ("prompt", "chosen", "rejected")}
        for row in trainer.train_dataset
    ]
    assert {each["chosen"].removesuffix("<|end|>") for each in seen} == {"yes"}
    assert {each["rejected"].removesuffix("<|end|>") for each in seen} == {"no", "n\u00f3"}
    assert "<|system|>Be short.<|end|><|user|>Say 0.<|end|><|assistant|>" in {each["prompt"] for each in seen}


def test_tpo_takes_the_reference_beside_the_pair(
    lists: Path, tiny_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if find_spec("trl.experimental.tpo") is None:
        pytest.skip("this version of TRL has no TPO")
    rows = converted(lists, "triples.jsonl", "trl-tpo", monkeypatch)
    assert json.loads((lists.parent / "triples.jsonl").read_text(encoding="utf-8").splitlines()[0])["reference"]
    _, loss = one_step("trl.experimental.tpo", "TPO", tiny_model, rows, lists.parent / "out")
    assert math.isfinite(loss)
    assert loss > 0
