"""What became of a model round by round: a drawing for each measure of an evaluation."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Mapping, Sequence

from tunalm.measures.means import t_interval
from tunalm.recipe import Evaluate, Recipe, Train, sources_in
from tunalm.recipe.sweeps import SEED, read_label
from tunalm.records import EvaluationResults, Result
from tunalm.reporting.formats import metric
from tunalm.reporting.plots import setting_plot
from tunalm.reporting.svg import Drawing, to_svg

_ROUND = re.compile(r"(.+)_(\d+)")
Ends = Sequence[float] | None


def starts_of(recipe: Recipe, evaluation: Evaluate) -> dict[str, str]:
    """The model of an evaluation that each of its others started training from, where there is one."""
    reads = {name: sources_in(engine)[:1] for name, engine in evaluation.models.items()}
    names = {source: name for name, sources in reads.items() for source in sources}
    stages = {name: recipe.stages.get(sources[0]) for name, sources in reads.items() if sources}
    return {
        name: names[stage.start] for name, stage in stages.items() if isinstance(stage, Train) and stage.start in names
    }


def by_round(results: EvaluationResults, starts: Mapping[str, str]) -> list[Drawing]:
    """Draw every measure over the rounds of models; several seeds of a model become their mean.

    Args:
        results: the content of results.json. Rounds are models `NAME_1`, `NAME_2` ..., each started from the last.
        starts: the model that each started from, as `starts_of` finds it; that of a first round is drawn as round 0.
    """
    lines: defaultdict[str, defaultdict[int, list[str]]] = defaultdict(lambda: defaultdict(list))
    for model in results.models:
        name, values = read_label(model)
        if parts := _ROUND.fullmatch(name):
            others = ", ".join(f"{axis} = {value}" for axis, value in values.items() if axis != SEED)
            line = lines[f"{parts[1]}, {others}" if others else parts[1]]
            line[int(parts[2])].append(model)
            if int(parts[2]) == 1 and model in starts:
                line[0].append(starts[model])
    rounds = {name: line for name, line in lines.items() if {starts.get(each) for each in line[2]} & {*line[1]}}
    drawings: list[Drawing] = []
    numbers = sorted({number for line in rounds.values() for number in line})
    for measure in results.benchmarks if rounds else ():
        found = results.on(measure)
        series = {
            name: [(str(number), *_mean([found[each] for each in dict.fromkeys(line[number])])) for number in numbers]
            for name, line in rounds.items()
        }
        label = metric(found[results.baseline].metric).label
        figure = setting_plot(series, ("round", label))
        caption = f"{measure} by round"
        drawings.append(
            Drawing(caption, to_svg(figure, f"{caption} of {', '.join(series)}; the table has the numbers"))
        )
    return drawings


def _mean(outcomes: Sequence[Result]) -> tuple[float | None, Ends]:
    values = [each.value for each in outcomes if each.value is not None]
    if not values:
        return None, None
    return sum(values) / len(values), outcomes[0].ci95 if len(outcomes) == 1 else t_interval(values)
