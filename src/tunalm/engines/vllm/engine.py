"""vLLM on this machine: continuous batching, prompts read once for all their responses, replicas.

Prompts and given texts go to vLLM as token ids that are made here, so that all engines of this machine read the same
tokens. vLLM runs in processes of its own (see `vllm_processes`), which end with the engine.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from importlib.util import find_spec
from typing import TYPE_CHECKING

import torch

from tunalm.data.prompts import PromptEncoder
from tunalm.engines.base import Capabilities, Completion, Journal, Request
from tunalm.engines.endpoint.bodies import siblings
from tunalm.engines.huggingface import fast_bf16, load_tokenizer, resolve_model
from tunalm.engines.models import engine_identity
from tunalm.engines.tokens import completion, given_ids, prompt_ids
from tunalm.errors import EngineError
from tunalm.progress import console
from tunalm.recipe import VllmSettings

if TYPE_CHECKING:
    from tunalm.engines.vllm.processes import Processes


class VllmEngine:
    """Asks vLLM, which loads the model with the first request.

    Raises:
        EngineError: vLLM is not installed.
    """

    def __init__(self, settings: VllmSettings, *, trust_remote_code: bool = False) -> None:
        self.identity = engine_identity(settings)
        if find_spec("vllm") is None:
            raise EngineError(
                self.identity,
                found="no package vllm",
                expected="it, for kind: vllm",
                fix="Run: pip install vllm, then: pip install 'transformers>=5.23'. Or set kind: huggingface.",
            )
        self.capabilities = Capabilities(
            logprobs=True,
            json_schema=True,
            scores=True,
            raw=True,
            notes=("every draw has its seed, but last bits depend on what vLLM computes together",),
        )
        self._settings = settings
        self._trust = trust_remote_code
        self._loaded: tuple[Processes, PromptEncoder] | None = None

    def batches(self, requests: Sequence[Request]) -> list[list[Request]]:
        """Requests that differ in key and seed alone make units, of at most `batch_size`."""
        return siblings(requests, self._settings.batch_size)

    def generate(self, batches: Sequence[Sequence[Request]], journal: Journal) -> Iterator[list[Completion]]:
        """Answer the units, all under way together; leaving the loop ends those that are."""
        processes, encoder = self._load()

        async def answer(unit: Sequence[Request]) -> list[Completion]:
            prompt = prompt_ids(unit[0], encoder)
            if unit[0].given:
                return [await self._scored(unit[0], prompt, processes, encoder)]
            return await asyncio.gather(*(self._sampled(request, prompt, processes, encoder) for request in unit))

        yield from processes.each([(unit, len(unit)) for unit in batches], answer)

    async def _sampled(
        self, request: Request, prompt: Sequence[int], processes: Processes, encoder: PromptEncoder
    ) -> Completion:
        room = processes.max_model_len - len(prompt)
        if room < 1:
            return _too_long(request, len(prompt), processes)
        written = await processes.write(prompt, request, min(room, request.max_new_tokens), encoder.stop_ids)
        if isinstance(written, str):
            return Completion(key=request.key, failure=written)
        return completion(request, len(prompt), written.tokens, written.logprobs, encoder, self._settings.model)

    async def _scored(
        self, request: Request, prompt: Sequence[int], processes: Processes, encoder: PromptEncoder
    ) -> Completion:
        response, text = given_ids(request, encoder), request.messages[-1].text
        if len(prompt) + len(response) >= processes.max_model_len:  # vLLM always writes one token
            return _too_long(request, len(prompt) + len(response), processes)
        logprobs = await processes.read(prompt, response)
        if isinstance(logprobs, str):
            return Completion(key=request.key, failure=logprobs)
        return completion(request, len(prompt), response, logprobs, encoder, self._settings.model, text)

    def _load(self) -> tuple[Processes, PromptEncoder]:
        if self._loaded is None:
            from tunalm.engines.vllm.processes import Processes  # takes many seconds to import

            source = self._settings.model
            console().print(f"Starting vLLM for {source} ...", markup=False)
            tokenizer = load_tokenizer(source, trust_remote_code=self._trust)
            encoder = PromptEncoder(tokenizer, self._settings.template, source, self._settings.template_args)
            processes = Processes(
                self.identity,
                resolve_model(source),
                _dtype(self._settings),
                self._settings,
                trust_remote_code=self._trust,
            )
            self._loaded = processes, encoder
        return self._loaded


def _dtype(settings: VllmSettings) -> str:
    """Name that vLLM has for a precision."""
    if settings.precision == "auto" and torch.cuda.is_available():
        return "auto"  # this process must not touch the accelerators that vLLM's processes will use
    bf16 = settings.precision == "bf16" or (settings.precision == "auto" and fast_bf16())
    return "bfloat16" if bf16 else "float32"


def _too_long(request: Request, tokens: int, processes: Processes) -> Completion:
    return Completion(
        key=request.key, failure=f"too long: {tokens} tokens, where the model takes {processes.max_model_len}"
    )
