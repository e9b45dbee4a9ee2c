"""Batch jobs at a server: files go up, jobs are made, looked at and found again, files come down.

Every call but the making of a job can be made twice without harm, and is while the server's trouble may pass.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from io import BytesIO
from typing import IO, Any, TypeVar

import aiohttp
import stamina
from anyio.from_thread import BlockingPortal, start_blocking_portal
from pydantic import BaseModel, Field, ValidationError

from tunalm.engines.endpoint.bodies import PATHS
from tunalm.engines.endpoint.faults import ReplyError
from tunalm.engines.endpoint.retries import CallError, ServerError, asked_pause, may_pass, silence_retries
from tunalm.engines.endpoint.stops import Stops
from tunalm.engines.endpoint.wire import Answer, Wire, read_body
from tunalm.errors import EngineError
from tunalm.recipe import BatchSettings

Kind = TypeVar("Kind", bound=BaseModel)
Made = TypeVar("Made")

LARGEST_STATUS = 1 << 22
"""Bytes of an answer that says how a job, or a page of jobs, is doing."""
PAGE = 100
GONE = "gone"
"""Status of a job that the server does not know any more."""
FINAL = frozenset({"completed", "failed", "expired", "cancelled", GONE})


class Counts(BaseModel):
    """Requests of a job."""

    total: int = 0
    completed: int = 0
    failed: int = 0


class Status(BaseModel):
    """How a job is doing."""

    id: str
    status: str
    input_file_id: str | None = None
    output_file_id: str | None = None
    error_file_id: str | None = None
    request_counts: Counts | None = None
    errors: Any = None

    @property
    def is_final(self) -> bool:
        """Whether nothing will change any more."""
        return self.status in FINAL

    @property
    def done(self) -> int:
        """Requests that were carried out, well or not."""
        return self.request_counts.completed + self.request_counts.failed if self.request_counts else 0

    def may_have_executed(self, missing: int) -> bool:
        """Whether requests may have been carried out that the files of an ended job say nothing about."""
        undone = self.request_counts.total - self.done if self.request_counts else 0
        return self.status in ("completed", GONE) and missing > undone

    @property
    def explanation(self) -> str:
        """The first error that the server names, if any."""
        listed = self.errors.get("data") if isinstance(self.errors, dict) else self.errors
        first = listed[0] if isinstance(listed, list) and listed else None
        return str(first.get("message") or first.get("code") or "") if isinstance(first, dict) else ""


class GoneError(EngineError):
    """The server does not know what it is asked about."""


class _File(BaseModel):
    id: str


class _Page(BaseModel):
    data: list[Status] = Field(default_factory=list)
    has_more: bool = False


async def _read_status(response: aiohttp.ClientResponse) -> bytes:
    return await read_body(response, LARGEST_STATUS)


class BatchServer:
    """One address. Only inside `connected()` can anything be asked of it."""

    def __init__(self, identity: str, settings: BatchSettings, key: str | None, stops: Stops) -> None:
        assert settings.base_url is not None
        self._identity, self._settings, self._stops = identity, settings, stops
        self._wire = Wire(settings.base_url.rstrip("/"), key, settings.timeout)
        self._portal: BlockingPortal | None = None
        self._unhurried = aiohttp.ClientTimeout(sock_connect=settings.timeout, sock_read=settings.timeout)
        """A file may take any time as long as it moves."""

    @contextmanager
    def connected(self) -> Iterator[None]:
        """Keep connections until the block is left."""
        silence_retries()
        with (
            start_blocking_portal() as self._portal,
            self._portal.wrap_async_context_manager(self._wire.connected()),
        ):
            yield

    def upload(self, content: bytes) -> str:
        """Bring up a file of requests; returns the id that the server gives it."""

        def send(attempt: int) -> Answer:
            form = aiohttp.FormData({"purpose": "batch"})
            form.add_field("file", BytesIO(content), filename="tunalm.jsonl", content_type="application/jsonl")
            parts = form()
            headers = {"Content-Type": parts.headers["Content-Type"]}
            return self._ask("POST", "/files", data=parts, headers=headers, timeout=self._unhurried)

        return self._parsed(_File, self._patiently(send)).id

    def create(self, file_id: str) -> Status:
        """Make a job of a file, but never a second one."""
        body = {
            "input_file_id": file_id,
            "endpoint": f"/v1{PATHS[self._settings.protocol]}",
            "completion_window": "24h",
        }

        def make(attempt: int) -> Status:
            if attempt > 1 and (made := self.find(file_id)):
                return made
            return self._parsed(Status, self._ask("POST", "/batches", json=body))

        return self._patiently(make)

    def find(self, file_id: str) -> Status | None:
        """The job that was made of a file, if there is one."""
        after = ""
        while True:
            page = self._get(_Page, f"/batches?limit={PAGE}{after}")
            for job in page.data:
                if job.input_file_id == file_id:
                    return job
            if not page.has_more or not page.data:
                return None
            after = f"&after={page.data[-1].id}"

    def look(self, job_id: str) -> Status:
        """How a job is doing."""
        try:
            return self._get(Status, f"/batches/{job_id}")
        except GoneError:
            return Status(id=job_id, status=GONE)

    def download(self, file_id: str, file: IO[bytes]) -> None:
        """Bring down a file of replies, whole; one that the server has not kept is empty."""

        async def read(response: aiohttp.ClientResponse) -> bytes:
            if not 200 <= response.status < 300:
                return await _read_status(response)
            file.seek(0)
            file.truncate()
            async for piece in response.content.iter_any():
                file.write(piece)
            return b""

        options = {"headers": {"Accept-Encoding": "identity"}, "timeout": self._unhurried}
        with suppress(GoneError):
            self._patiently(lambda attempt: self._ask("GET", f"/files/{file_id}/content", read, **options))

    def ended(self, status: Status) -> EngineError:
        """The error for a job that was ended before it was done."""
        said = " ".join(status.explanation.split())[:200]
        return EngineError(
            self._identity,
            found=f"the batch job {status.id} {status.status}{said and f' ({said})'}",
            fix="Its replies are kept. Mend the cause, then run the same command again: it sends what is missing.",
        )

    def _get(self, kind: type[Kind], path: str) -> Kind:
        return self._parsed(kind, self._patiently(lambda attempt: self._ask("GET", path)))

    def _patiently(self, call: Callable[[int], Made]) -> Made:
        """Make a call, which is told the number of the attempt, again and again while its trouble may pass."""
        tries = stamina.retry_context(_may_pass, attempts=None, timeout=self._settings.patience, wait_max=30.0)
        try:
            for attempt in tries:
                with attempt:
                    return call(attempt.num)
        except CallError as error:
            patience = f"{self._settings.patience:g} seconds, its patience"
            raise self._error(f"no answer in {patience} ({error.failure})") from None
        except ReplyError as error:
            raise self._error(f"an answer cannot be read ({error})") from None
        raise AssertionError("stamina raises the last error itself")

    def _ask(
        self,
        method: str,
        path: str,
        read: Callable[[aiohttp.ClientResponse], Awaitable[bytes]] = _read_status,
        **options: Any,
    ) -> Answer:
        """Make one call.

        Raises:
            CallError: it failed in a way that may pass.
            EngineError: in another way.
        """
        assert self._portal is not None, "only inside connected()"
        answer = self._portal.call(partial(self._wire.exchange, method, path, read, **options))
        if answer.succeeded:
            return answer
        failure = self._stops.failure(answer)
        if answer.status in (404, 405):
            raise self._error(f"HTTP {answer.status} for {path}: it may be no server for batch jobs", GoneError)
        if stop := self._stops.reason(answer, 0.0):
            raise stop
        if may_pass(answer.status):
            raise ServerError(failure, asked_pause(answer.headers))
        raise self._error(f"{failure} for {path}")

    def _parsed(self, kind: type[Kind], answer: Answer) -> Kind:
        try:
            return kind.model_validate_json(answer.body)
        except ValidationError:
            raise self._error("its answer is none of the OpenAI batch interface") from None

    def _error(self, found: str, kind: type[EngineError] = EngineError) -> EngineError:
        fix = "What was sent is kept: run the same command again, or give the address another kind (endpoint)."
        return kind(self._identity, found=found, fix=fix)


def _may_pass(error: Exception) -> bool | float:
    """Whether to make a call again (see `stamina`): after how many seconds, if the server has said so."""
    if not isinstance(error, CallError):
        return False
    return True if error.asked is None else error.asked
