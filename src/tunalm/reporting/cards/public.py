"""What may be said of models, engines and data to anybody: no path of this machine, no address, no option of others."""

from __future__ import annotations

import json
import re
from collections.abc import Collection
from pathlib import Path
from typing import Any

import yaml

from tunalm.data.sources import is_hub_dataset
from tunalm.engines.models import EMBEDDED, is_hub_id, local_folder
from tunalm.recipe import (
    BatchSettings,
    CustomSettings,
    Data,
    EndpointSettings,
    EngineSettings,
    ScriptedSettings,
    Settings,
    Source,
)
from tunalm.store import CARD

CHECKABLE = "checkable:"
OWN_LICENSE = "apache-2.0"
"""Of the instructions that come with tunalm."""
LICENSE_KEYS = ("license", "license_name", "license_link")

_PLACE = re.compile(r"\w+://[^\s'\"]+|(?<![\w/.])~?/[\w.@~+%=-]+(?:/[\w.@~+%=-]*)+")
_FRONT_MATTER = re.compile(r"\A---\n(.*?)\n---\n", re.DOTALL)


def hub_model(source: str) -> str | None:
    """The id `owner/name` of a model that has one."""
    if source in EMBEDDED:
        return EMBEDDED[source].hub_id
    return source if is_hub_id(source) and not Path(source).expanduser().is_dir() else None


def model_name(source: str, stages: Collection[str]) -> str:
    """A model as a text: a stage by its name, a model of a hub by its id, another one by its architecture."""
    if source in stages:
        return f"the model of the stage {source}"
    if (hub_id := hub_model(source)) is not None:
        return hub_id
    kind = architecture(Path(source).expanduser())
    return f"a model from a local folder ({kind})" if kind else "a model from a local folder"


def architecture(folder: Path) -> str | None:
    """What the configuration of a model folder calls the model, for instance `LlamaForCausalLM`."""
    try:
        names = json.loads((folder / "config.json").read_text(encoding="utf-8"))["architectures"]
    except (OSError, ValueError, LookupError, TypeError):
        return None
    return str(names[0]) if isinstance(names, list) and names else None


def model_license(source: str) -> dict[str, str]:
    """Entries about the licence in the card of a model, of those that are at hand; nothing is fetched."""
    if source in EMBEDDED:
        return {"license": EMBEDDED[source].license}
    folder = local_folder(source)
    known = front_matter(folder / CARD) if folder is not None else {}
    return {key: known[key] for key in LICENSE_KEYS if isinstance(known.get(key), str)}


def front_matter(card: Path) -> dict[str, Any]:
    """The entries at the head of a card; none if there is no card that can be read."""
    try:
        found = _FRONT_MATTER.match(card.read_text(encoding="utf-8"))
        entries = yaml.safe_load(found[1]) if found else None
    except (OSError, ValueError, yaml.YAMLError):
        return {}
    return entries if isinstance(entries, dict) else {}


def engine_name(engine: EngineSettings, stages: Collection[str]) -> str:
    """Who answers, as a text."""
    if isinstance(engine, ScriptedSettings):
        return "a scripted stand-in, which is no language model"
    if isinstance(engine, CustomSettings):
        return f"an engine of the user's own, {engine.kind.rpartition(':')[2]}"
    if isinstance(engine, EndpointSettings | BatchSettings):
        return "a model behind a server" if is_place(engine.model) else f"{engine.model}, behind a server"
    return model_name(engine.model, stages)


def data_name(data: Data) -> str:
    """Where rows come from, as a text; of a file, its name."""
    if data.source.startswith(CHECKABLE):
        return f"the built-in instructions {data.source} of tunalm, which a program can check"
    if is_hub_dataset(data.source):
        return f"{data.source}, split {data.split}"
    return f"a local file, {Path(data.source).name}"


def data_license(data: Data) -> str | None:
    """What the recipe says, and of instructions of our own, what holds."""
    return data.license or (OWN_LICENSE if data.source.startswith(CHECKABLE) else None)


def plain_knobs(settings: Settings) -> dict[str, Any]:
    """Knobs that are numbers or words: those that choose models, data and engines are told in other ways."""
    knobs = {}
    for name, info in type(settings).model_fields.items():
        value = getattr(settings, name)
        named = any(isinstance(each, Source) for each in info.metadata)
        if name == "kind" or name in settings.not_hashed or named:
            continue
        if value is None or isinstance(value, Settings | dict | list):
            continue
        if not (isinstance(value, str) and is_place(value)):
            knobs[name] = value
    return knobs


def is_place(text: str) -> bool:
    """Whether a text may be a path or an address and not only a name."""
    return text.startswith(("/", ".", "~")) or text.count("/") > 1 or text.endswith(".py") or ".py:" in text


def without_places(value: Any, own: dict[str, str]) -> Any:
    """Plain values without paths and addresses in their texts.

    Args:
        value: of JSON.
        own: names that stand in the place of some paths.
    """
    if isinstance(value, dict):
        return {key: without_places(item, own) for key, item in value.items()}
    if isinstance(value, list):
        return [without_places(item, own) for item in value]
    if not isinstance(value, str):
        return value
    for path, name in own.items():
        value = value.replace(path, name)
    return _PLACE.sub("[place]", value)
