"""What a sweep found: the mean over seeds of every setting, with its interval, and plots like Figures 2 and 3."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

from tunalm.measures.means import t_interval
from tunalm.recipe.sweeps import SEED, read_label
from tunalm.records import EvaluationResults, Result
from tunalm.reporting.formats import interval, metric, number
from tunalm.reporting.plots import setting_plot
from tunalm.reporting.svg import Drawing, to_svg
from tunalm.reporting.tables import Cell, Column, Table

Setting = tuple[tuple[str, str], ...]
"""Values by axis, the seed left out."""


@dataclass(frozen=True)
class Mean:
    """A metric of one setting, 0-100."""

    value: float | None
    ends: Sequence[float] | None
    """Of the 95 % interval: over seeds where there are several, otherwise over instructions."""


@dataclass(frozen=True)
class Sweep:
    """What the report shows of the variants of an evaluation."""

    table: Table
    seeds: int
    """The most that one setting has."""
    drawings: list[Drawing]


def sweep(results: EvaluationResults) -> Sweep | None:
    """What became of the variants of an evaluation's models; None where there are none.

    Args:
        results: the content of results.json. Variants are told by their names, see `tunalm.recipe.sweeps.label`.
    """
    models: defaultdict[str, defaultdict[Setting, list[Mapping[str, Result]]]] = defaultdict(lambda: defaultdict(list))
    for label, outcome in results.models.items():
        name, values = read_label(label)
        setting = tuple((axis, value) for axis, value in values.items() if axis != SEED)
        models[name][setting].append(outcome.results)
    if sum(len(settings) for settings in models.values()) == len(results.models) == len(models):
        return None
    first = results.models[results.baseline].results
    kinds = {name: metric(result.metric) for name, result in first.items()}
    rows: list[list[Cell]] = []
    drawings: list[Drawing] = []
    for model, settings in models.items():
        means = {
            setting: {name: _mean([outcome[name] for outcome in outcomes]) for name in kinds}
            for setting, outcomes in settings.items()
        }
        for setting, found in means.items():
            cells = [
                Cell(number(mean.value, kinds[name].digits), interval(mean.ends, kinds[name].digits), strong=True)
                for name, mean in found.items()
            ]
            rows.append([Cell(model, note=_words(setting)), Cell(str(len(settings[setting]))), *cells])
        if len(settings) > 1 and all(settings):
            for name, kind in kinds.items():
                drawings.append(
                    _drawing(model, name, kind.label, {setting: each[name] for setting, each in means.items()})
                )
    columns = [
        Column("model", number=False),
        Column("seeds"),
        *(Column(name, kind.label) for name, kind in kinds.items()),
    ]
    seeds = max(len(outcomes) for settings in models.values() for outcomes in settings.values())
    return Sweep(Table("Means over seeds", columns, rows), seeds, drawings)


def _drawing(model: str, benchmark: str, kind: str, means: Mapping[Setting, Mean]) -> Drawing:
    """A metric over the first knob, with a line for each setting of the others."""
    series: defaultdict[str, list[tuple[str, float | None, Sequence[float] | None]]] = defaultdict(list)
    for ((_, value), *others), mean in means.items():
        series[_words(tuple(others))].append((value, mean.value, mean.ends))
    knob = next(iter(means))[0][0].replace("_", " ")
    caption = f"{model} on {benchmark}"
    figure = setting_plot(series, (knob, kind))
    return Drawing(caption, to_svg(figure, f"{caption} by {knob}; the table has the numbers"))


def _mean(outcomes: Sequence[Result]) -> Mean:
    values = [outcome.value for outcome in outcomes if outcome.value is not None]
    if not values:
        return Mean(None, None)
    return Mean(fmean(values), outcomes[0].ci95 if len(outcomes) == 1 else t_interval(values))


def _words(setting: Setting) -> str:
    return ", ".join(f"{axis} = {value}" for axis, value in setting)
