"""Several runs beside each other: `tunalm compare`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from tunalm.errors import StoreError
from tunalm.evaluation.merging import Evaluated, merge
from tunalm.pipeline.folder import RunFolder
from tunalm.pipeline.manifest import states, stored_recipe
from tunalm.pipeline.products import MADE
from tunalm.recipe import Recipe
from tunalm.recipe.sweeps import SEED, label
from tunalm.records import EvaluationResults
from tunalm.reporting.changes import Answers
from tunalm.reporting.published import Published
from tunalm.reporting.report import write_comparison
from tunalm.reporting.run import Run
from tunalm.store import read_record, write_json


def compare_runs(folders: Sequence[Path], out: Path, published: Sequence[Published] = ()) -> EvaluationResults:
    """Write results.json and report.html of several runs together into a folder; returns the results.

    Runs whose recipes differ in nothing but the seed are shown like a sweep over seeds: with means over them.

    Args:
        folders: of the runs, as `tunalm run --run-dir` took them.
        out: folder to write to.
        published: numbers to stand beside those of the runs.

    Raises:
        StoreError: there are not two runs, a folder is none, or its evaluation has not finished; or `out` cannot be
            written, or is a run itself.
        DataError: the runs have no benchmark in common.
    """
    folders = list(dict.fromkeys(folder.resolve() for folder in folders))
    if len(folders) < 2:
        raise StoreError("tunalm compare", found="only one run is named", fix="Name the folders of two or more.")
    if (out / "config.yaml").exists():
        raise StoreError(out, found="it is a run itself", fix="Give another --out.")
    named = dict(zip(_names(folders), folders, strict=True))
    recipes = {name: stored_recipe(RunFolder(folder)) for name, folder in named.items()}
    evaluated = {name: _evaluated(folder, recipes[name]) for name, folder in named.items()}
    merged = merge(evaluated, _naming(recipes))
    runs = {
        name: Run(folder, recipes[name], states(recipes[name], RunFolder(folder))) for name, folder in named.items()
    }
    write_json(out / "results.json", merged.results.model_dump(mode="json"))
    sources = [Answers(each.folder, merged.names[name]) for name, each in evaluated.items()]
    write_comparison(out / "report.html", runs, merged.results, sources, published, merged.notes)
    return merged.results


def _names(folders: Sequence[Path]) -> list[str]:
    """The shortest ends of the paths that tell the folders apart."""
    for length in range(1, max(len(folder.parts) for folder in folders) + 1):
        names = ["/".join(folder.parts[-length:]) for folder in folders]
        if len(set(names)) == len(names):
            break
    return names


def _naming(recipes: Mapping[str, Recipe]) -> Callable[[str, str], str]:
    """How to call a model of a run."""
    seeds = {name: {stage.seed for stage in recipe.stages.values()} for name, recipe in recipes.items()}
    same = {repr(_without_seeds(recipe.model_dump(mode="json"))) for recipe in recipes.values()}
    found = [min(values) for values in seeds.values() if len(values) == 1]
    if len(same) == 1 and len(set(found)) == len(recipes):
        return lambda model, run: label(model, {SEED: min(seeds[run])})
    return lambda model, run: f"{run}: {model}"


def _without_seeds(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_seeds(item) for key, item in value.items() if key != SEED}
    return [_without_seeds(item) for item in value] if isinstance(value, list) else value


def _evaluated(folder: Path, recipe: Recipe) -> Evaluated:
    """The last finished evaluation of a run."""
    for name in reversed(recipe.stages):
        path = folder / name / MADE["results"]
        results = read_record(path, EvaluationResults) if recipe.stages[name].produces == "results" else None
        if results is not None:
            return Evaluated(path.parent, results)
    raise StoreError(folder, found="its evaluation has not finished", fix="Finish it with `tunalm run`.")
