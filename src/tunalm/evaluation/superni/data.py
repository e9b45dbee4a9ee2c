"""The 119 English test tasks of Super-NaturalInstructions (`tasks.yaml`), by category, and their rows.

Rows come from a clone of natural-instructions or from rows of tasks in one file.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

import yaml

from tunalm.data.files import RawRow, read_raw
from tunalm.errors import DataError

_BY_CATEGORY: dict[str, list[str]] = yaml.safe_load(
    files("tunalm.evaluation.superni").joinpath("tasks.yaml").read_text(encoding="utf-8")
)
CATEGORIES: Mapping[str, str] = {task: category for category, names in _BY_CATEGORY.items() for task in names}
"""Test task -> category."""

BY_EXACT_MATCH = frozenset(
    {
        "Textual Entailment",
        "Cause Effect Classification",
        "Coreference Resolution",
        "Dialogue Act Recognition",
        "Answerability Classification",
        "Word Analogy",
    }
)
"""Categories that are reported by exact match; the others are by ROUGE-L."""

NUM_INSTANCES = 11_810
"""Rows of the official test set; most tasks have 100."""
ROWS_PER_TASK = 100
"""The first so many instances of a task are its test rows."""


@dataclass(frozen=True)
class TestRow:
    """One row of a task."""

    __test__ = False

    id: str
    input: str
    references: tuple[str, ...]


@dataclass(frozen=True)
class WorkedExample:
    """A worked example of a task."""

    input: str
    output: str


@dataclass(frozen=True)
class TestTask:
    """A test task with its rows."""

    __test__ = False

    name: str
    definition: str
    examples: tuple[WorkedExample, ...]
    """Positive ones; empty where the data has none, so that prompts have no examples either."""
    instances: tuple[TestRow, ...]

    @property
    def category(self) -> str:
        """One of twelve."""
        return CATEGORIES[self.name]


def load_tasks(source: Path) -> list[TestTask]:
    """Read the test tasks that there are, in the order of their names.

    Args:
        source: a clone of natural-instructions, its folder `tasks`, a file of tasks, or a folder with one. A file has
            one task per row: `task`, `definition`, `positive_examples` and `instances`.

    Raises:
        DataError: there is no test task, or one is broken.
    """
    tasks = [_task(row) for path in task_files(source) for row in _raw_tasks(path)]
    found = {task.name: task for task in tasks if task.name in CATEGORIES}
    if not found:
        fix = "Give a clone of https://github.com/allenai/natural-instructions, or a file of its test tasks."
        raise DataError(source, found="none of the 119 test tasks is there", fix=fix)
    return [found[name] for name in sorted(found)]


def task_files(source: Path) -> list[Path]:
    """Files that hold test tasks; empty if there are none."""
    if source.is_file():
        return [source]
    for folder in (source / "tasks", source):
        if found := [path for name in sorted(CATEGORIES) if (path := folder / f"{name}.json").is_file()]:
            return found
    return sorted(path for path in source.glob("*.jsonl*") if path.is_file())


def coverage(rows_by_task: Mapping[str, int]) -> dict[str, Any]:
    """How much of the test set something covers, given its rows per task."""
    known = {task: count for task, count in rows_by_task.items() if task in CATEGORIES}
    rows = sum(known.values())
    return {
        "tasks": f"{len(known)} of {len(CATEGORIES)}",
        "rows": f"{rows} of {NUM_INSTANCES}",
        "complete": len(known) == len(CATEGORIES) == len(rows_by_task) and rows == NUM_INSTANCES,
    }


def _raw_tasks(path: Path) -> list[RawRow]:
    if path.suffix == ".json":
        import json

        try:
            return [RawRow(str(path), {"task": path.stem, **json.loads(path.read_text(encoding="utf-8"))})]
        except (OSError, ValueError, TypeError) as error:
            found = f"no task file of natural-instructions ({error})"
            raise DataError(path, found=found, fix="Fetch the clone again.") from error
    return read_raw(path)


def _task(row: RawRow) -> TestTask:
    """Read a task as natural-instructions has it, or with the same fields in lower case."""
    value = (
        {key.lower().replace(" ", "_"): item for key, item in row.value.items()} if isinstance(row.value, dict) else {}
    )
    try:
        definition, name = value["definition"], str(value["task"])
        return TestTask(
            name=name,
            definition=definition if isinstance(definition, str) else definition[0],
            examples=tuple(WorkedExample(one["input"], one["output"]) for one in value.get("positive_examples") or ()),
            instances=tuple(
                _instance(name, place, one) for place, one in enumerate(value["instances"][:ROWS_PER_TASK])
            ),
        )
    except (LookupError, TypeError) as error:
        raise DataError(
            row.where,
            found=f"a task that cannot be read ({type(error).__name__}: {error})",
            expected="task, definition, positive_examples and instances with input and output",
            fix="Correct the task, or fetch the data again.",
        ) from error


def _instance(task: str, place: int, value: Mapping[str, Any]) -> TestRow:
    outputs: Sequence[str] | str = value["output"]
    references = (outputs,) if isinstance(outputs, str) else tuple(outputs)
    if not references:
        raise LookupError(f"instance {place} has no output")
    return TestRow(str(value.get("id") or f"{task}-{place}"), value["input"], references)
