"""Whole files of requests, answered within a day: by a server with batch jobs or by whoever reads a file."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from tunalm.engines.base import Capabilities, Completion, Journal, Request
from tunalm.engines.batch.file import Unit, custom_id, read_replies, request_line
from tunalm.engines.batch.jobs import Jobs
from tunalm.engines.batch.server import BatchServer
from tunalm.engines.endpoint.addresses import OPENAI_HOST, checked_host, find_key
from tunalm.engines.endpoint.bodies import Dialect, siblings
from tunalm.engines.endpoint.engine import EndpointEngine
from tunalm.engines.endpoint.replies import ReplyReader
from tunalm.engines.endpoint.stops import Stops
from tunalm.engines.endpoint.wire import Answer
from tunalm.errors import EngineError
from tunalm.recipe import BatchSettings, EndpointSettings, Served
from tunalm.store import write_text


class BatchEngine:
    """Asks a server for whole files of replies, or leaves the file to somebody else.

    Raises:
        EngineError: the address is not usable, or the variable that should hold its key is not set.
    """

    def __init__(self, settings: BatchSettings, *, trust_remote_code: bool = False) -> None:
        self._settings = settings
        self.identity = settings.identity()
        self.capabilities = Capabilities(
            logprobs=True,
            json_schema=True,
            n=settings.max_n > 1,
            resumes=True,
            max_duplicates=settings.max_duplicates,
        )
        host = checked_host(settings.base_url) if settings.base_url else ""
        self._dialect = Dialect(settings, openai=host == OPENAI_HOST)
        self._key = find_key(settings.api_key_env, host) if settings.base_url else None
        self._reader = ReplyReader(settings, self._key)
        self._stops = Stops(self.identity, settings, host, self._reader)

    def batches(self, requests: Sequence[Request]) -> list[list[Request]]:
        """Requests that differ in key and seed alone make units of up to `max_n`, in the order of their keys."""
        return siblings(requests, self._settings.max_n)

    def generate(self, batches: Sequence[Sequence[Request]], journal: Journal) -> Iterator[list[Completion]]:
        """Answer units, many at a time; this may take a day, and may be left and called again meanwhile.

        Raises:
            EngineError: a job was refused or cancelled, or a file waits to be answered. What other jobs have answered
                has been yielded by then.
        """
        units = {custom_id(unit): unit for unit in batches}
        if self._settings.file is not None:
            yield from self._from_file(Path(self._settings.file), units, journal)
            return
        server = BatchServer(self.identity, self._settings, self._key, self._stops)
        with server.connected():
            jobs = Jobs(self._settings, server, self._reader, journal, self._dialect)
            yield from jobs.answers(units)

    def probe(self, request: Request) -> Completion:
        """Answer one small request at once and not in a job, if there is a server (see `Probed`)."""
        settings = self._settings
        if settings.base_url is None:
            return Completion(key=request.key, failure="a file cannot be asked")
        shared = settings.model_dump(include=set(Served.model_fields))
        return EndpointEngine(EndpointSettings(base_url=settings.base_url, **shared)).probe(request)

    def _from_file(self, path: Path, units: dict[str, Unit], journal: Journal) -> Iterator[list[Completion]]:
        """Take replies from the file beside `path`, and ask for what is missing by writing `path`."""
        replies = path.with_suffix(".replies.jsonl")
        left = dict(units)
        if replies.is_file():
            with open(replies, "rb") as file, journal.together():
                answered = [
                    self._taken(left.pop(name), reply, journal)
                    for name, reply in read_replies(file, units)
                    if reply.status
                ]
            yield from answered
        if not left:
            replies.replace(path.with_suffix(f".replies-{time.time_ns()}.jsonl"))  # its failures are asked for anew
            return
        lines = [request_line(self._dialect, unit).decode() for unit in left.values()]
        write_text(path, "".join(lines))
        raise EngineError(
            self.identity,
            found=f"{len(left)} requests without a reply, now in {path}",
            expected=f"their replies in {replies}",
            fix=f"Run: vllm run-batch -i {path} -o {replies} --model {self._settings.model}; then this command again.",
        )

    def _taken(self, unit: Unit, reply: Answer, journal: Journal) -> list[Completion]:
        journal.sending(unit)
        completions = self._reader.completions(unit, reply.status, reply.body)
        journal.answered(unit, completions)
        return completions
