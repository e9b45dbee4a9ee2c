"""What a recipe is going to take, before it runs: calls, tokens, dollars, disk, memory. Nothing is sent or loaded."""

from tunalm.pipeline.estimate.stages import estimate

__all__ = ["estimate"]
