"""The results of an evaluation as a table for the terminal, within 80 columns."""

from __future__ import annotations

from collections.abc import Iterator

from rich.box import SIMPLE
from rich.table import Table
from rich.text import Text

from tunalm.records import EvaluationResults
from tunalm.reporting.formats import MOST_TOLD, SIGNIFICANT, interval, metric, number, signed

LONGEST_NAME = 22
TOTALS_TOLD = 4
"""The first ones of a benchmark; the report has all."""


def results_table(results: EvaluationResults) -> Table:
    """One row per model and benchmark: value, interval, difference to the first model with its interval.

    Args:
        results: the content of results.json.
    """
    baseline = results.baseline
    pairs = {(each.benchmark, each.model): each for each in results.comparisons if each.against == baseline}
    table = Table(caption_justify="left", box=SIMPLE, pad_edge=False, padding=(0, 0, 0, 1))
    table.add_column("model", max_width=LONGEST_NAME, overflow="fold")
    plain = any(metric(results.on(name)[baseline].metric).unit != "points" for name in results.benchmarks)
    for heading in ("value" if plain else "0-100", "95 %", "difference", "95 %", "n"):
        table.add_column(heading, justify="right", no_wrap=True)
    for benchmark in results.benchmarks:
        by_model = results.on(benchmark)
        if total := by_model[baseline].headline:
            table.add_row(Text(f"{benchmark}: {total}", style="bold"))
            for model, result in by_model.items():
                shown = number(result.totals.get(total)), interval(result.headline_interval)
                table.add_row(Text(model), *shown, "", "", f"{result.n} ")
        name = by_model[baseline].metric
        kind = metric(name)
        further = benchmark.endswith(f": {name}")
        table.add_row(Text(name if further else f"{benchmark}: {name}", style="bold"))
        for model, result in by_model.items():
            difference = ["", ""]
            if pair := pairs.get((benchmark, model)):
                star = "*" if pair.p_holm < SIGNIFICANT else " "
                difference = [signed(pair.difference, kind.digits) + star, interval(pair.ci95, kind.digits)]
            count = f"{result.n}!" if result.failed else f"{result.n} "
            shown = number(result.value, kind.digits), interval(result.ci95, kind.digits)
            table.add_row(Text(model), *shown, *difference, count)
        table.add_section()
    table.caption = Text("\n".join(_caption(results)))
    return table


def _caption(results: EvaluationResults) -> Iterator[str]:
    yield f"95 %: bootstrap interval over instructions ({results.settings.bootstrap_samples} resamples)."
    if count := len(results.comparisons):
        yield (
            f"Differences are to {results.baseline}, on the same instructions; * p < {SIGNIFICANT}"
            f" (permutation test{f', Holm-corrected for {count} comparisons' if count > 1 else ''})."
        )
    if any(metric(results.on(name)[results.baseline].metric).unit == "nats" for name in results.benchmarks):
        yield "Nats per token and KL divergences are in nats, less is nearer; all else is 0-100, or a tau."
    found = [result for model in results.models.values() for result in model.results.values()]
    if failed := sum(result.failed for result in found):
        yield f"! {failed} answers failed; a failed answer counts as 0."
    if unjudged := sum(result.unjudged for result in found):
        yield f"{unjudged} answers could not be judged or measured; they are left out of n."
    for benchmark in results.benchmarks:
        by_model = results.on(benchmark)
        if note := by_model[results.baseline].note:
            yield f"{benchmark}: {note}."
        for model, result in by_model.items():
            if len(by_model) <= MOST_TOLD and (totals := result.official_totals):
                told = ", ".join(f"{name} {number(value)}" for name, value in list(totals.items())[:TOTALS_TOLD])
                yield f"{benchmark}, {model}: {told}."
