"""The stages of a run, finished or in progress, as a table for the terminal."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path

from rich.box import SIMPLE
from rich.table import Table
from rich.text import Text

from tunalm.calls.budget import dollars
from tunalm.calls.spending import accounts, accounts_since
from tunalm.records import CallAccount, StageState, TrainingStep
from tunalm.reporting.files import as_record
from tunalm.reporting.formats import duration, number, plain, visible
from tunalm.reporting.run import Run

REASONS_SHOWN = 5
_TAIL = 1 << 14
"""Bytes at the end of a file in which its last line is looked for."""


def stages_table(run: Run, *, failed: bool = False) -> Table:
    """State, counts, time and money of every stage.

    Args:
        run: its stages; they may be running.
        failed: only stages in which something failed.
    """
    table = Table(box=SIMPLE, pad_edge=False, caption_justify="left", title=Text(visible(run.recipe.name)))
    for heading in ("stage", "kind", "state"):
        table.add_column(heading, overflow="fold")
    for heading in ("ok", "failed", "unknown", "time", "cost"):
        table.add_column(heading, justify="right", no_wrap=True)
    spent: list[float | None] = []
    shown = {name: run.states.get(name, StageState()) for name in run.recipe.stages}
    for name, state in shown.items():
        if failed and not (state.failed or state.unknown):
            continue
        calls = list(_accounts(run.path, state))
        spent += [account.cost for account in calls]
        count = "-" if state.requested is None else f"{plain(state.ok)}/{plain(state.requested)}"
        failures = [Text(plain(value), style="red" if value else "") for value in (state.failed, state.unknown)]
        money = _money([account.cost for account in calls]) if calls else "-"
        doing = Text(visible(_state(run.path / name, state, calls)), style={"running": "bold"}.get(state.status, ""))
        kind = run.recipe.stages[name].kind
        table.add_row(Text(visible(name)), kind, doing, count, *failures, duration(state.seconds), money)
    table.caption = Text("\n".join(_said(shown, spent)))
    return table


def ledger_table(path: Path) -> Table:
    """What every engine has answered, and what that has cost.

    Raises:
        StoreError: the ledger cannot be read.
    """
    table = Table(box=SIMPLE, pad_edge=False)
    table.add_column("engine", overflow="fold")
    for heading in ("answers", "unknown", "calls", "tokens in", "tokens out", "cost"):
        table.add_column(heading, justify="right", no_wrap=True)
    for engine, account in accounts(path).items():
        counts = (account.answered, account.unknown, account.calls, account.prompt_tokens, account.completion_tokens)
        cost = None if account.unpriced else account.cost
        table.add_row(Text(visible(engine)), *map(plain, counts), _money([cost]))
    return table


def _state(folder: Path, state: StageState, calls: list[CallAccount]) -> str:
    """The state in words; of a stage in progress, how far it is."""
    if state.status != "running":
        return state.status + (", edited by hand" if state.edited else "")
    try:
        since = time.strftime("%H:%M", time.localtime(os.stat(folder / "stage.json").st_mtime))
    except OSError:
        since = "-"
    words = [f"running since {since}"]
    if answered := sum(account.answered for account in calls):
        words.append(f"{plain(answered)} answers")
    if (step := _last_step(folder / "metrics.jsonl")) is not None:
        loss = step.metrics.get("loss")
        words.append(f"step {step.step}" + (f", loss {number(loss, 3)}" if loss is not None else ""))
    return ", ".join(words)


def _last_step(path: Path) -> TrainingStep | None:
    """The last whole line of a file of metrics."""
    try:
        with open(path, "rb") as file:
            file.seek(max(0, path.stat().st_size - _TAIL))
            lines = file.read().splitlines()
    except OSError:
        return None
    for line in reversed(lines):
        try:
            return TrainingStep.model_validate_json(line)
        except ValueError:
            continue
    return None


def _accounts(path: Path, state: StageState) -> Iterator[CallAccount]:
    """What a stage has asked of each engine; while it runs, what its ledger says so far."""
    calls = state.details.get("calls")
    if state.status == "running" and state.accounts is not None:
        calls = accounts_since(state.accounts, accounts(path / "ledger.sqlite"), {})
    for account in calls.values() if isinstance(calls, dict) else ():
        if (known := as_record(account, CallAccount)) is not None:
            yield known


def _money(costs: list[float | None]) -> str:
    known = [cost for cost in costs if cost is not None]
    return dollars(sum(known)) if len(known) == len(costs) else "unknown"


def _said(states: dict[str, StageState], spent: list[float | None]) -> Iterator[str]:
    done = sum(state.done for state in states.values())
    took = sum(state.seconds or 0.0 for state in states.values())
    cost = f"; calls cost {_money(spent)}" if spent else ""
    yield f"{done} of {len(states)} stages are done, in {duration(took)}{cost}."
    for name, state in states.items():
        failures = state.details.get("failures")
        for reason, count in list(failures.items())[:REASONS_SHOWN] if isinstance(failures, dict) else ():
            yield visible(f"{name}: {count} x {reason}")
