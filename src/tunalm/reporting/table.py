"""The results of an evaluation as a table for the terminal, within 80 columns."""

from __future__ import annotations

from typing import Any

from rich.box import SIMPLE
from rich.table import Table
from rich.text import Text

from tunalm.reporting.formats import MOST_TOLD, SIGNIFICANT, interval, number, signed
from tunalm.reporting.numbers import official_totals

LONGEST_NAME = 22


def results_table(results: dict[str, Any]) -> Table:
    """One row per model and benchmark: value, interval, difference to the first model with its interval.

    Args:
        results: the content of results.json.
    """
    models = results["models"]
    baseline = results["baseline"]
    metrics = {name: result["metric"] for name, result in models[baseline]["results"].items()}
    pairs = {(each["benchmark"], each["model"]): each for each in results["comparisons"] if each["against"] == baseline}
    notes: list[str] = []
    table = Table(caption_justify="left", box=SIMPLE, pad_edge=False)
    table.add_column("model", max_width=LONGEST_NAME, overflow="fold")
    for heading in ("0-100", "95 %", "difference", "95 %", "n"):
        table.add_column(heading, justify="right", no_wrap=True)
    for benchmark, metric in metrics.items():
        table.add_row(Text(f"{benchmark}: {metric}", style="bold"))
        if note := models[baseline]["results"][benchmark].get("note"):
            notes.append(f"{benchmark}: {note}.")
        for model, outcome in models.items():
            result, pair = outcome["results"][benchmark], pairs.get((benchmark, model))
            table.add_row(
                Text(model),
                number(result["value"]),
                interval(result["ci95"]),
                *(_difference(pair) if pair else ("", "")),
                f"{result['n']}!" if result["failed"] else f"{result['n']} ",
            )
            if len(models) <= MOST_TOLD and (totals := official_totals(result)):
                told = ", ".join(f"{name} {number(value)}" for name, value in totals.items())
                notes.append(f"{benchmark}, {model}: {told}.")
        table.add_section()
    table.caption = _caption(results, notes)
    return table


def _difference(pair: dict[str, Any]) -> tuple[str, str]:
    star = "*" if pair["p_holm"] < SIGNIFICANT else " "
    return signed(pair["difference"]) + star, interval(pair["ci95"])


def _caption(results: dict[str, Any], notes: list[str]) -> Text:
    samples = results["settings"]["bootstrap_samples"]
    text = f"95 %: bootstrap interval over instructions ({samples} resamples)."
    if count := len(results["comparisons"]):
        text += f"\nDifferences are to {results['baseline']}, on the same instructions; * p < {SIGNIFICANT}"
        text += f" (permutation test, Holm-corrected for {count} comparisons)."
    failed = sum(each["failed"] for model in results["models"].values() for each in model["results"].values())
    if failed:
        text += f"\n! {failed} answers failed; a failed answer counts as 0."
    unjudged = sum(
        each.get("unjudged", 0) for model in results["models"].values() for each in model["results"].values()
    )
    if unjudged:
        text += f"\n{unjudged} answers could not be judged; they are left out of n."
    return Text("\n".join([text, *notes]))
