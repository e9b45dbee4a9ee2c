"""Results and samples in the shape of lm-evaluation-harness, so that tools which read its files read ours."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

from tunalm.records import Prediction, Verdict
from tunalm.store import canonical, write_text

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


def sample(number: int, answer: tuple[Prediction, Verdict]) -> dict[str, Any]:
    """Make one row of a samples file out of the answer at a place (from 0) of a benchmark."""
    prediction, verdict = answer
    target = prediction.references[0] if prediction.references else ""
    doc = {"id": prediction.id, "task": prediction.task, "references": prediction.references}
    return {
        "doc_id": number,
        "doc": doc,
        "target": target,
        "arguments": {"gen_args_0": {"arg_0": prediction.instruction}},
        "resps": [[prediction.prediction]],
        "filtered_resps": [prediction.prediction],
        "filter": "none",
        "metrics": [verdict.metric],
        "doc_hash": _hash(canonical(doc)),
        "prompt_hash": prediction.prompt_sha256,
        "target_hash": _hash(target),
        verdict.metric: verdict.score,
    }


def write_jsonl(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """Write plain rows as JSONL, atomically."""
    write_text(path, "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
