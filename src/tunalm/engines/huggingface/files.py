"""What can be told from the files of a model before transformers reads them, and the embedded model as such files."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from pathlib import Path
from typing import Any

import torch
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer

from tunalm.engines.models import converted_folder, embedded_folder
from tunalm.errors import ModelError
from tunalm.progress import console
from tunalm.recipe.models import EMBEDDED
from tunalm.store import make_folder, sync_folder, sync_tree

LARGEST_PARSED = 1 << 20
"""Bytes of a JSON file that is read ahead."""
_LFS = b"version https://git-lfs"


def require_whole_files(folder: Path) -> None:
    """Refuse files that were not fetched, or are empty.

    Raises:
        ModelError: naming the file.
    """
    for path in sorted([*folder.glob("*.safetensors"), *folder.glob("*.json")]):
        try:
            with open(path, "rb") as file:
                start = file.read(len(_LFS))
        except OSError as error:
            raise ModelError(path, found=str(error.strerror or error), fix="Check the file's permissions.") from error
        if start == _LFS:
            raise ModelError(path, found="a Git LFS pointer in place of the file", fix="Fetch it with `git lfs pull`.")
        if not start:
            raise ModelError(path, found="an empty file", fix="Fetch or save the model again.")
        if path.suffix == ".json" and path.stat().st_size < LARGEST_PARSED:
            _require_object(path)


def _require_object(path: Path) -> None:
    """Refuse JSON that is none, or no object, and an index that leads out of its folder."""
    try:
        value = json.loads(path.read_bytes())
    except (ValueError, RecursionError) as error:
        raise ModelError(path, found="a file that is not JSON", fix="Fetch or save the model again.") from error
    files = value.get("weight_map") if isinstance(value, dict) else None
    if path.name == "config.json" and not isinstance(value, dict):
        raise ModelError(path, found="JSON of another form", fix="Fetch or save the model again.")
    if not path.name.endswith(".index.json"):
        return
    if not isinstance(files, dict):
        raise ModelError(path, found="JSON of another form", fix="Fetch or save the model again.")
    for name in files.values():
        if not isinstance(name, str) or Path(name).name != name:
            found = f"weights outside of the folder ({name!s:.60})"
            raise ModelError(path, found=found, fix="Do not use this model before you know why.")


def adapter_base(folder: Path) -> str | None:
    """The model that a folder with LoRA adapters belongs to; None for any other folder.

    Raises:
        ModelError: the adapters do not say, or their model is not here.
    """
    path = folder / "adapter_config.json"
    if not path.is_file() or (folder / "config.json").is_file():
        return None
    try:
        base = json.loads(path.read_text(encoding="utf-8")).get("base_model_name_or_path")
    except (ValueError, AttributeError) as error:
        raise ModelError(path, found="a file that is not JSON", fix="Fetch or save the adapters again.") from error
    if not base:
        raise ModelError(
            path,
            found="adapters that do not name their model",
            fix="Add base_model_name_or_path: its folder or hub id.",
        )
    beside = folder.parent / base
    return str(beside) if beside.is_dir() and not Path(base).is_dir() else str(base)


def require_no_quantisation(source: str, config: Any) -> None:
    """Refuse weights in a format that only another library computes with.

    Raises:
        ModelError: naming the format.
    """
    settings = getattr(config, "quantization_config", None)
    if settings is None:
        return
    method = settings.get("quant_method") if isinstance(settings, dict) else getattr(settings, "quant_method", "")
    raise ModelError(
        source,
        found=f"a quantised model ({getattr(method, 'value', method) or 'of an unknown kind'})",
        fix="Take the model that it was made from, or ask it through a server (kind: endpoint).",
    )


def convert_embedded(source: str) -> Path:
    """Convert an embedded GGUF model to a Hugging Face folder, once per version and machine."""
    embedded = EMBEDDED[source]
    target = converted_folder(source)
    if target.is_dir():
        return target
    console().print(f"Converting {source} for transformers, once ...", markup=False)
    make_folder(target.parent)
    partial = Path(tempfile.mkdtemp(prefix=f".{target.name}.", dir=target.parent))
    origin = embedded_folder(source)
    tokenizer = AutoTokenizer.from_pretrained(origin, gguf_file=embedded.weights)
    loaded = AutoModelForCausalLM.from_pretrained(origin, gguf_file=embedded.weights, dtype=torch.float32)
    # A model loaded from GGUF keeps its quantisation config and refuses to be saved: build it anew.
    plain = {key: value for key, value in loaded.config.to_dict().items() if key != "quantization_config"}
    model = AutoModelForCausalLM.from_config(AutoConfig.for_model(**plain), dtype=torch.float32)
    model.load_state_dict(loaded.state_dict())
    model.generation_config.eos_token_id = tokenizer.eos_token_id
    model.generation_config.pad_token_id = tokenizer.pad_token_id
    model.to(torch.bfloat16).save_pretrained(partial)
    tokenizer.save_pretrained(partial)
    sync_tree(partial)
    try:
        os.replace(partial, target)
        sync_folder(target.parent)
    except OSError:  # another process was faster
        shutil.rmtree(partial)
    return target
