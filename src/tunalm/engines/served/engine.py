"""A model that server programs of this machine run: vLLM, unless the settings name another command.

The prompts are made here and sent as token ids, so that all engines of this machine read the same tokens.
"""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from shutil import which

from tunalm.data.prompts import PromptEncoder
from tunalm.engines.base import Capabilities, Completion, Journal, Request
from tunalm.engines.endpoint.bodies import Prompt
from tunalm.engines.endpoint.engine import EndpointEngine
from tunalm.engines.served.children import Children
from tunalm.engines.tokens import given_ids, prompt_ids
from tunalm.errors import EngineError
from tunalm.progress import console
from tunalm.recipe import EndpointSettings, VllmSettings

AHEAD = 2
"""Requests in flight for each that a server works on, so that one that ends makes room for one that waits."""
VLLM = (
    "vllm serve {model} --host 127.0.0.1 --port {port} --dtype {dtype} --tensor-parallel-size {tensor_parallel}"
    " --max-num-seqs {batch_size} --gpu-memory-utilization {gpu_memory_utilization}"
    " --logprobs-mode raw_logprobs --generation-config vllm --disable-uvicorn-access-log"
)
DTYPES = {"auto": "auto", "bf16": "bfloat16", "fp32": "float32"}
GPUS = Path("/proc/driver/nvidia/gpus")


class ServedEngine:
    """Starts servers with the first request, and asks them; they end with this object or with this process.

    Raises:
        EngineError: vLLM is needed and not installed.
    """

    def __init__(self, settings: VllmSettings, *, trust_remote_code: bool = False) -> None:
        self.identity = settings.identity()
        if settings.command is None and which("vllm") is None:
            raise EngineError(
                self.identity,
                found="there is no program vllm on the PATH",
                fix="Run: pip install vllm, best in an environment of its own whose bin folder you add to the PATH. Or "
                "set kind: huggingface.",
            )
        self.capabilities = Capabilities(
            logprobs=True,
            json_schema=True,
            scores=True,
            raw=True,
            notes=("every draw has its seed, but last bits depend on what the server computes together",),
        )
        self._settings, self._trust = settings, trust_remote_code
        self._running: _Running | None = None

    def batches(self, requests: Sequence[Request]) -> list[list[Request]]:
        """Every request alone: the server finds out what they share."""
        return [[request] for request in requests]

    def generate(self, batches: Sequence[Sequence[Request]], journal: Journal) -> Iterator[list[Completion]]:
        """Answer the units, all under way together; leaving the loop ends those that are.

        Raises:
            EngineError: the servers do not start, or one ended; its last words are in the error.
        """
        server = self._run()
        fitting: list[list[Request]] = []
        for unit in batches:
            request = server.fitted(unit[0])
            if request is None:
                failure = f"too long: the model takes {server.longest} tokens of prompt and response together"
                yield [Completion(key=unit[0].key, failure=failure)]
            else:
                fitting.append([request])
        try:
            for (completion,) in server.engine.generate(fitting, Journal()):
                text = completion.text if completion.failure else completion.text.removeprefix(server.encoder.lead)
                yield [completion.model_copy(update={"text": text})]
        except EngineError:
            server.children.check()
            raise

    def _run(self) -> _Running:
        if self._running is None:
            from tunalm.engines.huggingface import load_tokenizer  # takes seconds to import, as does the next

            settings = self._settings
            tokenizer = load_tokenizer(settings.model, trust_remote_code=self._trust)
            encoder = PromptEncoder(tokenizer, settings.template, settings.model, settings.template_args)
            environments = _environments(settings)
            command = self._command()
            console().print(f"Starting {len(environments)} servers of {settings.model} ...", markup=False)
            children = Children(self.identity, [command] * len(environments), environments, settings.start_timeout)
            asked = EndpointSettings(
                base_url=children.addresses,
                model=children.model or settings.model,
                protocol="completions",
                concurrency=AHEAD * settings.batch_size * len(environments),
                timeout=settings.timeout,
                always_thinks=encoder.opens_thoughts,
                extra_body={"stop_token_ids": list(encoder.stop_ids)},
            )
            engine = EndpointEngine(asked, prompts=_Encoded(encoder))
            self._running = _Running(children, engine, encoder, settings.max_model_len or children.longest)
        return self._running

    def _command(self) -> str:
        """What starts one server; `{port}` is left to be filled in."""
        from tunalm.engines.huggingface import fast_bf16, resolve_model

        settings = self._settings
        precision: str = settings.precision
        if precision == "auto" and not _gpus():
            precision = "bf16" if fast_bf16() else "fp32"
        command = settings.command or VLLM
        if settings.command is None:
            if settings.max_model_len is not None:
                command += f" --max-model-len {settings.max_model_len}"
            if self._trust:
                command += " --trust-remote-code"
        filled = {
            "model": shlex.quote(resolve_model(settings.model)),
            "dtype": DTYPES[precision],
            **settings.model_dump(include={"tensor_parallel", "batch_size", "gpu_memory_utilization"}),
        }
        for name, value in filled.items():
            command = command.replace(f"{{{name}}}", str(value))
        return command


@dataclass(frozen=True)
class _Running:
    """Servers at work, and how they are asked."""

    children: Children
    engine: EndpointEngine
    encoder: PromptEncoder
    longest: int | None
    """Most tokens of a prompt and its response, if that is known."""

    def fitted(self, request: Request) -> Request | None:
        """The request with no more room for its response than there is; None if there is none."""
        if self.longest is None:
            return request
        room = self.longest - len(prompt_ids(request, self.encoder))
        if request.given:
            room -= len(given_ids(request, self.encoder))  # and a server always writes one token
        return None if room < 1 else request.model_copy(update={"max_new_tokens": min(room, request.max_new_tokens)})


class _Encoded:
    """Prompts as token ids (see `Prompts`)."""

    def __init__(self, encoder: PromptEncoder) -> None:
        self._encoder = encoder

    def prompt(self, request: Request) -> Prompt:
        return prompt_ids(request, self._encoder)

    def given(self, request: Request) -> tuple[Prompt, Prompt]:
        lead = [] if request.raw else self._encoder.lead_ids
        return [*prompt_ids(request, self._encoder), *lead], given_ids(request, self._encoder)[len(lead) :]


def _environments(settings: VllmSettings) -> list[dict[str, str]]:
    """What each server sees of the accelerators: each its own, where there are several servers.

    Raises:
        EngineError: there are too few.
    """
    gpus, each = _gpus(), settings.tensor_parallel
    replicas = settings.replicas or max(len(gpus) // each, 1)
    if replicas == 1 or not gpus:
        return [{}] * replicas
    if replicas * each > len(gpus):
        raise EngineError(
            f"engine.replicas: {settings.model}",
            found=f"{replicas} servers with {each} accelerators each, on a machine with {len(gpus)}",
            fix="Lower replicas or tensor_parallel.",
        )
    return [{"CUDA_VISIBLE_DEVICES": ",".join(gpus[at : at + each])} for at in range(0, replicas * each, each)]


def _gpus() -> list[str]:
    """Names of the accelerators that this process may use, found without touching them."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is not None:
        return [name for name in visible.split(",") if name.strip() and name.strip() != "-1"]
    return [str(number) for number in range(len(list(GPUS.iterdir())))] if GPUS.is_dir() else []
