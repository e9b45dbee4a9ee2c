"""Evaluation: models answer held-out instructions, the answers are scored, and the models are compared."""

from tunalm.evaluation.runner import run

__all__ = ["run"]
