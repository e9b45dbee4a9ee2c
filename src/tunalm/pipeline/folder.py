"""The run folder on disk: who may write in it, which stages are done, what earlier settings made."""

from __future__ import annotations

import glob
import os
import re
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date, datetime
from pathlib import Path

from tunalm.errors import StoreError
from tunalm.pipeline.products import Condition, content_of, examine, products_of
from tunalm.records import StageState
from tunalm.store import (
    Summary,
    allow_as_usual,
    locked,
    make_folder,
    read_record,
    sync_folder,
    write_json,
    write_text,
)


def _state(folder: Path) -> StageState:
    return read_record(folder / "stage.json", StageState) or StageState()


class RunFolder:
    """One run on disk. Holding `lock()` is what gives the right to write in it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.ledger = path / "ledger.sqlite"

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Hold the run folder for this process.

        Raises:
            StoreError: another live process holds it.
        """
        try:
            make_folder(self.path)
        except OSError as error:
            found = "a file, and no folder" if self.path.is_file() else str(error.strerror)
            raise StoreError(self.path, found=found, fix="Choose another --run-dir.") from error
        fix = "Wait for it, stop it, or give another --run-dir."
        with locked(self.path / ".lock", self.path, "a run in progress", fix):
            yield

    def in_progress(self) -> bool:
        """Whether a live process has the folder, as far as this machine can tell; one of another machine counts."""
        try:
            owner = re.fullmatch(r"process (\d+) on (.+)", (self.path / ".lock").read_text(encoding="utf-8").strip())
        except OSError:
            return False
        if owner is None or owner[2] != socket.gethostname():
            return owner is not None
        try:
            os.kill(int(owner[1]), 0)
        except ProcessLookupError:
            return False
        except PermissionError:
            return True
        return True

    def day(self) -> date:
        """The day on which the run began, for prompts that hold a date."""
        path = self.path / ".day"
        try:
            return date.fromisoformat(path.read_text(encoding="utf-8").strip())
        except (OSError, ValueError):
            today = datetime.now().astimezone().date()
            write_text(path, f"{today}\n")
            return today

    def folder(self, stage: str) -> Path:
        """Folder of a stage."""
        return self.path / stage

    def state(self, stage: str) -> StageState:
        """What stage.json says; of a stage that has not run if there is none that can be read."""
        return _state(self.folder(stage))

    def condition(self, stage: str, fingerprint: str) -> Condition:
        """What has become of what the stage made, wherever it lies."""
        folder = next(iter(self._folders(stage, fingerprint)), None)
        return Condition() if folder is None or not _state(folder).done else examine(folder, _state(folder))

    def is_done(self, stage: str, fingerprint: str) -> bool:
        """Whether the stage was finished with exactly these settings and inputs, and what it made is whole."""
        return self._is_done(self.folder(stage), fingerprint)

    def is_kept(self, stage: str, fingerprint: str) -> bool:
        """Whether such a finished stage was moved aside, so that `open_stage` brings it back."""
        return any(self._is_done(folder, fingerprint) for folder in self._parked(stage, fingerprint))

    def open_stage(self, stage: str, fingerprint: str) -> Path:
        """Make the stage's folder ready to be worked in.

        What other settings made is moved aside, not deleted, and what these settings made before is brought back:
        the stage may well be done then. So are products that are broken moved aside, to be made again.
        """
        folder = self.folder(stage)
        found = self.state(stage).fingerprint
        if folder.exists() and found != fingerprint:
            self._park(folder, f"{stage}-{found[:12] or None}")
        if not folder.exists() and (earlier := self._parked(stage, fingerprint)):
            os.replace(earlier[-1], folder)
            sync_folder(self.path)
        make_folder(folder)
        state = self.state(stage)
        if state.status == "not run":
            self.write_state(stage, StageState(fingerprint=fingerprint, status="running"))
        elif state.done and not self.is_done(stage, fingerprint):
            for name in {name.partition("/")[0] for name in examine(folder, state).broken}:
                if (folder / name).exists():
                    self._park(folder / name, f"broken-{stage}-{name}")
            self.reopen_stage(stage)
        return folder

    def reopen_stage(self, stage: str) -> None:
        """Let a finished stage be worked in again. If it then makes something else, it has a new `revision`."""
        state = self.state(stage)
        before = content_of(state.products or products_of(self.folder(stage)))
        kept = StageState(fingerprint=state.fingerprint, revision=state.revision, status="running", reopened=before)
        self.write_state(stage, kept)

    def write_state(self, stage: str, state: StageState) -> None:
        """Write stage.json, atomically."""
        write_json(self.folder(stage) / "stage.json", state.model_dump(mode="json", exclude_unset=True))

    def version(self, stage: str, fingerprint: str) -> str:
        """Tells what the stage holds from what it held before with these settings: how often it has changed what it
        made, and what somebody has edited since."""
        folder = next(iter(self._folders(stage, fingerprint)), None)
        revision = 0 if folder is None else _state(folder).revision
        edits = self.condition(stage, fingerprint).identity
        return "/".join(filter(None, [fingerprint, str(revision or ""), edits and f"edited {edits}"]))

    def _folders(self, stage: str, fingerprint: str) -> list[Path]:
        """Folders that these settings made, the one that is in use first."""
        folders = [self.folder(stage), *self._parked(stage, fingerprint)[::-1]]
        return [folder for folder in folders if _state(folder).fingerprint == fingerprint]

    def _park(self, path: Path, name: str) -> None:
        parked = self.path / "superseded"
        make_folder(parked)
        os.replace(path, parked / f"{name}-{time.time_ns()}")
        sync_folder(parked)

    def _parked(self, stage: str, fingerprint: str) -> list[Path]:
        """Folders that were moved aside, oldest first."""
        return sorted((self.path / "superseded").glob(f"{glob.escape(stage)}-{fingerprint[:12]}-*"))

    @staticmethod
    def _is_done(folder: Path, fingerprint: str) -> bool:
        state = _state(folder)
        return state.fingerprint == fingerprint and state.done and not examine(folder, state).broken

    def close_stage(self, stage: str, fingerprint: str, kind: str, summary: Summary, seconds: float) -> None:
        """Declare the stage done: the last thing that is written."""
        state = self.state(stage)
        for path in sorted((self.folder(stage) / "model").rglob("*.safetensors")):
            allow_as_usual(path)
        products = products_of(self.folder(stage))
        changed = state.reopened is not None and state.reopened != content_of(products)
        self.write_state(
            stage,
            StageState(
                fingerprint=fingerprint,
                revision=state.revision + changed,
                status="done",
                kind=kind,
                requested=summary.requested,
                ok=summary.ok,
                failed=summary.failed,
                unknown=summary.unknown,
                seconds=round(seconds, 3),
                finished=time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
                details=summary.details,
                products=products,
            ),
        )
