"""Training on references and on ranked lists (sections 2 and 3 of the paper), and against a proxy as a baseline."""

from tunalm.training.proxy.run import run_proxy
from tunalm.training.reinforcement import run_rl
from tunalm.training.runs import run_sft, run_train

__all__ = ["run_proxy", "run_rl", "run_sft", "run_train"]
