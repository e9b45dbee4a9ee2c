"""What a stage may use: its folder, and the calls to language models that it may make."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from tunalm.calls.asking import complete
from tunalm.calls.budget import Budget
from tunalm.engines import open_engine
from tunalm.engines.base import Completion, Engine, Request
from tunalm.recipe import EngineSettings


@dataclass(frozen=True)
class Calls:
    """How a function of a stage reaches language models. It needs no run folder."""

    ledger: Path
    """SQLite file that keeps the answers of all engines; an answer that is in it is not asked for again."""
    trust_remote_code: bool = False
    """Whether models may run code of their own. True only when a user typed the flag."""
    budget: Budget | None = None
    """What the calls may cost; None sets no limit and counts nothing."""

    def open(self, settings: EngineSettings) -> Engine:
        """The engine that `settings` describe; raises as `open_engine` does, or `BudgetError` if its price is not known
        and there is a limit to keep."""
        engine = open_engine(settings, trust_remote_code=self.trust_remote_code)
        if self.budget:
            self.budget.know(engine.identity, settings.place())
        return engine

    def complete(
        self,
        engine: Engine,
        requests: Sequence[Request],
        description: str,
        *,
        unusable: Callable[[Completion], str | None] | None = None,
    ) -> dict[str, Completion]:
        """One completion per request, by its key; arguments and errors as in `tunalm.calls.asking.complete`."""
        return complete(engine, requests, self.ledger, description, budget=self.budget, unusable=unusable)


@dataclass(frozen=True)
class StageContext:
    """Where a stage works and what it may do. Settings reach a stage with all names replaced by paths."""

    folder: Path
    """The stage's own folder; the stage resumes from what lies in it after a kill."""
    ledger: Path
    """SQLite file with the answers of all engines of the run."""
    trust_remote_code: bool = False
    """Whether models may run code of their own. True only when a user typed the flag."""
    budget: Budget | None = None
    """What the calls of the run may cost; None sets no limit and counts nothing."""

    @property
    def calls(self) -> Calls:
        """The calls that the stage may make."""
        return Calls(self.ledger, self.trust_remote_code, self.budget)
