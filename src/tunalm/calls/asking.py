"""Getting requests answered: from the ledger where it has the answer, and else by asking the engine.

Units (see `Engine.batches`) are always formed from all requests of a call, and those with nothing missing are left out,
so a run that resumes after a kill asks in exactly the units that it would have had. A unit can be answered in part,
after a failure or when the requests of an earlier call were others. An engine that is seeded is then asked the whole
unit again, because the last bits of what a model computes depend on what it computes them together with, and the
missing answers shall be those of an uninterrupted run; every other engine is asked only for what is missing. Either way
an answer once filed stays.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from tunalm.calls.budget import Budget
from tunalm.calls.journal import LedgerJournal
from tunalm.calls.ledger import open_ledger
from tunalm.calls.needs import require
from tunalm.calls.prices import Prices
from tunalm.calls.stopping import Failures
from tunalm.engines.base import Completion, Engine, Request
from tunalm.errors import BudgetError
from tunalm.progress import progress


def complete(
    engine: Engine,
    requests: Sequence[Request],
    ledger: Path,
    description: str,
    *,
    budget: Budget | None = None,
    unusable: Callable[[Completion], str | None] | None = None,
) -> dict[str, Completion]:
    """Answer requests, from the ledger where it has the answer and else by asking the engine.

    Args:
        engine: who is asked.
        requests: each with a key of its own.
        ledger: the file; it is made when there is none.
        description: what the progress bar says.
        budget: what the calls may cost; None sets no limit, and what they cost is then not known.
        unusable: why the caller cannot use an answer, None if it can: when it can use hardly any, the run stops.

    Returns:
        One completion per request by its key, in the order of the requests. Those with `failure` are asked for again
        by the next call, except for those that are `unknown` and may not be sent again.

    Raises:
        ValueError: two requests have the same key.
        StoreError: the file is no ledger, or is in use, or cannot be read or written. What was filed stays filed.
        EngineError: the engine cannot answer any request, or fails at too many; likewise.
        BudgetError: the next call could cost too much; likewise.
    """
    if repeated := len(requests) - len({request.key for request in requests}):
        raise ValueError(f"{repeated} of {len(requests)} requests have the key of another one")
    with open_ledger(ledger, engine.identity) as kept, progress(description, len(requests)) as advance:
        journal = LedgerJournal(engine, requests, kept, budget or Budget(None, Prices(())))
        journal.look_up(advance)
        units = journal.open_units()
        require(engine, units, journal)
        failures = Failures(engine.identity, unusable)
        failures.check(answer for answer in journal.answers.values() if answer.failure is None)
        _answer(engine, units, journal, failures, advance)
    if budget:
        budget.answers[engine.identity] += sum(answer.failure is None for answer in journal.answers.values())
    return {request.key: journal.answers.get(request.key) or _forgotten(request) for request in requests}


def _answer(
    engine: Engine,
    units: Sequence[Sequence[Request]],
    journal: LedgerJournal,
    failures: Failures,
    advance: Callable[[int], None],
) -> None:
    """Have units answered and file the answers.

    A call for which there was no money beside those in flight may be within the limit once they are settled, because a
    call reserves more than it costs: the money is at an end when not one more call can be paid.
    """
    while True:
        before = len(journal.answers)
        try:
            with _generating(engine, units, journal) as finished:
                for unit in finished:
                    answered = journal.take(unit)
                    advance(len(answered))
                    failures.check(answered)
            return
        except BudgetError:
            if len(journal.answers) == before:
                raise
        units = journal.open_units()


def _forgotten(request: Request) -> Completion:
    return Completion(key=request.key, failure="the engine gave no answer")


@contextmanager
def _generating(
    engine: Engine, units: Sequence[Sequence[Request]], journal: LedgerJournal
) -> Iterator[Iterator[list[Completion]]]:
    """Let an engine that is left early, by an error or Ctrl-C, end what it has in flight."""
    finished = engine.generate(units, journal) if units else iter(())
    try:
        yield finished
    finally:
        if isinstance(finished, Generator):
            finished.close()
