"""Benchmarks: which rows they take and how they score an answer."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tunalm.errors import DataError
from tunalm.evaluation import base
from tunalm.evaluation.base import open_benchmark
from tunalm.recipe import BenchmarkSettings, Evaluate
from tunalm.records import Prediction


def answer(text: str, **fields: Any) -> Prediction:
    return Prediction(id="1", benchmark="any", model="any", prediction=text, **fields)


def opened(settings: Any) -> base.Benchmark:
    benchmark = open_benchmark(BenchmarkSettings.model_validate(settings))
    assert isinstance(benchmark, base.Benchmark)
    return benchmark


def alpaca_file(folder: Path, *references: str) -> str:
    path = folder / "rows.jsonl"
    rows = [{"instruction": f"Say {index}.", "input": "", "output": text} for index, text in enumerate(references)]
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    return str(path)


def test_checkable_gives_one_to_right_answers_and_zero_to_all_others() -> None:
    benchmark = opened("checkable")
    rows = benchmark.rows()
    assert benchmark.metric == "success"
    for row in rows:
        assert benchmark.score(answer(row.reference or "", checker=row.checker)) == 1.0
        assert benchmark.score(answer("", checker=row.checker)) == 0.0


def test_an_answer_that_is_nearly_right_is_not_right(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tunalm.evaluation.checkable.check", lambda checker, text: 0.9)
    benchmark = opened("checkable")
    assert benchmark.score(answer("almost", checker={"name": "any"})) == 0.0


def test_reference_is_rouge_l_with_the_best_reference(tmp_path: Path) -> None:
    benchmark = opened({"name": "reference", "data": alpaca_file(tmp_path, "a b")})
    assert benchmark.metric == "rougeL"
    assert [row.reference for row in benchmark.rows()] == ["a b"]
    assert benchmark.score(answer("the cat sat", references=["dogs", "the cat ran"])) == pytest.approx(2 / 3)


@pytest.mark.parametrize(
    ("name", "complaint"), [("checkable", "2 of 2 rows have no checker"), ("reference", "1 of 2 rows without a")]
)
def test_rows_that_cannot_be_scored_are_refused(tmp_path: Path, name: str, complaint: str) -> None:
    with pytest.raises(DataError, match=complaint):
        opened({"name": name, "data": alpaca_file(tmp_path, "a", "")}).rows()


@pytest.mark.parametrize(("tokenizer", "expected"), [("rouge", 0.0), ("unicode", 1.0)])
def test_other_scripts_need_the_unicode_tokenizer(tmp_path: Path, tokenizer: str, expected: float) -> None:
    text = "\u0645\u0631\u062d\u0628\u0627"
    data = {"name": "reference", "data": alpaca_file(tmp_path, text), "rouge_tokenizer": tokenizer}
    assert opened(data).score(answer(text, references=[text])) == expected


@pytest.mark.parametrize("benchmarks", [[], ["checkable", "checkable"]])
def test_an_evaluation_has_benchmarks_that_differ(benchmarks: list[str]) -> None:
    with pytest.raises(ValueError, match="benchmarks must be some whose names or titles differ"):
        Evaluate.model_validate({"kind": "evaluate", "models": ["a/b"], "benchmarks": benchmarks})
