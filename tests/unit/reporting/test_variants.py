"""Sweeps in the report: means over seeds, and a plot over the knob."""

from __future__ import annotations

from xml.etree import ElementTree

import pytest

from tests.unit.reporting.conftest import result
from tunalm.records import EvaluationKnobs, EvaluationResults, ModelResults
from tunalm.reporting.variants import Sweep, sweep


def swept(values: dict[str, float]) -> Sweep | None:
    """The sweep of an evaluation whose models have these values."""
    models = {
        name: ModelResults(
            identity="x", results={"lmentry": result(value, metric="accuracy", ci95=(value - 1, value + 1))}
        )
        for name, value in values.items()
    }
    knobs = EvaluationKnobs(bootstrap_samples=100, seed=0, max_new_tokens=8)
    return sweep(EvaluationResults(baseline=next(iter(values)), models=models, comparisons=[], settings=knobs))


def rows(found: Sweep | None) -> list[list[str]]:
    assert found is not None
    return [[part for cell in row for part in (cell.text, cell.note) if part] for row in found.table.rows]


def test_seeds_are_averaged_with_a_t_interval() -> None:
    found = swept({"base": 10.0, "tuna~seed=0": 20.0, "tuna~seed=1": 24.0})
    # half width: 12.706 (t with one degree of freedom) x 2 (standard error)
    assert rows(found) == [
        ["base", "1", "10.0", "9.0 to 11.0"],
        ["tuna", "2", "22.0", "\N{MINUS SIGN}3.4 to 47.4"],
    ]
    assert found is not None
    assert (found.seeds, found.drawings) == (2, [])


def test_settings_are_rows_and_a_second_knob_makes_lines_of_a_plot() -> None:
    names = {f"tuna~rows={rows},beta={beta},seed={seed}": 1.0 for rows in (8, 16) for beta in (1, 2) for seed in (0, 1)}
    found = swept({"base": 1.0} | names)
    assert [row[:3] for row in rows(found)[:3]] == [
        ["base", "1", "1.0"],
        ["tuna", "rows = 8, beta = 1", "2"],
        ["tuna", "rows = 8, beta = 2", "2"],
    ]
    assert found is not None
    (drawing,) = found.drawings
    texts = [text.strip() for text in ElementTree.fromstring(drawing.svg).itertext()]
    assert {"8", "16", "rows", "beta = 1", "beta = 2"} <= set(texts)


@pytest.mark.parametrize("names", [["base"], ["base", "tuna"], ["base", "tuna~seed=0"]])
def test_without_variants_there_is_nothing(names: list[str]) -> None:
    assert swept(dict.fromkeys(names, 1.0)) is None
