"""What may be said of models, engines and data to anybody: no path of this machine, no address, no key."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

from tunalm.data.files import stream_raw
from tunalm.data.sources import is_hub_dataset
from tunalm.engines.models import local_folder
from tunalm.recipe import Data, EngineSettings, Local, Recipe, ScriptedSettings, Settings, Source
from tunalm.recipe.models import EMBEDDED, is_hub_id
from tunalm.redaction import without_keys
from tunalm.store import CARD, local_path

CHECKABLE = "checkable:"
OWN_LICENSE = "apache-2.0"
"""Of the instructions that come with tunalm."""
REMARKS = ("model", "failure", "ranked_by", "judgement")
"""What a row or a response says beside the texts of people and models, which stay as they are."""

_PLACE = re.compile(r"\w+://[^\s'\"]+|(?<![\w/.])~?/[\w.@~+%=-]+(?:/[\w.@~+%=-]*)+")


def hub_model(source: str) -> str | None:
    """The id `owner/name` of a model that has one."""
    if source in EMBEDDED:
        return EMBEDDED[source].hub_id
    return source if is_hub_id(source) and not local_path(source).is_dir() else None


def model_name(source: str, stages: Collection[str]) -> str:
    """A model as a text: a stage by its name, a model of a hub by its id, another one by its architecture."""
    if source in stages:
        return f"the model of the stage {source}"
    kind = architecture(local_path(source))
    return hub_model(source) or "a model from a local folder" + (f" ({kind})" if kind else "")


def architecture(folder: Path) -> str | None:
    """What the configuration of a model folder calls the model, for instance `LlamaForCausalLM`."""
    try:
        return str(json.loads((folder / "config.json").read_text(encoding="utf-8"))["architectures"][0])
    except (OSError, ValueError, LookupError, TypeError):
        return None


def model_license(source: str) -> dict[str, str]:
    """Entries about the licence in the card of a model that is on this machine; nothing is fetched."""
    if source in EMBEDDED:
        return {"license": EMBEDDED[source].license}
    import yaml
    from huggingface_hub import metadata_load

    folder = local_folder(source)
    try:
        known = metadata_load(folder / CARD) if folder is not None else None
    except (OSError, ValueError, yaml.YAMLError):
        known = None
    entries = ("license", "license_name", "license_link")
    return {key: known[key] for key in entries if known and isinstance(known.get(key), str)}


def engine_name(engine: EngineSettings, stages: Collection[str]) -> str:
    """Who answers, as a text."""
    if isinstance(engine, ScriptedSettings):
        return "a scripted stand-in, which is no language model"
    if isinstance(engine, Local):
        return model_name(engine.model, stages)
    model = getattr(engine, "model", None)
    if model is None:
        return f"an engine of the user's own, {engine.kind.rpartition(':')[2]}"
    return "a model behind a server" if _is_place(model) else f"{model}, behind a server"


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


def plain_knobs(settings: Settings) -> dict[str, str | int | float]:
    """Knobs that are numbers or words: those that choose models, data and engines are told in other ways."""
    knobs: dict[str, str | int | float] = {}
    for name, info in type(settings).model_fields.items():
        value = getattr(settings, name)
        named = any(isinstance(each, Source) for each in info.metadata)
        if name == "kind" or named or name in settings.not_hashed or not isinstance(value, str | int | float):
            continue
        if not (isinstance(value, str) and _is_place(value)):
            knobs[name] = value
    return knobs


def public_rows(path: Path, recipe: Recipe, run: Path) -> Iterator[str]:
    """The lines of a file of lists, each as it may be shown to anybody.

    Args:
        path: of the file.
        recipe: that it was made by; models of its stages keep the names of these.
        run: folder of the run.

    Raises:
        DataError: the file cannot be read, or a line is not JSON (it is named).
    """
    folders = dict.fromkeys([run.resolve(), run])
    own = {str(folder / name / "model"): name for folder in folders for name in recipe.stages}
    for row in stream_raw(path):
        for record in [row.value, *row.value.get("responses", [])]:
            for key in REMARKS:
                if record.get(key) is not None:
                    record[key] = json.loads(without_keys(json.dumps(_without_places(record[key], own))))
        yield json.dumps(row.value, ensure_ascii=False) + "\n"


def without_places(text: str) -> str:
    """A text without paths and addresses."""
    return _PLACE.sub("[place]", text)


def _without_places(value: Any, own: dict[str, str]) -> Any:
    """Values of JSON without paths and addresses in their texts; `own` has names for some paths."""
    if isinstance(value, dict):
        return {key: _without_places(item, own) for key, item in value.items()}
    if isinstance(value, list):
        return [_without_places(item, own) for item in value]
    if not isinstance(value, str):
        return value
    for path, name in own.items():
        value = value.replace(path, name)
    return without_places(value)


def _is_place(text: str) -> bool:
    """Whether a text may be a path or an address and not only a name."""
    return text.startswith(("/", ".", "~")) or text.count("/") > 1 or text.endswith(".py") or ".py:" in text
