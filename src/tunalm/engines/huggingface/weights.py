"""Loading models and tokenizers of transformers, and what this machine computes them with."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import torch
from transformers import AutoConfig, AutoModelForCausalLM, AutoModelForSequenceClassification, AutoTokenizer
from transformers.utils import logging as transformers_logging

from tunalm.engines.huggingface.files import (
    adapter_base,
    convert_embedded,
    require_no_quantisation,
    require_whole_files,
)
from tunalm.engines.models import Role
from tunalm.errors import ModelError
from tunalm.recipe.models import model_identity
from tunalm.store import local_path

_TENSORS_NAMED = 3
_HEAD = "score.weight"


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
        ModelError: no such folder, one whose files are not whole, or an embedded model whose package is not installed.
    """
    model_identity(source)
    if source.startswith("embedded:"):
        with quiet_transformers():
            return str(convert_embedded(source))
    path = local_path(source)
    if not path.is_dir():
        return source
    require_whole_files(path)
    return str(path)


def load_tokenizer(source: str, *, trust_remote_code: bool = False) -> Any:
    """Load the tokenizer of a model, with a padding token (the end token where the model has none of its own).

    Raises:
        ModelError: it cannot be found or loaded.
    """
    resolved = resolve_model(source)
    base = adapter_base(Path(resolved))
    if base is not None and not (Path(resolved) / "tokenizer_config.json").is_file():
        return load_tokenizer(base, trust_remote_code=trust_remote_code)
    try:
        tokenizer = AutoTokenizer.from_pretrained(resolved, trust_remote_code=trust_remote_code)
    except Exception as error:
        raise _unloadable(source, "tokenizer", error) from error
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.eos_token
    return tokenizer


def load_model(source: str, *, precision: Literal["fp32", "bf16"], trust_remote_code: bool = False) -> Any:
    """Load a causal language model in the given precision, on the CPU. LoRA adapters are merged into their model.

    Raises:
        ModelError: it cannot be found or loaded, its weights do not fit its configuration or its tokenizer, or it asks
            to run code of its own that the user has not allowed.
    """
    dtype = torch.bfloat16 if precision == "bf16" else torch.float32
    return _load(source, "language model", trust_remote_code, dtype=dtype)


def load_scorer(source: str, *, trained: bool, trust_remote_code: bool = False) -> Any:
    """Load a decoder with a head `score` that gives one number, in float32, on the CPU.

    Args:
        source: a model.
        trained: whether the head must be among its weights; else any language model gets a random one.
        trust_remote_code: whether the model may run code of its own.

    Raises:
        ModelError: as `load_model`, or it has no such head.
    """
    return _load(source, "proxy" if trained else "start of a proxy", trust_remote_code)


def check_model(source: str, role: Role = "language model", *, trust_remote_code: bool = False) -> None:
    """Find out whether a model can be loaded from the headers of its files, without reading its weights.

    Raises:
        ModelError: as `load_model` and `load_scorer`.
    """
    load_tokenizer(source, trust_remote_code=trust_remote_code)
    _load(source, role, trust_remote_code, device_map="meta")


def _load(
    source: str, role: Role, trust_remote_code: bool, *, dtype: torch.dtype = torch.float32, **options: Any
) -> Any:
    """Load a model and see to it that none of its weights is a random one."""
    resolved = resolve_model(source)
    base = adapter_base(Path(resolved))
    if base is not None:
        model = _load(base, role, trust_remote_code, **options)
        return model if options else _merged(model, source, resolved).to(dtype)
    kind: Any = AutoModelForCausalLM
    if role != "language model":
        kind, options = AutoModelForSequenceClassification, {"num_labels": 1, **options}
    with quiet_transformers():
        try:
            require_no_quantisation(source, AutoConfig.from_pretrained(resolved, trust_remote_code=trust_remote_code))
            model, report = kind.from_pretrained(
                resolved,
                use_safetensors=True,
                trust_remote_code=trust_remote_code,
                dtype=dtype,
                ignore_mismatched_sizes=True,
                output_loading_info=True,
                **options,
            )
        except ModelError:
            raise
        except Exception as error:
            raise _unloadable(source, "model", error) from error
    if role != "language model":
        _require_head(model, report, source, trained=role == "proxy")
    _require_fit(report, source, has_new_head=role == "start of a proxy")
    _require_embeddings(model, source, trust_remote_code)
    return model


def _merged(model: Any, source: str, folder: str) -> Any:
    """A model with the adapters of a folder added to its weights."""
    from peft import PeftModel

    try:
        with quiet_transformers(), warnings.catch_warnings():
            warnings.filterwarnings("error", message="Found missing adapter keys")
            return PeftModel.from_pretrained(model, folder).merge_and_unload()
    except Exception as error:
        raise _unloadable(source, "LoRA adapter", error) from error


def _require_head(model: Any, report: dict[str, Any], source: str, *, trained: bool) -> None:
    if not isinstance(getattr(model, "score", None), torch.nn.Linear):
        found = f"a {type(model).__name__}, which has no linear head 'score'"
    elif trained and any(_HEAD in str(name) for part in ("missing_keys", "mismatched_keys") for name in report[part]):
        found = "a model that was not trained to score: it has no head with one number"
    else:
        return
    raise ModelError(
        source,
        found=found,
        expected="a decoder of transformers for sequence classification with one label",
        fix="Train one with a stage of kind proxy, or name another model.",
    )


def _require_fit(report: dict[str, Any], source: str, *, has_new_head: bool) -> None:
    """Refuse weights that the configuration does not ask for, and the reverse."""
    missing, unexpected = set(report["missing_keys"]), set(report["unexpected_keys"])
    other = {f"{name} ({_shape(here)}, not {_shape(wanted)})" for name, here, wanted in report["mismatched_keys"]}
    if has_new_head:
        missing -= {_HEAD}
        unexpected -= {"lm_head.weight"}
        other = {name for name in other if not name.startswith(_HEAD)}
    wrong = {"lack": missing, "have": unexpected, "have in another shape": other}
    said = [f"{verb} {_listed(names)}" for verb, names in wrong.items() if names]
    if said or report.get("error_msgs"):
        raise ModelError(
            source,
            found=f"weights that do not fit config.json: they {' and '.join(said) or report['error_msgs'][0]}",
            fix="Fetch or save the model again, as a causal language model with all its weights.",
        )


def _shape(size: Any) -> str:
    return "x".join(map(str, size))


def _listed(names: set[str]) -> str:
    more = len(names) - _TENSORS_NAMED
    return ", ".join(sorted(names)[:_TENSORS_NAMED]) + (f" and {more} more tensors" if more > 0 else "")


def _require_embeddings(model: Any, source: str, trust_remote_code: bool) -> None:
    """Refuse a tokenizer that has tokens, other than one for padding, that the model does not know."""
    tokenizer = load_tokenizer(source, trust_remote_code=trust_remote_code)
    known = model.get_input_embeddings().weight.shape[0]
    unknown = {name: number for name, number in tokenizer.get_vocab().items() if number >= known}
    unknown.pop(tokenizer.pad_token, None)  # never read: what is padded is masked
    if unknown:
        name, number = min(unknown.items(), key=lambda item: item[1])
        raise ModelError(
            source,
            found=f"a tokenizer with {len(unknown)} tokens for which the model has no embedding, the first {name!r}"
            f" (id {number}; the model has {known})",
            fix="Save the model after resize_token_embeddings, or take the tokenizer that belongs to it.",
        )


@contextmanager
def quiet_transformers() -> Iterator[None]:
    """Leave speaking to us: no bars, log lines or deprecation warnings of transformers, from any process."""
    shown, bars = transformers_logging.get_verbosity(), transformers_logging.is_progress_bar_enabled()
    transformers_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)
            yield
    finally:
        transformers_logging.set_verbosity(shown)
        if bars:
            transformers_logging.enable_progress_bar()


def _unloadable(source: str, what: str, error: Exception) -> ModelError:
    reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
    if "trust_remote_code" in str(error):
        return ModelError(
            source,
            found=f"a {what} that runs code of its own",
            fix="Read that code; if you trust it, type --trust-remote-code.",
        )
    if "deserializing header" in reason:
        reason = f"its .safetensors is cut short or broken: {reason}"
    return ModelError(
        source,
        found=f"a {what} that cannot be loaded ({reason[:200]})",
        fix="Check the name or path, or fetch it again; a hub id needs the network or a filled cache.",
    )
