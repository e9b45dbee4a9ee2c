"""Training on references and on ranked lists (sections 2 and 3 of the paper): `run_sft`, `run_train`, `run_proxy`."""

from tunalm.training.proxy.run import run_proxy
from tunalm.training.runs import run_sft, run_train

__all__ = ["run_proxy", "run_sft", "run_train"]
