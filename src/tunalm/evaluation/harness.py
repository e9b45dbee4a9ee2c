"""Results and samples in the shape of lm-evaluation-harness, so that tools which read its files read ours."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

from tunalm.records import Prediction
from tunalm.store import canonical, write_text

FILTER = "none"
"""Answers are scored as they are."""

Metrics = Mapping[str, Any]
"""Value by name of the metric; the standard error of `x` is `x_stderr`."""


@dataclass(frozen=True)
class TaskResult:
    """What is known of one task, or of a group of tasks, after scoring."""

    metrics: Metrics
    version: int
    """Of the task's data and rules: results of different versions must not be compared."""
    original: int
    """Rows that the benchmark has."""
    effective: int
    """Rows that were scored."""
    config: Mapping[str, Any] = field(default_factory=dict)
    """How the rows were made and scored: template, shots, limits, mode."""
    subtasks: Sequence[str] = ()
    """Names of the tasks of a group."""
    shots: int = 0


def document(tasks: Mapping[str, TaskResult], **more: Any) -> dict[str, Any]:
    """Make the content of a results file.

    Args:
        tasks: by name, a group before its tasks.
        more: further keys of the file, such as `model_name`.
    """
    return {
        "results": {name: {"alias": name, **task.metrics} for name, task in tasks.items()},
        "group_subtasks": {name: list(task.subtasks) for name, task in tasks.items() if task.subtasks},
        "configs": {name: {"task": name, **task.config} for name, task in tasks.items()},
        "versions": {name: task.version for name, task in tasks.items()},
        "n-shot": {name: task.shots for name, task in tasks.items()},
        "n-samples": {name: {"original": task.original, "effective": task.effective} for name, task in tasks.items()},
        "tunalm_version": version("tunalm"),
        **more,
    }


def for_harness(
    results: Mapping[str, Any], model: str, identity: str, samples: Sequence[Mapping[str, Any]]
) -> dict[str, Any]:
    """A results file as lm-evaluation-harness itself writes and reads it.

    There every metric has the name of a filter behind it, an unknown standard error is "N/A", and results are numbers
    alone; whatever else is known of a task goes to its config.

    Args:
        results: content of a results file, see `document`.
        model: name of the model.
        identity: what it is.
        samples: of all its answers.
    """
    found: dict[str, Any] = {}
    configs: dict[str, Any] = {}
    for task, metrics in results["results"].items():
        numbers = {name: value for name, value in metrics.items() if _is_number(value)}
        errors = {f"{name}_stderr" for name in numbers} & metrics.keys()
        found[task] = {
            "alias": metrics["alias"],
            **{f"{name},{FILTER}": value for name, value in numbers.items()},
            **{f"{name},{FILTER}": "N/A" for name in sorted(errors - numbers.keys())},
        }
        rest = {name: value for name, value in metrics.items() if name not in {"alias", *numbers, *errors}}
        configs[task] = {**results["configs"][task], "results": rest} if rest else results["configs"][task]
    better = {
        task: {name: True for name in metrics if f"{name}_stderr" in metrics}
        for task, metrics in results["results"].items()
    }
    hashes = "".join(f"{each['doc_hash']}{each['prompt_hash']}{each['target_hash']}" for each in samples)
    return {
        **results,
        "results": found,
        "configs": configs,
        "higher_is_better": better,
        "config": {"model": "tunalm", "model_args": identity},
        "task_hashes": {next(iter(found)): _hash(hashes)},
        "model_name": model,
    }


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def sample(number: int, prediction: Prediction, metrics: Mapping[str, float | None]) -> dict[str, Any]:
    """Make one row of a samples file.

    Args:
        number: place of the answer in the benchmark, from 0.
        prediction: the answer.
        metrics: what it scored.
    """
    target = prediction.references[0] if prediction.references else ""
    doc = {"id": prediction.id, "task": prediction.task, "references": prediction.references}
    return {
        "doc_id": number,
        "doc": doc,
        "target": target,
        "arguments": {"gen_args_0": {"arg_0": prediction.instruction}},
        "resps": [[prediction.prediction]],
        "filtered_resps": [prediction.prediction],
        "filter": FILTER,
        "metrics": list(metrics),
        "doc_hash": _hash(canonical(doc)),
        "prompt_hash": prediction.prompt_sha256,
        "target_hash": _hash(target),
        **metrics,
    }


def write_jsonl(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """Write plain rows as JSONL, atomically."""
    write_text(path, "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
