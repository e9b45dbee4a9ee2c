"""Early stopping: which rounds of a model are left out, told by the held-out scores that lie in the run folder.

It is decided from these files alone, so a run that resumes decides the same.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from tunalm.errors import StoreError
from tunalm.pipeline.folder import RunFolder
from tunalm.pipeline.products import MADE
from tunalm.pipeline.resolving import resolve
from tunalm.recipe import EarlyStopping, Recipe
from tunalm.recipe.rounds import START, stopped
from tunalm.recipe.sweeps import label, read_label
from tunalm.records import EvaluationResults
from tunalm.store import read_record


def settle(recipe: Recipe, run: RunFolder) -> Recipe:
    """A recipe without the rounds that early stopping leaves out, as far as that is known by now; what reads the
    last round of a model whose best one is known reads that.

    Raises:
        ModelError, DataError: something that a stage reads does not exist.
        StoreError: a held-out evaluation has no score.
    """
    open_groups = [name for name, group in recipe.early_stopping.items() if group.best is None]
    found = True
    while found:  # when one variant of a sweep stops, the evaluation of the others is another one
        found = False
        for name in list(open_groups):
            group = recipe.early_stopping[name]
            scores = list(_scores(recipe, run, group))
            ran = _rounds_until_stop(scores, group.patience)
            if ran is None and len(scores) <= len(group.rounds):
                continue
            ran = len(group.rounds) if ran is None else ran
            recipe = stopped(recipe, name, ran, scores.index(max(scores[: ran + 1])))
            open_groups.remove(name)
            found = True
    return recipe


def _rounds_until_stop(scores: Sequence[float], patience: int) -> int | None:
    """After how many rounds the scores, the start's first, have been lower than the best so often in succession."""
    best, lower = float("-inf"), 0
    for number, score in enumerate(scores):
        lower = lower + 1 if score < best else 0
        best = max(best, score)
        if lower == patience:
            return number
    return None


def _scores(recipe: Recipe, run: RunFolder, group: EarlyStopping) -> Iterator[float]:
    """Held-out scores of the start and of the rounds that were scored, up to the first that was not."""
    fingerprints = {step.name: step.fingerprint for step in resolve(recipe, run)}
    _, values = read_label(group.start)
    start = label(START, values) if group.start in recipe.stages else START
    for number, (evaluation, stages) in enumerate(zip(group.scores, group.rounds, strict=True)):
        if evaluation not in fingerprints or not run.is_done(evaluation, fingerprints[evaluation]):
            return
        results = read_record(run.folder(evaluation) / MADE["results"], EvaluationResults)
        assert results is not None
        for model in ([start] if number == 0 else []) + stages[-1:]:
            score = results.models[model].results[results.benchmarks[0]].value
            if score is None:
                found = f"no answer of {model} could be scored, so nobody knows whether to go on"
                raise StoreError(run.folder(evaluation), found=found, fix="Set another held_out, or no patience.")
            yield score
