"""Evaluations as logs of inspect_ai, which its viewer opens: one file for each model and benchmark.

    predictions.jsonl, rows.jsonl, results.json --> TIME_BENCHMARK_ID.json (the JSON form of its log, version 2)

The form is written here, without the package: a log is plain JSON, and a test has its reader read it.
"""

from __future__ import annotations

import re
import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path

from tunalm.records import PLAIN_METRICS, EvaluationResults, Prediction, Result, StageState, Verdict
from tunalm.reporting.files import read_records, read_results
from tunalm.store import digest, iterate_rows, read_record, write_json

Log = Mapping[str, object]
STOPS = {"length": "max_tokens"}
"""What inspect_ai calls a reason to stop; all others are `stop`."""


def write_inspect_logs(stage: Path, out: Path) -> list[Path]:
    """Write the logs of a finished evaluation.

    Args:
        stage: folder of the evaluation.
        out: folder of the logs; those of the same evaluation are written over.

    Returns:
        Paths of the logs.

    Raises:
        DataError: the evaluation has not finished, or another version of tunalm has written it.
        StoreError: a log cannot be written.
    """
    results = read_results(stage / "results.json")
    state = read_record(stage / "stage.json", StageState) or StageState()
    ended = state.finished or time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    scores = {(row.benchmark, row.model, row.id): row for row in read_records(stage / "rows.jsonl", Verdict)}
    answers: defaultdict[tuple[str, str], list[Prediction]] = defaultdict(list)
    for answer in iterate_rows(stage / "predictions.jsonl", Prediction):
        if answer.benchmark in results.models[answer.model].results:
            answers[answer.model, answer.benchmark].append(answer)
    written = []
    for (model, benchmark), own in answers.items():
        verdicts = [scores.get((benchmark, model, answer.id)) for answer in own]
        log = _log(results, model, benchmark, own, verdicts, ended)
        name = re.sub(r"[^A-Za-z0-9-]+", "-", f"{benchmark}-{model}")
        path = out / f"{ended.removesuffix('Z').replace(':', '-')}_{name}_{digest([model, benchmark])[:12]}.json"
        write_json(path, log)
        written.append(path)
    return written


def _log(
    results: EvaluationResults,
    model: str,
    benchmark: str,
    answers: Sequence[Prediction],
    verdicts: Sequence[Verdict | None],
    ended: str,
) -> Log:
    known = results.models[model]
    result = known.results[benchmark]
    name = digest([known.identity, benchmark, [answer.id for answer in answers]])[:22]
    return {
        "version": 2,
        "status": "success",
        "eval": {
            "eval_id": name,
            "run_id": digest([ended, results.baseline])[:22],
            "created": ended,
            "task": benchmark,
            "task_id": digest(benchmark)[:22],
            "task_version": 0,
            "dataset": {"name": benchmark, "samples": len(answers), "sample_ids": [answer.id for answer in answers]},
            "model": f"tunalm/{model}",
            "config": {},
            "metadata": {"identity": known.identity, "template": result.template, "note": result.note},
        },
        "plan": {
            "steps": [{"solver": "generate", "params": {}}],
            "config": {"max_tokens": results.settings.max_new_tokens, "temperature": 0.0},
        },
        "results": {
            "total_samples": len(answers),
            "completed_samples": sum(answer.failure is None for answer in answers),
            "scores": [{"name": result.metric, "scorer": result.metric, "params": {}, "metrics": _metrics(result)}],
        },
        "stats": {"started_at": ended, "completed_at": ended, "model_usage": {}},
        "samples": [_sample(answer, verdict) for answer, verdict in zip(answers, verdicts, strict=True)],
    }


def _metrics(result: Result) -> Log:
    """Mean and standard error (0-1, or as they are), and the benchmark's own totals as they are."""
    found = {"mean": result.value, "stderr": result.stderr}
    whole = 1 if result.metric in PLAIN_METRICS else 100
    values = {name: value / whole for name, value in found.items() if value is not None} | result.official_totals
    return {name: {"name": name, "value": value, "params": {}} for name, value in values.items()}


def _sample(answer: Prediction, verdict: Verdict | None) -> Log:
    said = {"role": "assistant", "content": answer.prediction, "source": "generate"}
    usage = {"input_tokens": answer.prompt_tokens or 0, "output_tokens": answer.num_tokens or 0}
    usage["total_tokens"] = sum(usage.values())
    sample: dict[str, object] = {
        "id": answer.id,
        "epoch": 1,
        "input": answer.instruction,
        "target": answer.references,
        "messages": [{"role": "user", "content": answer.instruction, "source": "input"}, said],
        "output": {
            "model": answer.model,
            "choices": [{"message": said, "stop_reason": STOPS.get(answer.finish_reason or "", "stop")}],
            "completion": answer.prediction,
            "usage": usage,
        },
        "metadata": {"task": answer.task} if answer.task else {},
    }
    if verdict is not None and verdict.score is not None:
        sample["scores"] = {verdict.metric: {"value": verdict.score, "answer": answer.prediction}}
    if failure := answer.failure or (verdict and verdict.failure):
        sample["error"] = {"message": failure, "traceback": failure, "traceback_ansi": failure}
    return sample
