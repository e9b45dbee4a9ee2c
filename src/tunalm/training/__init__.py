"""Training on references and on ranked lists (section 2 of the paper): `run_sft` and `run_train`."""

from tunalm.training.runs import run_sft, run_train

__all__ = ["run_sft", "run_train"]
