"""The results of an evaluation as a table for the terminal, within 80 columns."""

from __future__ import annotations

from rich.box import SIMPLE
from rich.table import Table
from rich.text import Text

from tunalm.records import Difference, EvaluationResults
from tunalm.reporting.formats import MOST_TOLD, SIGNIFICANT, interval, number, signed

LONGEST_NAME = 22


def results_table(results: EvaluationResults) -> Table:
    """One row per model and benchmark: value, interval, difference to the first model with its interval.

    Args:
        results: the content of results.json.
    """
    baseline = results.baseline
    pairs = {(each.benchmark, each.model): each for each in results.comparisons if each.against == baseline}
    notes: list[str] = []
    table = Table(caption_justify="left", box=SIMPLE, pad_edge=False)
    table.add_column("model", max_width=LONGEST_NAME, overflow="fold")
    for heading in ("0-100", "95 %", "difference", "95 %", "n"):
        table.add_column(heading, justify="right", no_wrap=True)
    for benchmark in results.benchmarks:
        by_model = results.on(benchmark)
        table.add_row(Text(f"{benchmark}: {by_model[baseline].metric}", style="bold"))
        if by_model[baseline].note:
            notes.append(f"{benchmark}: {by_model[baseline].note}.")
        for model, result in by_model.items():
            pair = pairs.get((benchmark, model))
            table.add_row(
                Text(model),
                number(result.value),
                interval(result.ci95),
                *(_difference(pair) if pair else ("", "")),
                f"{result.n}!" if result.failed else f"{result.n} ",
            )
            if len(by_model) <= MOST_TOLD and (totals := result.official_totals):
                told = ", ".join(f"{name} {number(value)}" for name, value in totals.items())
                notes.append(f"{benchmark}, {model}: {told}.")
        table.add_section()
    table.caption = _caption(results, notes)
    return table


def _difference(pair: Difference) -> tuple[str, str]:
    star = "*" if pair.p_holm < SIGNIFICANT else " "
    return signed(pair.difference) + star, interval(pair.ci95)


def _caption(results: EvaluationResults, notes: list[str]) -> Text:
    text = f"95 %: bootstrap interval over instructions ({results.settings.bootstrap_samples} resamples)."
    if count := len(results.comparisons):
        text += f"\nDifferences are to {results.baseline}, on the same instructions; * p < {SIGNIFICANT}"
        text += f" (permutation test, Holm-corrected for {count} comparisons)."
    found = [result for model in results.models.values() for result in model.results.values()]
    if failed := sum(result.failed for result in found):
        text += f"\n! {failed} answers failed; a failed answer counts as 0."
    if unjudged := sum(result.unjudged for result in found):
        text += f"\n{unjudged} answers could not be judged; they are left out of n."
    return Text("\n".join([text, *notes]))
