"""The files of LMentry: 25 core tasks and 16 further sets for the robustness to the content of arguments."""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from tunalm.errors import DataError
from tunalm.evaluation.lmentry.tasks import TASKS, Example

CONTENT: Mapping[str, tuple[str, ...]] = {
    "first_alphabetically": (
        "far_first_letter",
        "different_first_letter",
        "consecutive_first_letter",
        "same_first_letter",
    ),
    "all_words_from_category": ("0_distractors", "1_distractors", "2_distractors"),
    "any_words_from_category": ("5_distractors", "4_distractors", "3_distractors"),
    "rhyming_word": ("orthographically_similar", "orthographically_different"),
    "more_letters": ("length_diff_3plus", "length_diff_1"),
    "less_letters": ("length_diff_3plus", "length_diff_1"),
}
"""Tasks of which there are further sets, from easy to hard arguments."""

SETS: Mapping[str, str] = {
    **{task: task for task in TASKS},
    **{f"{task}_{kind}": task for task, kinds in CONTENT.items() for kind in kinds},
}
"""All 41 sets of questions -> the task that they belong to."""

NUM_EXAMPLES = 110_703
FOLDERS = ("", "data", "core", "argument_content")
"""Where in a folder the files may lie: a clone of the repository has them in `data`."""


@dataclass(frozen=True)
class Questions:
    """One set of questions."""

    name: str
    examples: Mapping[str, Example]
    """By id; `metadata` of each has the `template_id` and what scoring needs."""

    @property
    def task(self) -> str:
        """The core task by whose rules answers are judged."""
        return SETS[self.name]


def load_questions(folder: Path) -> dict[str, Questions]:
    """Read the sets that a folder has, in the order of `SETS`.

    Raises:
        DataError: it has none, or a file is broken.
    """
    found = {}
    for name in SETS:
        path = _find(folder, name)
        if path is not None:
            found[name] = Questions(name, _examples(path, path.stat().st_mtime_ns))
    if not found:
        found_there = "no file of LMentry (first_word.json ...)" if folder.is_dir() else "no such folder"
        raise DataError(folder, found=found_there, fix="Give a clone of https://github.com/aviaefrat/lmentry.")
    return found


def question_files(folder: Path) -> list[Path]:
    """Paths of the sets that a folder has."""
    return [path for name in SETS if (path := _find(folder, name)) is not None]


def _find(folder: Path, name: str) -> Path | None:
    candidates = (folder / inner / f"{name}.json{suffix}" for inner in FOLDERS for suffix in ("", ".gz"))
    return next((path for path in candidates if path.is_file()), None)


@lru_cache(len(SETS))
def _examples(path: Path, written: int) -> dict[str, Any]:
    """Those of a file, read once as long as it stays as it is: checks, plans and runs all need them."""
    try:
        content = path.read_bytes()
        examples = json.loads(gzip.decompress(content) if path.suffix == ".gz" else content)["examples"]
        if all("template_id" in example["metadata"] and "input" in example for example in examples.values()):
            return dict(examples)
        problem = "an example without input or template_id"
    except (OSError, EOFError, zlib.error, ValueError, LookupError, TypeError, AttributeError) as error:
        problem = f"{type(error).__name__}: {error}"
    raise DataError(path, found=f"no data file of LMentry ({problem})", fix="Fetch it again; it may be cut short.")
