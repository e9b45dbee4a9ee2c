"""The processes of vLLM, and the thread of this one that talks to them.

Importing this module imports vLLM.
"""

from __future__ import annotations

import os

os.environ.setdefault("VLLM_LOGGING_LEVEL", "ERROR")  # read when vLLM is imported

import itertools
import weakref
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from vllm.engine.arg_utils import AsyncEngineArgs
from vllm.exceptions import VLLMClientError
from vllm.inputs import tokens_input
from vllm.sampling_params import RequestOutputKind, SamplingParams, StructuredOutputsParams
from vllm.v1.engine.async_llm import AsyncLLM
from vllm.v1.engine.exceptions import EngineDeadError

from tunalm.engines.base import Request
from tunalm.engines.vllm.background import Answer, Background, Item
from tunalm.errors import EngineError
from tunalm.recipe import VllmSettings

AHEAD = 2
"""Requests that vLLM holds for each that it works on, so that one that ends makes room for one that waits."""


@dataclass(frozen=True)
class Written:
    """What was sampled, the stop token included."""

    tokens: list[int]
    logprobs: list[float] | None
    """At temperature 1, where they were asked for."""


class Processes:
    """vLLM at work on one model. The processes end with this object or with Python, whichever ends first.

    Args:
        where: names the engine in errors.
        model: what vLLM loads.
        dtype: vLLM's name of the precision.
        settings: everything else.
        trust_remote_code: run code that comes with the model.

    Raises:
        EngineError: vLLM does not start.
    """

    def __init__(self, where: str, model: str, dtype: str, settings: VllmSettings, *, trust_remote_code: bool) -> None:
        self._where = where
        self._room = AHEAD * settings.batch_size * settings.replicas
        try:
            self._llm = AsyncLLM.from_engine_args(
                AsyncEngineArgs(
                    model=model,
                    dtype=dtype,
                    max_model_len=settings.max_model_len,
                    max_num_seqs=settings.batch_size,
                    gpu_memory_utilization=settings.gpu_memory_utilization,
                    tensor_parallel_size=settings.tensor_parallel,
                    data_parallel_size=settings.replicas,
                    logprobs_mode="raw_logprobs",
                    generation_config="vllm",
                    trust_remote_code=trust_remote_code,
                    disable_log_stats=True,
                )
            )
        except (RuntimeError, ValueError, OSError) as error:
            raise EngineError(
                where,
                found=f"vLLM, which does not start ({_first_line(error)})",
                expected="it to load the model",
                fix="Read what it printed above; VLLM_LOGGING_LEVEL=INFO prints more.",
            ) from error
        self.max_model_len: int = self._llm.model_config.max_model_len
        self._background = Background("vllm")
        self._numbers = itertools.count()
        weakref.finalize(self, _end, self._llm, self._background)

    def each(self, items: Sequence[tuple[Item, int]], answer: Callable[[Item], Awaitable[Answer]]) -> Iterator[Answer]:
        """Yield the answer to every item as it comes; an item says how many requests it makes.

        Raises:
            EngineError: vLLM has ended.
        """
        return self._background.each(items, answer, self._room)

    async def write(
        self, prompt: Sequence[int], request: Request, max_tokens: int, stop_ids: Sequence[int]
    ) -> Written | str:
        """Sample one response, or say why vLLM does not take the request."""
        schema = request.json_schema
        params = SamplingParams(
            temperature=request.temperature,
            top_p=request.top_p,
            max_tokens=max_tokens,
            seed=request.seed,
            stop_token_ids=list(stop_ids),
            logprobs=0 if request.logprobs else None,  # of the sampled token alone
            structured_outputs=None if schema is None else StructuredOutputsParams(json=schema),
            detokenize=False,
            output_kind=RequestOutputKind.FINAL_ONLY,
        )
        found = await self._final(prompt, params)
        if isinstance(found, str):
            return found
        output = found.outputs[0]
        tokens = list(output.token_ids)
        return Written(tokens, _of(tokens, output.logprobs) if request.logprobs else None)

    async def read(self, prompt: Sequence[int], response: Sequence[int]) -> list[float] | str:
        """Log-probability of every token of a response, or why vLLM does not take it."""
        params = SamplingParams(
            temperature=0,
            max_tokens=1,
            prompt_logprobs=0,
            detokenize=False,
            output_kind=RequestOutputKind.FINAL_ONLY,
        )
        found = await self._final([*prompt, *response], params)
        return found if isinstance(found, str) else _of(response, found.prompt_logprobs[len(prompt) :])

    async def _final(self, tokens: Sequence[int], params: SamplingParams) -> Any:
        """The whole output for a prompt, or why vLLM does not take the request."""
        found: Any = "no answer"
        try:
            async for output in self._llm.generate(tokens_input(list(tokens)), params, str(next(self._numbers))):
                found = output
        except (VLLMClientError, ValueError) as error:
            return f"refused: {_first_line(error)}"
        except EngineDeadError as error:
            raise EngineError(
                self._where,
                found="that vLLM has ended",
                expected="it to go on",
                fix="Read what it printed above, then run the same command again: it goes on from here.",
            ) from error
        return found


def _of(tokens: Sequence[int], logprobs: Sequence[Any]) -> list[float]:
    """Log-probabilities of tokens out of tables, one for each place."""
    return [float(table[token].logprob) for token, table in zip(tokens, logprobs, strict=True)]


def _first_line(error: Exception) -> str:
    return next(iter(str(error).strip().splitlines()), type(error).__name__)[:200]


def _end(llm: AsyncLLM, background: Background) -> None:
    llm.shutdown()
    background.stop()
