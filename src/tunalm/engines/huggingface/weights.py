"""Loading models and tokenizers of transformers, and what this machine computes them with."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path
from typing import Any, Literal

import torch
from transformers import AutoConfig, AutoModelForCausalLM, AutoModelForSequenceClassification, AutoTokenizer
from transformers.utils import logging as transformers_logging

from tunalm.engines.models import EMBEDDED, converted_folder, embedded_folder, model_identity
from tunalm.errors import ModelError
from tunalm.progress import console


def fast_bf16() -> bool:
    """Whether this machine computes matrix products in bfloat16 faster than in float32."""
    if torch.cuda.is_available():
        return bool(torch.cuda.is_bf16_supported())
    return bool(torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported())


def device() -> torch.device:
    """The accelerator if there is one (each process of a launch its own), else the CPU."""
    if torch.cuda.is_available():
        return torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))
    return torch.device("cpu")


def hardware() -> dict[str, str]:
    """What torch can compute with, for people to read."""
    found = {"device": "CPU only", "torch threads": str(torch.get_num_threads())}
    if torch.cuda.is_available():
        count, first = torch.cuda.device_count(), torch.cuda.get_device_properties(0)
        found["device"] = f"{count} x {first.name}, {first.total_memory / 2**30:.0f} GiB"
    found["precision"] = "bf16 is fast here" if fast_bf16() else "fp32 (bf16 is slow on this hardware)"
    return found


def resolve_model(source: str) -> str:
    """Turn what a recipe says into what transformers loads: a folder or a hub id.

    Raises:
        ModelError: no such folder, or an embedded model whose package is not installed.
    """
    model_identity(source)
    if source.startswith("embedded:"):
        return str(_embedded_folder(source))
    path = Path(source).expanduser()
    return str(path) if path.is_dir() else source


def load_tokenizer(source: str, *, trust_remote_code: bool = False) -> Any:
    """Load the tokenizer of a model, with a padding token (the end token where the model has none of its own)."""
    resolved = resolve_model(source)
    try:
        tokenizer = AutoTokenizer.from_pretrained(resolved, trust_remote_code=trust_remote_code)
    except (OSError, ValueError, KeyError) as error:
        raise _unloadable(source, "tokenizer", error) from error
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.eos_token
    return tokenizer


def load_model(source: str, *, precision: Literal["fp32", "bf16"], trust_remote_code: bool = False) -> Any:
    """Load a causal language model in the given precision, on the CPU.

    Raises:
        ModelError: it cannot be found or loaded, or asks to run code of its own that the user has not allowed.
    """
    dtype = torch.bfloat16 if precision == "bf16" else torch.float32
    return _load(AutoModelForCausalLM, source, dtype=dtype, trust_remote_code=trust_remote_code)


def load_scorer(source: str, *, trained: bool, trust_remote_code: bool = False) -> Any:
    """Load a decoder with a head `score` that gives one number, in float32, on the CPU.

    Args:
        source: a model.
        trained: whether the head must be among its weights; else any language model gets a random one.
        trust_remote_code: whether the model may run code of its own.

    Raises:
        ModelError: it cannot be found or loaded, has no such head, or asks to run code of its own that the user has not
            allowed.
    """
    model, report = _load(
        AutoModelForSequenceClassification,
        source,
        num_labels=1,
        ignore_mismatched_sizes=True,
        output_loading_info=True,
        dtype=torch.float32,
        trust_remote_code=trust_remote_code,
    )
    if not isinstance(getattr(model, "score", None), torch.nn.Linear):
        found = f"a {type(model).__name__}, which has no linear head 'score'"
    elif trained and any(
        "score." in str(name) for part in ("missing_keys", "mismatched_keys") for name in report[part]
    ):
        found = "a model that was not trained to score: it has no head with one number"
    else:
        return model
    raise ModelError(
        source,
        found=found,
        expected="a decoder of transformers for sequence classification with one label",
        fix="Train one with a stage of kind proxy, or name another model.",
    )


def _load(kind: Any, source: str, **options: Any) -> Any:
    """Load a model as one of the automatic classes of transformers, silently."""
    resolved = resolve_model(source)
    shown = transformers_logging.get_verbosity()
    transformers_logging.set_verbosity_error()
    try:
        with _no_transformers_bar():
            return kind.from_pretrained(resolved, use_safetensors=True, **options)
    except (OSError, ValueError, KeyError) as error:
        raise _unloadable(source, "model", error) from error
    finally:
        transformers_logging.set_verbosity(shown)


class _no_transformers_bar:  # noqa: N801 - reads as a statement
    """Silence the loading bar of transformers, which would be printed by every process of a launch."""

    def __enter__(self) -> None:
        self.enabled = transformers_logging.is_progress_bar_enabled()
        transformers_logging.disable_progress_bar()

    def __exit__(self, *_: object) -> None:
        if self.enabled:
            transformers_logging.enable_progress_bar()


def _unloadable(source: str, what: str, error: Exception) -> ModelError:
    reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
    if "trust_remote_code" in str(error):
        return ModelError(
            source,
            found=f"a {what} that runs code of its own",
            expected="one that transformers knows",
            fix="Read that code; if you trust it, type --trust-remote-code.",
        )
    return ModelError(
        source,
        found=f"a {what} that cannot be loaded ({reason[:200]})",
        expected="a causal language model in safetensors that transformers loads",
        fix="Check the name or path; a hub id needs the network or a filled cache.",
    )


def _embedded_folder(source: str) -> Path:
    """Convert an embedded GGUF model to a Hugging Face folder, once per version and machine."""
    embedded = EMBEDDED[source]
    target = converted_folder(source)
    if target.is_dir():
        return target
    console().print(f"Converting {source} for transformers, once ...", markup=False)
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = Path(tempfile.mkdtemp(prefix=f".{target.name}.", dir=target.parent))
    origin = embedded_folder(source)
    with _no_transformers_bar():
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
    try:
        os.replace(partial, target)
    except OSError:  # another process was faster
        shutil.rmtree(partial)
    return target
