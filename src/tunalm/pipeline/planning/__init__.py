"""What a recipe is going to take, before it runs: calls, tokens, dollars, disk, memory. Nothing is sent or loaded.

rows of a source --systematic sample--> at most 500 rows, each of which stands for so many
these rows --requests() of the stage--> what is asked --counting, less the ledger, times prices--> Asking
these rows --requests() of training--> tokens, memory and disk
a stage that makes lists --stand-ins for its answers--> rows of the stages that read it
"""

from tunalm.pipeline.planning.stages import estimate

__all__ = ["estimate"]
