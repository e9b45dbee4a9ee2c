"""Evaluations as logs of inspect_ai: what stands in them, and that its reader reads them."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from tunalm.records import Prediction, Verdict
from tunalm.reporting.inspect_logs import write_inspect_logs
from tunalm.reporting.run import Run
from tunalm.store import read_rows, write_rows


@pytest.fixture
def stage(read_only_run: Run, tmp_path: Path) -> Path:
    """An evaluation in which one answer failed and one was cut."""
    folder = tmp_path / "scores"
    shutil.copytree(read_only_run.path / "scores", folder)
    answers = read_rows(folder / "predictions.jsonl", Prediction)
    answers[0] = answers[0].model_copy(update={"failure": "no reply", "prediction": ""})
    answers[1] = answers[1].model_copy(update={"finish_reason": "length", "num_tokens": 7, "prompt_tokens": 3})
    write_rows(folder / "predictions.jsonl", answers)
    verdicts = read_rows(folder / "rows.jsonl", Verdict)
    write_rows(folder / "rows.jsonl", [verdicts[0].model_copy(update={"score": None}), *verdicts[1:]])
    return folder


def test_there_is_a_log_for_each_model_and_benchmark(stage: Path, tmp_path: Path) -> None:
    paths = write_inspect_logs(stage, tmp_path / "logs")
    assert len(paths) == len({path.name for path in paths}) == 3
    assert all(path.parent == tmp_path / "logs" for path in paths)
    assert write_inspect_logs(stage, tmp_path / "logs")[0].name.partition("_")[2] == paths[0].name.partition("_")[2]
    log: dict[str, Any] = json.loads(paths[0].read_text(encoding="utf-8"))
    assert (log["eval"]["task"], log["eval"]["model"]) == ("checkable", "tunalm/base")
    assert log["results"]["scores"][0]["metrics"]["mean"]["value"] == pytest.approx(0.2)
    assert (log["results"]["total_samples"], log["results"]["completed_samples"]) == (12, 11)
    failed, cut, *_ = log["samples"]
    assert (failed["error"]["message"], "scores" in failed) == ("no reply", False)
    assert cut["output"]["choices"][0]["stop_reason"] == "max_tokens"
    assert cut["output"]["usage"] == {"input_tokens": 3, "output_tokens": 7, "total_tokens": 10}
    assert cut["scores"]["success"]["value"] == 0


def test_the_reader_of_inspect_ai_reads_them(stage: Path, tmp_path: Path) -> None:
    reader = pytest.importorskip("inspect_ai.log")
    paths = write_inspect_logs(stage, tmp_path / "logs")
    assert len(reader.list_eval_logs(str(tmp_path / "logs"))) == len(paths)
    for path in paths:
        log = reader.read_eval_log(str(path))
        assert log.status == "success"
        assert len(log.samples) == log.results.total_samples == 12
        assert log.samples[1].output.completion.startswith("<script>")
