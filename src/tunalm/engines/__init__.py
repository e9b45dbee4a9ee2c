"""Language models behind one protocol; `open_engine` makes the one that a recipe describes."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module

from tunalm.engines.base import Engine
from tunalm.engines.models import GROUP
from tunalm.extensions import load_extension
from tunalm.recipe import CustomSettings, EngineSettings

ENGINES = {
    "huggingface": "tunalm.engines.huggingface:HuggingFaceEngine",
    "vllm": "tunalm.engines.vllm.engine:VllmEngine",
    "endpoint": "tunalm.engines.endpoint.engine:EndpointEngine",
    "batch": "tunalm.engines.batch.engine:BatchEngine",
    "scripted": "tunalm.engines.scripted:ScriptedEngine",
}
"""Kind in a recipe -> module:class; the module is imported when the engine is opened, not before."""


def open_engine(settings: EngineSettings, *, trust_remote_code: bool = False) -> Engine:
    """Make the engine that `settings` describe. A model in this process is loaded by its first request, not here.

    Raises:
        RecipeError: no installed package brings the engine that is named.
        EngineError: the engine cannot be used as it is described.
    """
    make: Callable[..., Engine]
    if isinstance(settings, CustomSettings):
        make = load_extension(GROUP, settings.name)
    else:
        module, name = ENGINES[settings.kind].split(":")
        make = getattr(import_module(module), name)
    return make(settings, trust_remote_code=trust_remote_code)
