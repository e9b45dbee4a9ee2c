"""Training on references and on ranked lists (sections 2 and 3 of the paper), and against a proxy as a baseline.

    Ranking rows --encoding--> groups (a prompt, its responses) --batches--> the rows of an optimizer step
    groups --packing--> one row of tokens --step: attention, heads, objective--> loss (Eq. 4-6) and gradients
    trainer: steps, checkpoints, metrics.jsonl --runs--> OUT/model, a plain Hugging Face folder

`train` is a function from records to a model folder; `run` is the stage; `requests` says what it will take (for the
stage `rl`: `course_of` and `reinforcement_requests`). Names are loaded when they are used, so that planning needs
no torch.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tunalm.calls.context import StageContext
    from tunalm.store import Summary
    from tunalm.training.course import course_of
    from tunalm.training.needs import reinforcement_requests, requests
    from tunalm.training.runs import train

_HOMES = {"course_of": "course", "reinforcement_requests": "needs", "requests": "needs", "train": "runs"}
_STAGES = {"sft": "runs", "train": "runs", "proxy": "proxy.run", "rl": "reinforcement"}

__all__ = ["course_of", "reinforcement_requests", "requests", "run", "train"]


def run(settings: Any, context: "StageContext") -> "Summary":
    """Run a stage that trains: `sft`, `train`, `proxy` or `rl`, as its settings say."""
    module = import_module(f"tunalm.training.{_STAGES[settings.kind]}")
    return getattr(module, f"run_{settings.kind}")(settings, context)  # type: ignore[no-any-return]


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(f"tunalm.training.{_HOMES[name]}"), name)
    raise AttributeError(f"module 'tunalm.training' has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
