"""Folders that are whole or do not count: checkpoints, and the finished model.

transformers writes straight into `checkpoint-N`, so a kill leaves a newest checkpoint that cannot be read. Here the
file COMPLETE is written last, after everything else has reached the disk; a checkpoint without it does not exist, and
older ones are removed only when a newer one has it.
"""

from __future__ import annotations

import math
import os
import re
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from accelerate.utils import broadcast_object_list
from safetensors import SafetensorError
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from tunalm.errors import StoreError
from tunalm.store import sync_folder, sync_tree, write_text

COMPLETE = "COMPLETE"
PREFIX = "checkpoint-"
CHECKPOINTS_PER_RUN = 10
SECONDS_BETWEEN_CHECKPOINTS = 60.0
DISK_IS_FULL = re.compile("No space left|File too large|Disk quota|PytorchStreamWriter|inline_container", re.IGNORECASE)
"""How Python, safetensors and torch say that a file could not be written to its end."""


@contextmanager
def full_disk_explained(folder: Path) -> Iterator[None]:
    """Turn what is raised when weights do not fit on the disk into one line.

    Raises:
        StoreError: in place of the first such error.
    """
    try:
        yield
    except (OSError, RuntimeError, SafetensorError) as error:
        if not DISK_IS_FULL.search(str(error)):
            raise
        raise StoreError(
            folder,
            found=f"no room while saving weights ({str(error).strip().splitlines()[0]})",
            fix="Free some space (for the model and three checkpoints of three times its size) or choose another "
            "--run-dir; then run the same command again, which resumes from here.",
        ) from error


def partial_folder(folder: Path) -> Path:
    """Where a folder is written that shall be whole or absent."""
    return folder.with_name(f".{folder.name}.partial")


def settle(draft: Path, folder: Path) -> None:
    """Give a folder that is whole, and on disk, its name, and its files the permissions of any new file."""
    probe = draft / ".new"
    probe.touch()
    mode = probe.stat().st_mode
    probe.unlink()
    for path in draft.rglob("*"):
        if path.is_file():
            path.chmod(mode)  # safetensors writes files that only their owner may read
    sync_tree(draft)
    shutil.rmtree(folder, ignore_errors=True)
    os.replace(draft, folder)
    sync_folder(folder.parent)


def seal(checkpoint: Path) -> None:
    """Declare a checkpoint complete."""
    sync_tree(checkpoint)
    write_text(checkpoint / COMPLETE, "")


def complete_checkpoints(folder: Path) -> list[Path]:
    """Complete checkpoints of a training run, oldest first."""
    return [path for path in _checkpoints(folder) if (path / COMPLETE).is_file()]


def prune(folder: Path, keep: int) -> None:
    """Remove all but the newest `keep` complete checkpoints."""
    for path in complete_checkpoints(folder)[:-keep]:
        discard(path)


def newest_checkpoint(folder: Path) -> Path | None:
    """The checkpoint to resume from, if there is one. Those that are not complete are removed."""
    for path in _checkpoints(folder):
        if not (path / COMPLETE).is_file():
            discard(path)
    complete = complete_checkpoints(folder)
    return complete[-1] if complete else None


def discard(checkpoint: Path) -> None:
    """Delete a checkpoint; its mark goes first, so that an end on the way leaves nothing that looks complete."""
    if (checkpoint / COMPLETE).exists():
        (checkpoint / COMPLETE).unlink()
        sync_folder(checkpoint)
    shutil.rmtree(checkpoint, ignore_errors=True)


def _checkpoints(folder: Path) -> list[Path]:
    found = [path for path in folder.glob(f"{PREFIX}*") if path.name.removeprefix(PREFIX).isdigit()]
    return sorted(found, key=lambda path: int(path.name.removeprefix(PREFIX)))


class CheckpointTimes(TrainerCallback):
    """Asks for a checkpoint at every tenth of a run, but not within a minute of the last one.

    The end of the run needs none: the finished model is saved right after it.
    """

    def __init__(self, total_steps: int) -> None:
        self.total_steps = total_steps
        self.every = max(1, math.ceil(total_steps / CHECKPOINTS_PER_RUN))
        self.last = time.monotonic()

    def due(self, step: int) -> bool:
        """Whether to save after a step, by the clock of this process."""
        now = time.monotonic()
        if not self._may(step) or now - self.last < SECONDS_BETWEEN_CHECKPOINTS:
            return False
        self.last = now
        return True

    def _may(self, step: int) -> bool:
        return step % self.every == 0 and step < self.total_steps

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> TrainerControl:
        """Ask for a checkpoint when one is due; the main process decides for all, whose clocks differ."""
        if self._may(state.global_step):
            [due] = broadcast_object_list([self.due(state.global_step)])
            control.should_save = control.should_save or due
        return control
