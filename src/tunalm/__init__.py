"""tunalm: instruction tuning with ranking feedback from stronger models.

    lists  = tunalm.sample("embedded:smollm2", ["Name a colour.", "Name a river."], num_responses=4)
    ranked = tunalm.rank(lists, by=lambda instruction, text: -len(text))
    folder = tunalm.train("embedded:smollm2", ranked, out="runs/mine", margin=0.1)
    table  = tunalm.evaluate({"base": "embedded:smollm2", "mine": folder}, benchmarks=["checkable:heldout"], limit=48)

The public names are loaded when they are first used, so that `import tunalm` is quick and needs no torch.
"""

from __future__ import annotations

from importlib import import_module
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tunalm.data import load as load_data
    from tunalm.engines.models import embedded_file
    from tunalm.errors import TunaError
    from tunalm.evaluation.superni.scoring import score_file as score_superni
    from tunalm.frontdoor import Judge, ScoreTable, evaluate, instruct, rank, reward, sample, train
    from tunalm.measures.equation3 import likelihood_score
    from tunalm.measures.rouge import rouge_l
    from tunalm.pipeline.running import run_recipe
    from tunalm.recipe.loading import build_recipe, load_recipe
    from tunalm.records import Instruction, Prediction, Ranking, Response, Verdict
    from tunalm.training.losses import ranking_loss
    from tunalm.training.trainer import RankingConfig, RankingTrainer

_HOMES = {
    "Instruction": "tunalm.records",
    "Judge": "tunalm.frontdoor",
    "Prediction": "tunalm.records",
    "Ranking": "tunalm.records",
    "RankingConfig": "tunalm.training.trainer",
    "RankingTrainer": "tunalm.training.trainer",
    "Response": "tunalm.records",
    "ScoreTable": "tunalm.frontdoor",
    "TunaError": "tunalm.errors",
    "Verdict": "tunalm.records",
    "build_recipe": "tunalm.recipe.loading",
    "embedded_file": "tunalm.engines.models",
    "evaluate": "tunalm.frontdoor",
    "instruct": "tunalm.frontdoor",
    "likelihood_score": "tunalm.measures.equation3",
    "load_data": "tunalm.data:load",
    "load_recipe": "tunalm.recipe.loading",
    "rank": "tunalm.frontdoor",
    "ranking_loss": "tunalm.training.losses",
    "reward": "tunalm.frontdoor",
    "rouge_l": "tunalm.measures.rouge",
    "run_recipe": "tunalm.pipeline.running",
    "sample": "tunalm.frontdoor",
    "score_superni": "tunalm.evaluation.superni.scoring:score_file",
    "train": "tunalm.frontdoor",
}
"""Public name -> the module that has it, and the name there where it is another one."""

__version__ = version("tunalm")
__all__ = [
    "Instruction",
    "Judge",
    "Prediction",
    "Ranking",
    "RankingConfig",
    "RankingTrainer",
    "Response",
    "ScoreTable",
    "TunaError",
    "Verdict",
    "__version__",
    "build_recipe",
    "embedded_file",
    "evaluate",
    "instruct",
    "likelihood_score",
    "load_data",
    "load_recipe",
    "rank",
    "ranking_loss",
    "reward",
    "rouge_l",
    "run_recipe",
    "sample",
    "score_superni",
    "train",
]


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        module, _, inner = _HOMES[name].partition(":")
        return getattr(import_module(module), inner or name)
    raise AttributeError(f"module 'tunalm' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
