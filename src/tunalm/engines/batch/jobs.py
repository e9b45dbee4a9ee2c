"""The jobs of one run at a batch server: sent, waited for, collected, and remembered at every step.

Nothing is paid for twice. A file's id is remembered before a job is made of it, and the job's id before it is first
looked at; a job that was made and not remembered is found again by its file. So a run that
was killed resumes its jobs, and only requests that no job has carried out are sent again.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator, Mapping

from pydantic import BaseModel, TypeAdapter

from tunalm.engines.base import Completion, Journal
from tunalm.engines.batch.file import NOT_SENT, Unit, read_replies, request_line
from tunalm.engines.batch.server import BatchServer, Status
from tunalm.engines.endpoint.bodies import Dialect
from tunalm.engines.endpoint.faults import failed
from tunalm.engines.endpoint.replies import ReplyReader
from tunalm.engines.endpoint.retries import may_pass
from tunalm.engines.endpoint.wire import Answer
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

    file: str
    """Id of its requests at the server, by which a job that was made and not remembered is found."""
    ids: list[str]
    """Names of the units whose replies have not been taken from it."""
    batch: str | None = None
    """Its own id."""


_KEPT = TypeAdapter(list[Job])


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
        self._jobs = _KEPT.validate_json(journal.recall(JOBS) or "[]")
        self._stop: TunaError | None = None

    def answers(self, units: Mapping[str, Unit]) -> Iterator[list[Completion]]:
        """Yield units until all are answered or the run must stop."""
        left = dict(units)
        why = dict.fromkeys(units, NOT_EXECUTED)
        self._recover()
        with self._journal.together():
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
                elif not reply.status or may_pass(reply.status):
                    if reply.status:
                        why[name] = self._reader.refusal(reply.status, reply.body)
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
        self._journal.remember(JOBS, _KEPT.dump_json(self._jobs).decode())

    def _recover(self) -> None:
        """Find out whether jobs whose id is not known were made; what is not in a job is sent anew."""
        for job in [job for job in self._jobs if job.batch is None]:
            if made := self._server.find(job.file):
                self._adopt(job, made)
            else:
                self._jobs.remove(job)

    def _submit(self, units: Mapping[str, Unit]) -> None:
        """Put units into new jobs, as far as the budget allows."""
        rest = dict(units)
        while rest and self._stop is None:
            lines: dict[str, bytes] = {}
            size = 0
            with self._journal.together():
                for name, unit in rest.items():
                    line = request_line(self._dialect, unit)
                    size += len(line)
                    full = len(lines) == self._settings.requests_per_job or size > self._settings.bytes_per_job
                    if lines and full:
                        break
                    try:
                        self._journal.sending(unit)
                    except BudgetError as error:
                        self._stop = error
                        break
                    lines[name] = line
            if lines:
                self._start(b"".join(lines.values()), {name: rest.pop(name) for name in lines})

    def _start(self, content: bytes, units: Mapping[str, Unit]) -> None:
        """Make a job of a file, remembering every step."""
        try:
            job = Job(file=self._server.upload(content), ids=list(units))
            self._jobs.append(job)
            self._remember()
            self._adopt(job, self._server.create(job.file))
        except EngineError as error:
            self._stop = error
            for unit in units.values():
                self._journal.refused(unit, error.found)

    def _adopt(self, job: Job, status: Status) -> None:
        job.batch = status.id
        self._remember()
        console().print(f"      batch job {job.batch}: {len(job.ids)} requests", markup=False)

    def _replies(self, left: Mapping[str, Unit]) -> Iterator[tuple[str, Answer | None]]:
        """Wait for every job that holds a unit that is left; yield what it says about it, None if nothing."""
        jobs = [job for job in self._jobs if job.batch and not left.keys().isdisjoint(job.ids)]
        done = dict.fromkeys((job.file for job in jobs), 0)
        wait = min(FIRST_PAUSE, self._settings.poll_seconds)
        with progress("waiting for batch jobs", sum(len(job.ids) for job in jobs)) as advance:
            while jobs:
                for job in list(jobs):
                    status = self._server.look(str(job.batch))
                    advance(status.done - done[job.file])
                    done[job.file] = status.done
                    if status.is_final:
                        jobs.remove(job)
                        yield from self._collect(job, status, left)
                if jobs:
                    pause(wait)
                    wait = min(wait * PAUSE_GROWTH, self._settings.poll_seconds)

    def _collect(self, job: Job, status: Status, left: Mapping[str, Unit]) -> Iterator[tuple[str, Answer | None]]:
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
        nothing = None if status.may_have_executed(len(missing)) else NOT_SENT
        yield from ((name, nothing) for name in missing)
        if status.status in ("failed", "cancelled"):
            self._stop = self._stop or self._server.ended(status)
        job.ids = [name for name in job.ids if name not in wanted]
        if not job.ids:
            self._jobs.remove(job)
        self._remember()
