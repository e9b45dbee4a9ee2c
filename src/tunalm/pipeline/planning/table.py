"""An estimate as people read it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import reduce
from operator import add

from rich.console import Console
from rich.table import Table

from tunalm.calls.budget import dollars
from tunalm.pipeline.planning.figures import Amount, Asking, RecipePlan
from tunalm.pipeline.planning.rows import MOST_ROWS

GIB = 2**30
UNKNOWN = "unknown"


def print_estimate(estimate: RecipePlan, name: str, max_cost: float | None) -> None:
    """Print what a recipe named so would take, and how that goes with a limit on costs."""
    screen = Console(highlight=False)
    screen.print(_stages(estimate, name))
    if any(stage.asked for stage in estimate.stages):
        screen.print(_calls(estimate))
    if any(stage.training for stage in estimate.stages):
        screen.print(_training(estimate))
    for line in _remarks(estimate, max_cost):
        screen.print(line, markup=False, soft_wrap=True)


def _table(title: str, *headings: str) -> Table:
    table = Table(title=title, title_justify="left")
    for number, heading in enumerate(headings):
        table.add_column(heading, justify="left" if number == 0 else "right", overflow="fold")
    return table


def _stages(estimate: RecipePlan, name: str) -> Table:
    table = _table(f"{name}: what would run", "stage", "kind", "state", "disk")
    for stage in estimate.stages:
        table.add_row(stage.stage, stage.kind, stage.state, _bytes(stage.disk))
    return table


def _calls(estimate: RecipePlan) -> Table:
    table = _table(
        "Calls: expected / at most",
        "stage",
        "calls",
        "prompt tokens",
        "cached",
        "completion tokens",
        "thoughts",
        "cost",
    )
    for stage in estimate.stages:
        if stage.asked:
            table.add_row(stage.stage, *_costs(reduce(add, stage.asked)))
    table.add_section()
    table.add_row("together", *_costs(estimate.total))
    return table


def _costs(asking: Asking) -> tuple[str, ...]:
    cost = UNKNOWN if asking.cost is None else _range(asking.cost, dollars)
    cached, thoughts = (f"{tokens:,.0f}" for tokens in (asking.cached_tokens, asking.reasoning_tokens))
    calls, prompts, written = map(_range, (asking.calls, asking.prompt_tokens, asking.completion_tokens))
    return (calls, prompts, cached, written, thoughts, cost)


def _training(estimate: RecipePlan) -> Table:
    table = _table("Training", "stage", "tokens read", "PFLOP", "memory")
    for stage in estimate.stages:
        if stage.training:
            needs = stage.training
            tokens = f"{needs.tokens:,}{_interval(needs.tokens, stage.error)}"
            work = UNKNOWN if needs.operations is None else f"{needs.operations / 1e15:,.1f}"
            table.add_row(stage.stage, tokens, work, _bytes(needs.memory))
    return table


def _remarks(estimate: RecipePlan, max_cost: float | None) -> Iterator[str]:
    for stage in estimate.stages:
        for asking in stage.asked:
            if asking.answered:
                yield f"{stage.stage}: {asking.answered:,} of {asking.requested:,} are answered already"
        for note in stage.notes:
            yield f"{stage.stage}: {note}"
    cost = estimate.total.cost
    if max_cost is not None and cost is not None:
        enough = "covers" if max_cost >= cost.expected else "is less than"
        sure = " and the most that can come" if max_cost >= cost.most else ""
        yield f"max_cost: {dollars(max_cost)} {enough} what is expected{sure}"
    if estimate.total.prompt_tokens.error or any(stage.error for stage in estimate.stages):
        yield f"At most {MOST_ROWS} rows of each source were counted; \u00b1 is the 95 % interval that comes from that."
    yield "Tokens are estimates; a judge is taken to read answers of the expected length."
    yield "Nothing was sent, loaded or written."


def _range(amount: Amount, show: Callable[[float], str] = lambda value: f"{round(value):,}") -> str:
    expected, most = show(amount.expected) + _interval(amount.expected, amount.error), show(amount.most)
    return expected if expected == most or amount.expected == amount.most else f"{expected} / {most}"


def _interval(expected: float, error: float) -> str:
    """Half of the 95 % interval, as a share of what is expected; nothing if all rows were counted."""
    return f" \u00b1{error / expected:.1%}" if error and expected else ""


def _bytes(count: float | None) -> str:
    if count is None:
        return UNKNOWN
    return "-" if not count else f"{count / GIB:.1f} GiB" if count >= 0.1 * GIB else f"{count / 2**20:.1f} MiB"
