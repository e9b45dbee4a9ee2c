"""The jobs of one run at a batch server: sent, waited for, collected, and remembered at every step.

Nothing is paid for twice. A file's id is remembered before a job is made of it, and the job's id before it is first
looked at; a job that was made and not remembered is found again by its tag. So a run
that was killed resumes its jobs, and only requests that no job has carried out are sent again.
"""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO
from uuid import uuid4

from pydantic import BaseModel, TypeAdapter

from tunalm.engines.base import Completion, Journal
from tunalm.engines.batch.file import Reply, Unit, read_replies, request_line
from tunalm.engines.batch.server import BatchServer, Status
from tunalm.engines.endpoint.bodies import Dialect
from tunalm.engines.endpoint.faults import failed
from tunalm.engines.endpoint.replies import ReplyReader
from tunalm.engines.endpoint.retries import may_pass
from tunalm.errors import BudgetError, EngineError, TunaError
from tunalm.progress import console, progress
from tunalm.recipe import BatchSettings

FIRST_PAUSE = 2.0
PAUSE_GROWTH = 1.5
JOBS = "batch jobs"
"""Name under which the journal keeps them."""
NOT_EXECUTED = "not-executed: the batch job ended before its turn"
LOST = "the batch job is complete and says nothing about it"
pause = time.sleep


class Job(BaseModel):
    """What is remembered of a job."""

    tag: str
    made: float
    """No later than the job, in seconds since the epoch."""
    ids: list[str]
    """Names of the units whose replies have not been taken from it."""
    file: str
    batch: str | None = None


class Jobs:
    """One call of `generate` on a server.

    Args:
        settings: what is asked of whom.
        server: connected.
        reader: of the replies.
        journal: told of every step.
        dialect: puts requests into words.
    """

    def __init__(
        self, settings: BatchSettings, server: BatchServer, reader: ReplyReader, journal: Journal, dialect: Dialect
    ) -> None:
        self._settings, self._server, self._reader = settings, server, reader
        self._journal, self._dialect = journal, dialect
        self._jobs = TypeAdapter(list[Job]).validate_json(journal.recall(JOBS) or "[]")
        self._stop: TunaError | None = None

    def answers(self, units: Mapping[str, Unit]) -> Iterator[list[Completion]]:
        """Yield units until all are answered or the run must stop."""
        left = dict(units)
        why = dict.fromkeys(units, NOT_EXECUTED)
        self._recover()
        for name in self._held() & left.keys():
            self._journal.sending(left[name])
        for _ in range(self._settings.max_retries + 1):
            held = self._held()
            self._submit({name: unit for name, unit in left.items() if name not in held})
            for name, reply in self._replies(left):
                unit = left[name]
                if reply is None:
                    if not self._journal.lost(unit, LOST):
                        del left[name]
                        yield failed(unit, LOST, unknown=True)
                elif not reply.executed or may_pass(reply.status):
                    if reply.executed:
                        why[name] = f"http-{reply.status}: {self._reader.explanation(reply.body)}"
                    self._journal.refused(unit, why[name])
                else:
                    del left[name]
                    completions = self._reader.completions(unit, reply.status, reply.body)
                    self._journal.answered(unit, completions)
                    yield completions
            if self._stop:
                raise self._stop
            if not left:
                return
        for name, unit in left.items():
            yield failed(unit, why[name])

    def _held(self) -> set[str]:
        return {name for job in self._jobs for name in job.ids}

    def _remember(self) -> None:
        self._journal.remember(JOBS, json.dumps([job.model_dump() for job in self._jobs]))

    def _recover(self) -> None:
        """Find out whether jobs whose id is not known were made; what is not in a job is sent anew."""
        for job in [job for job in self._jobs if job.batch is None]:
            if made := self._server.find(job.file, job.tag, job.made):
                self._adopt(job, made)
            else:
                self._jobs.remove(job)

    def _submit(self, units: dict[str, Unit]) -> None:
        """Put units into new jobs, as far as the budget allows."""
        rest = list(units)
        with progress("sending batch jobs", len(units)) as advance:
            while rest and self._stop is None:
                with tempfile.NamedTemporaryFile(prefix="tunalm-", suffix=".jsonl") as file:
                    names = self._write(file, rest, units, advance)
                    if names:
                        self._start(Path(file.name), {name: units[name] for name in names})
                rest = rest[len(names) :]

    def _write(
        self, file: IO[bytes], names: Sequence[str], units: Mapping[str, Unit], advance: Callable[[int], None]
    ) -> list[str]:
        """Write as many requests as one job may hold; returns their names."""
        written: list[str] = []
        size = 0
        for name in names[: self._settings.requests_per_job]:
            line = request_line(self._dialect, units[name])
            size += len(line)
            if written and size > self._settings.bytes_per_job:
                break
            try:
                self._journal.sending(units[name])
            except BudgetError as error:
                self._stop = error
                break
            file.write(line)
            written.append(name)
            advance(1)
        file.flush()
        return written

    def _start(self, path: Path, units: Mapping[str, Unit]) -> None:
        """Make a job of a file, remembering every step."""
        tag = uuid4().hex
        try:
            made = time.time()
            file_id = self._server.upload(path, f"tunalm-{tag}.jsonl")
            job = Job(tag=tag, made=made, ids=list(units), file=file_id)
            self._jobs.append(job)
            self._remember()
            self._adopt(job, self._server.create(file_id, tag))
        except EngineError as error:
            self._stop = error
            for unit in units.values():
                self._journal.refused(unit, error.found)

    def _adopt(self, job: Job, status: Status) -> None:
        job.batch = status.id
        self._remember()
        console().print(f"      batch job {job.batch}: {len(job.ids)} requests", markup=False)

    def _replies(self, left: Mapping[str, Unit]) -> Iterator[tuple[str, Reply | None]]:
        """Wait for every job that holds a unit that is left; yield what it says about it, None if nothing."""
        jobs = [job for job in self._jobs if job.batch and not left.keys().isdisjoint(job.ids)]
        done = dict.fromkeys((job.tag for job in jobs), 0)
        wait = min(FIRST_PAUSE, self._settings.poll_seconds)
        with progress("waiting for batch jobs", sum(len(job.ids) for job in jobs)) as advance:
            while jobs:
                for job in list(jobs):
                    status = self._server.look(str(job.batch))
                    advance(status.done - done[job.tag])
                    done[job.tag] = status.done
                    if status.is_final:
                        jobs.remove(job)
                        yield from self._collect(job, status, left)
                if jobs:
                    pause(wait)
                    wait = min(wait * PAUSE_GROWTH, self._settings.poll_seconds)

    def _collect(self, job: Job, status: Status, left: Mapping[str, Unit]) -> Iterator[tuple[str, Reply | None]]:
        """What a job that has ended says about the units that are left, then forget these."""
        wanted = {name: left[name] for name in job.ids if name in left}
        missing = dict.fromkeys(wanted)
        for file_id in filter(None, (status.output_file_id, status.error_file_id)):
            with tempfile.TemporaryFile() as file:
                self._server.download(file_id, file)
                file.seek(0)
                for name, reply in read_replies(file, wanted):
                    if name in missing:
                        del missing[name]
                        yield name, reply
        answered = len(wanted) - len(missing)
        console().print(f"      batch job {job.batch} {status.status}: {answered} replies", markup=False)
        nothing = None if status.may_have_executed(len(missing)) else Reply(0, b"")
        yield from ((name, nothing) for name in missing)
        if status.status in ("failed", "cancelled"):
            self._stop = self._stop or self._server.ended(status)
        job.ids = [name for name in job.ids if name not in wanted]
        if not job.ids:
            self._jobs.remove(job)
        self._remember()
