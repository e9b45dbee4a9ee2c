"""tunalm: instruction tuning with ranking feedback from stronger models.

The public names below are loaded when they are first used, so that `import tunalm` is quick and needs no torch.
"""

from __future__ import annotations

from importlib import import_module
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tunalm.errors import TunaError
    from tunalm.measures.rouge import rouge_l
    from tunalm.pipeline.running import run_recipe
    from tunalm.ranking.equation3 import likelihood_score
    from tunalm.recipe.loading import load_recipe
    from tunalm.records import Instruction, Prediction, Ranking, Response, Verdict
    from tunalm.training.losses import ranking_loss
    from tunalm.training.trainer import RankingConfig, RankingTrainer

_HOMES = {
    "Instruction": "tunalm.records",
    "Prediction": "tunalm.records",
    "Ranking": "tunalm.records",
    "RankingConfig": "tunalm.training.trainer",
    "RankingTrainer": "tunalm.training.trainer",
    "Response": "tunalm.records",
    "TunaError": "tunalm.errors",
    "Verdict": "tunalm.records",
    "likelihood_score": "tunalm.ranking.equation3",
    "load_recipe": "tunalm.recipe.loading",
    "ranking_loss": "tunalm.training.losses",
    "rouge_l": "tunalm.measures.rouge",
    "run_recipe": "tunalm.pipeline.running",
}

__version__ = version("tunalm")
__all__ = [
    "Instruction",
    "Prediction",
    "Ranking",
    "RankingConfig",
    "RankingTrainer",
    "Response",
    "TunaError",
    "Verdict",
    "__version__",
    "likelihood_score",
    "load_recipe",
    "ranking_loss",
    "rouge_l",
    "run_recipe",
]


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'tunalm' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
