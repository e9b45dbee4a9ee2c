"""Makes the calls of one run to a server: as many at once as it takes, and again where that may help.

    unit --> journal: sending --> limit lets it go --> wire --> journal: answered | lost | refused --> completions
      ^                                                                        |
      `-- another attempt, if `retries` says so <------------------------------'

No call waits for the disk in its place of the limit: a call is on record as sent before it is its turn, and its place
is free when the reply is here. So some calls (`group`) are on record as sent, and not as answered, beside those in
flight, and a kill leaves these too of unknown outcome.

When the run must stop, calls in flight are completed, because they are paid for; only leaving the run (Ctrl-C) abandons
them. The event loop runs in a thread of its own, so a caller may have one too (a notebook does).
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Coroutine, Iterator, Sequence
from functools import partial
from typing import Any

import stamina
from anyio.from_thread import start_blocking_portal

from tunalm.engines.base import Completion, Journal, Request
from tunalm.engines.endpoint.bodies import Dialect, estimated_tokens, largest_reply
from tunalm.engines.endpoint.faults import ReplyError, failed
from tunalm.engines.endpoint.limits import Concurrency
from tunalm.engines.endpoint.retries import (
    NO_ROOM,
    UNCERTAIN,
    CallError,
    LostError,
    NotSentError,
    RefusedError,
    Retries,
    ServerError,
    asked_pause,
    may_pass,
    silence_retries,
)
from tunalm.engines.endpoint.scribe import Scribe
from tunalm.engines.endpoint.stops import Stops
from tunalm.engines.endpoint.wire import Answer, Fleet
from tunalm.errors import EngineError
from tunalm.progress import console
from tunalm.records import Message

Unit = Sequence[Request]
MALFORMED = frozenset({400, 422})
"""Statuses by which servers say that they do not take a field."""
ABOUT_A_PROMPT = frozenset({403, 404})
"""Statuses of a wrong key or model, and of a prompt that is moderated or too long for every machine of a provider."""
PLAIN = Request(key="plain", messages=[Message(role="user", content="Name an animal.")], max_new_tokens=8)
"""What every server answers that works."""


def group(concurrency: int) -> int:
    """Calls that may be on record as sent, and not as answered, beside the most that may be in flight."""
    return math.ceil(concurrency / 2)


class ServerCalls:
    """One run.

    Args:
        fleet: where the calls go.
        limit: when they go.
        stops: which answers end the run.
        dialect: what is sent.
        read: makes completions of a unit, in its order, of an answer.
        check: raises what ends the run, if the completions show that no other request can fare better.
        journal: told of every call.
        max_retries: per call.
    """

    def __init__(
        self,
        fleet: Fleet,
        limit: Concurrency,
        stops: Stops,
        dialect: Dialect,
        read: Callable[[Unit, int, bytes], list[Completion]],
        check: Callable[[Unit, list[Completion]], None],
        journal: Journal,
        max_retries: int,
    ) -> None:
        self._fleet, self._limit, self._stops, self._dialect = fleet, limit, stops, dialect
        self._read, self._check, self._journal, self._max_retries = read, check, journal, max_retries
        self._scribe = Scribe(journal)
        self._room = asyncio.Semaphore(limit.ceiling + group(limit.ceiling))
        """For calls that are on record as sent and not answered."""
        self._error: Exception | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._due: set[asyncio.Task[None] | None] = set()
        """Those that are on record as sent."""
        self._in_flight: set[asyncio.Task[None] | None] = set()
        self._succeeded = False
        """The server has answered something."""
        self._works: asyncio.Future[bool] | None = None
        """Whether it answers a plain question, once that matters."""

    def results(self, units: Sequence[Unit]) -> Iterator[list[Completion]]:
        """Yield every unit as soon as it is answered.

        Raises:
            Exception: what ended the run, after the units that were in flight have been yielded.
        """
        silence_retries()
        try:
            with start_blocking_portal() as portal:
                work = portal.start_task_soon(self._answer_all, units)
                try:
                    yield from self._scribe.completions()
                except BaseException:
                    portal.call(self._abandon)
                    raise
                work.result()
        finally:
            self._scribe.close()

    async def _answer_all(self, units: Sequence[Unit]) -> None:
        try:
            async with self._fleet.connected():
                self._start(self._start_all(units))
                while self._tasks:
                    await asyncio.wait(self._tasks)
        finally:
            self._scribe.hand_over(None)
        if self._error:
            raise self._error

    async def _start_all(self, units: Sequence[Unit]) -> None:
        for unit in units:
            await self._room.acquire()
            self._start(self._work(unit))

    def _start(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _abandon(self) -> None:
        for task in self._tasks:
            task.cancel()

    async def _work(self, unit: Unit) -> None:
        try:
            self._scribe.hand_over(await self._answer(unit))
        except Exception as error:
            self._end(error)

    def _end(self, error: Exception) -> None:
        """Let only those calls go on that are on their way or, if it is money that lacks, that there is money for."""
        self._error = self._error or error
        going = self._in_flight if isinstance(error, EngineError) else self._due
        for task in self._tasks - going - {asyncio.current_task()}:
            task.cancel()

    async def _answer(self, unit: Unit) -> list[Completion]:
        try:
            try:
                return await self._call(unit)
            except CallError as error:
                return await self._call_again(unit, error)
        except NotSentError as error:
            raise self._stops.unreachable(error.failure) from None
        except CallError as error:
            return failed(unit, error.failure, unknown=isinstance(error, LostError))

    async def _call_again(self, unit: Unit, error: CallError) -> list[Completion]:
        """Retry after a first call that failed. (Every call through `stamina` would cost a quarter of the speed.)"""
        async for attempt in stamina.retry_context(
            Retries(self._max_retries), attempts=None, timeout=None, wait_initial=0.5, wait_max=30.0
        ):
            with attempt:
                if attempt.num == 1:
                    raise error
                await self._room.acquire()
                return await self._call(unit)
        raise AssertionError("stamina raises the last error itself")

    async def _call(self, unit: Unit) -> list[Completion]:
        """Make one call, for which room has been taken; it is given back once the answer is on record."""
        task = asyncio.current_task()
        try:
            await self._let_go(unit)
            self._in_flight.add(task)
            try:
                answer = await self._exchange(unit)
                completions = self._read(unit, answer.status, answer.body)
            except ReplyError as error:
                completions = failed(unit, str(error))
            try:
                self._check(unit, completions)
            except EngineError as error:
                self._end(error)
            await self._scribe.tell(partial(self._journal.answered, unit, completions))
            if used := (completions[0].prompt_tokens or 0) + (completions[0].completion_tokens or 0):
                self._limit.correct(used - estimated_tokens(unit))
            return completions
        except (NotSentError, RefusedError, ServerError):
            self._limit.correct(-estimated_tokens(unit))
            raise
        finally:
            self._room.release()
            self._due.discard(task)
            self._in_flight.discard(task)

    async def _let_go(self, unit: Unit) -> None:
        """Put a call on record as sent, and wait until it may go."""
        try:
            await self._scribe.tell(partial(self._journal.sending, unit))
            self._due.add(asyncio.current_task())
            await self._limit.enter(estimated_tokens(unit))
        except asyncio.CancelledError:
            self._scribe.mention(partial(self._journal.refused, unit, "the run ended before its turn"))
            raise

    async def _exchange(self, unit: Unit) -> Answer:
        """Send a unit and get an answer that is not worth another attempt.

        Raises:
            CallError: it did not come to that; the journal has been told.
            ReplyError: as `read_body`.
        """
        sent_at = asyncio.get_running_loop().time()
        try:
            body = self._dialect.body(unit)
            answer = await self._fleet.post(unit[0], self._dialect.path(unit[0]), body, largest_reply(unit))
            if answer.status in UNCERTAIN:
                raise LostError(self._stops.failure(answer), asked_pause(answer.headers), overload=True)
        except NotSentError as error:
            self._scribe.mention(partial(self._journal.refused, unit, error.failure))
            raise
        except LostError as error:
            if error.overload:
                self._limit.timed_out(sent_at)
            error.may_repeat = await self._scribe.tell(partial(self._journal.lost, unit, error.failure))
            raise
        finally:
            self._limit.leave()
        if answer.status in NO_ROOM:
            self._limit.refused(sent_at)
        else:
            self._limit.answered(sent_at)
        if answer.succeeded:
            self._succeeded = True
            return answer
        failure = self._stops.failure(answer)
        stop: Exception | None = self._stops.reason(answer, self._limit.refusing_for())
        if stop and answer.status in ABOUT_A_PROMPT and await self._answers_others():
            stop = None
        if answer.status in MALFORMED and self._learned(unit, body, failure):
            stop = RefusedError(failure)
        if not stop and not may_pass(answer.status):
            return answer
        self._scribe.mention(partial(self._journal.refused, unit, failure))
        raise stop or (RefusedError if answer.status in NO_ROOM else ServerError)(failure, asked_pause(answer.headers))

    def _learned(self, unit: Unit, sent: bytes, failure: str) -> bool:
        """Whether a refused request would now be put in another way."""
        if said := self._dialect.learn(sent, failure):
            console().print(f"      {said}", markup=False)
        return self._dialect.body(unit) != sent

    async def _answers_others(self) -> bool:
        """Whether the server answers a plain question: then it is a prompt that it refuses, and no key or model."""
        if self._succeeded:
            return True
        if self._works is None:
            self._works = asyncio.get_running_loop().create_future()
            try:
                path, body = self._dialect.path(PLAIN), self._dialect.body([PLAIN])
                answer = await self._fleet.post(PLAIN, path, body, largest_reply([PLAIN]))
                self._works.set_result(answer.succeeded)
            except (CallError, ReplyError):
                self._works.set_result(False)
            except BaseException:
                self._works.cancel()
                raise
        return await asyncio.shield(self._works)
