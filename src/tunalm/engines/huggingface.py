"""Hugging Face models in this process: loading them, and sampling from them in batches.

The decoding loop is our own because three things are needed at once that `generate` does not offer together: a random
stream per response (so that a draw does not depend on its neighbours in the batch), the log-probability of every
sampled token *before* temperature (Eq. 3 needs the model's own), and a prompt that is read once for its N responses.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from itertools import groupby, takewhile
from pathlib import Path
from typing import Any, Literal

import platformdirs
import torch
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer, DynamicCache
from transformers.utils import logging as transformers_logging

from tunalm.data.prompts import PromptEncoder
from tunalm.engines.base import Capabilities, Completion, Request
from tunalm.engines.models import EMBEDDED, embedded_folder, embedded_version, model_identity
from tunalm.errors import ModelError
from tunalm.progress import console
from tunalm.recipe import HuggingFaceSettings
from tunalm.store import canonical

COMPACT_BELOW = 0.75
"""Rows of a batch are dropped from the computation once fewer than this share of them is still being written."""


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
    resolved = resolve_model(source)
    dtype = torch.bfloat16 if precision == "bf16" else torch.float32
    shown = transformers_logging.get_verbosity()
    transformers_logging.set_verbosity_error()
    try:
        with _no_transformers_bar():
            return AutoModelForCausalLM.from_pretrained(
                resolved, dtype=dtype, trust_remote_code=trust_remote_code, use_safetensors=True
            )
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
    target = platformdirs.user_cache_path("tunalm") / f"{embedded.package}-{embedded_version(source)}"
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


class HuggingFaceEngine:
    """Samples from a Hugging Face model in this process; the model is loaded by the first request."""

    def __init__(self, settings: HuggingFaceSettings, *, trust_remote_code: bool = False) -> None:
        self._settings = settings
        self._trust = trust_remote_code
        self._model: Any = None
        self._encoder: PromptEncoder | None = None
        self.identity = f"huggingface {model_identity(settings.model)} {settings.precision}"
        self.capabilities = Capabilities(logprobs=True, seeded=True)

    def batches(self, requests: Sequence[Request]) -> list[list[Request]]:
        """Units of at most `batch_size` requests that share earlier turns and are of about the same length."""

        def shared(request: Request) -> tuple[int, str]:
            return request.max_new_tokens, canonical([message.model_dump() for message in request.messages[:-1]])

        def order(request: Request) -> tuple[tuple[int, str], int, str, str]:
            last = request.messages[-1].text
            return shared(request), len(last), last, request.key

        size = self._settings.batch_size
        units = []
        for _, group in groupby(sorted(requests, key=order), key=shared):
            members = list(group)
            units += [members[start : start + size] for start in range(0, len(members), size)]
        return units

    def generate(self, batches: Sequence[Sequence[Request]]) -> Iterator[list[Completion]]:
        """Answer unit after unit."""
        for unit in batches:
            yield self._answer(unit)

    def _load(self) -> tuple[Any, PromptEncoder]:
        if self._model is None or self._encoder is None:
            source, precision = self._settings.model, self._settings.precision
            if precision == "auto":
                precision = "bf16" if fast_bf16() else "fp32"
            tokenizer = load_tokenizer(source, trust_remote_code=self._trust)
            self._encoder = PromptEncoder(tokenizer, "chat", source)
            model = load_model(source, precision=precision, trust_remote_code=self._trust)
            self._model = model.to(device()).eval()
        return self._model, self._encoder

    @torch.inference_mode()
    def _answer(self, unit: Sequence[Request]) -> list[Completion]:
        model, encoder = self._load()
        prompts = [encoder.prompt_ids(request.messages) for request in unit]
        distinct = sorted(set(map(tuple, prompts)))
        row_of = {prompt: row for row, prompt in enumerate(distinct)}
        rows = torch.tensor([row_of[tuple(prompt)] for prompt in prompts], device=model.device)
        cache, mask, next_position, logits = _prefill(model, distinct, encoder.stop_ids[0])
        written = _decode(model, unit, cache, mask, next_position, logits, rows, encoder.stop_ids)
        return [
            self._completion(request, len(prompt), tokens, logprobs, encoder)
            for request, prompt, (tokens, logprobs) in zip(unit, prompts, written, strict=True)
        ]

    def _completion(
        self, request: Request, prompt_tokens: int, tokens: list[int], logprobs: list[float], encoder: PromptEncoder
    ) -> Completion:
        stopped = bool(tokens) and tokens[-1] in encoder.stop_ids
        text = encoder.tokenizer.decode(tokens[:-1] if stopped else tokens, skip_special_tokens=True)
        return Completion(
            key=request.key,
            text=text,
            model=self._settings.model,
            finish_reason="stop" if stopped else "length",
            num_tokens=len(tokens),
            token_logprobs=logprobs if request.logprobs else None,
            prompt_tokens=prompt_tokens,
        )


def _prefill(
    model: Any, prompts: Sequence[tuple[int, ...]], pad: int
) -> tuple[DynamicCache, torch.Tensor, torch.Tensor, torch.Tensor]:
    """Read distinct prompts in sorted order, what they all begin with only once.

    Returns the cache, the attention mask [P, T], the next position [P] and the logits of the next token [P, V].
    """
    pairs = zip(prompts[0][:-1], prompts[-1][:-1], strict=False)  # sorted: what these two share, all share
    common = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], pairs))
    head = torch.tensor([prompts[0][:common]], device=model.device)
    longest = max(len(prompt) for prompt in prompts) - common
    rest = torch.full((len(prompts), longest), pad, device=model.device)
    mask = torch.ones((len(prompts), common + longest), dtype=torch.long, device=model.device)
    for row, prompt in enumerate(prompts):
        tail = torch.tensor(prompt[common:], device=model.device)
        rest[row, longest - len(tail) :] = tail
        mask[row, common : common + longest - len(tail)] = 0
    cache = DynamicCache(config=model.config)
    if common:
        model(input_ids=head, past_key_values=cache, use_cache=True, logits_to_keep=1)
        cache.batch_select_indices(torch.zeros(len(prompts), dtype=torch.long, device=model.device))
    positions = (mask.cumsum(-1) - 1).clamp(min=0)
    out = model(
        input_ids=rest,
        attention_mask=mask,
        position_ids=positions[:, common:],
        past_key_values=cache,
        use_cache=True,
        logits_to_keep=1,
    )
    return cache, mask, positions[:, -1] + 1, out.logits[:, -1]


def _decode(
    model: Any,
    unit: Sequence[Request],
    cache: DynamicCache,
    mask: torch.Tensor,
    next_position: torch.Tensor,
    logits: torch.Tensor,
    rows: torch.Tensor,
    stop_ids: Sequence[int],
) -> list[tuple[list[int], list[float]]]:
    """Write one response per request; `rows` [B] tells which prompt each one continues.

    Returns token ids and their log-probabilities at temperature 1, the stop token included.
    """
    written: list[tuple[list[int], list[float]]] = [([], []) for _ in unit]
    steps = unit[0].max_new_tokens
    wants_logprobs = any(request.logprobs for request in unit)
    temperature = torch.tensor([request.temperature for request in unit], device=model.device)
    top_p = torch.tensor([request.top_p for request in unit], device=model.device)
    dice = torch.stack([_dice(request.seed, steps) for request in unit]).to(model.device)
    stops = torch.tensor(list(stop_ids), device=model.device)
    alive = torch.arange(len(unit), device=model.device)
    cache.batch_select_indices(rows)
    mask, next_position, logits = mask[rows], next_position[rows], logits[rows]
    done = torch.zeros(len(unit), dtype=torch.bool, device=model.device)
    for step in range(steps):
        scores = logits.float()
        tokens = draw(scores, temperature[alive], top_p[alive], dice[alive, step])
        chosen = scores.log_softmax(-1).gather(-1, tokens[:, None])[:, 0] if wants_logprobs else scores[:, 0]
        for index, finished, token, logprob in zip(
            alive.tolist(), done.tolist(), tokens.tolist(), chosen.tolist(), strict=True
        ):
            if not finished:
                written[index][0].append(token)
                written[index][1].append(logprob)
        done |= torch.isin(tokens, stops)
        if done.all() or step == steps - 1:
            break
        if (~done).sum() < COMPACT_BELOW * len(done):
            keep = (~done).nonzero()[:, 0]
            cache.batch_select_indices(keep)
            alive, tokens, done = alive[keep], tokens[keep], done[keep]
            mask, next_position = mask[keep], next_position[keep]
        mask = torch.cat([mask, mask.new_ones(len(mask), 1)], dim=-1)
        logits = model(
            input_ids=tokens[:, None],
            attention_mask=mask,
            position_ids=next_position[:, None],
            past_key_values=cache,
            use_cache=True,
        ).logits[:, -1]
        next_position = next_position + 1
    return written


def _dice(seed: int, count: int) -> torch.Tensor:
    """Uniform numbers [count] that belong to one response alone."""
    return torch.rand(count, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def draw(logits: torch.Tensor, temperature: torch.Tensor, top_p: torch.Tensor, dice: torch.Tensor) -> torch.Tensor:
    """Draw one token per row by inverting the cumulative distribution.

    Args:
        logits: [B, V], fp32.
        temperature: [B]; 0 takes the most likely token.
        top_p: [B], share of the probability mass that may be drawn; 1 takes all.
        dice: [B], uniform in [0, 1).

    Returns:
        Token ids [B].
    """
    greedy = temperature == 0
    if greedy.all():
        return logits.argmax(-1)
    probabilities = (logits / torch.where(greedy, 1.0, temperature)[:, None]).softmax(-1)
    if (top_p < 1).any():
        ordered, order = probabilities.sort(-1, descending=True)
        outside = ordered.cumsum(-1) - ordered >= top_p[:, None]
        probabilities = torch.zeros_like(probabilities).scatter(-1, order, ordered.masked_fill(outside, 0.0))
    cumulative = probabilities.cumsum(-1, dtype=torch.float64)
    drawn = torch.searchsorted(cumulative, dice[:, None] * cumulative[:, -1:], right=True)[:, 0]
    return torch.where(greedy, logits.argmax(-1), drawn.clamp(max=logits.shape[-1] - 1))
