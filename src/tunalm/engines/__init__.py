"""Language models behind one protocol; `open_engine` makes the one that a recipe describes."""

from __future__ import annotations

from collections.abc import Callable

from tunalm.engines.base import Engine
from tunalm.extensions import load_object
from tunalm.recipe import EngineSettings


def open_engine(settings: EngineSettings, *, trust_remote_code: bool = False) -> Engine:
    """Make the engine that `settings` describe. A model in this process is loaded by its first request, not here.

    Raises:
        RecipeError: an engine of the user's own cannot be loaded.
        EngineError: the engine cannot be used as it is described.
    """
    make: Callable[..., Engine] = load_object(settings.opens, "engine")
    return make(settings, trust_remote_code=trust_remote_code)
