"""Settings of engines: who answers, and how it is asked."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, get_args
from urllib.parse import urlsplit

from pydantic import Discriminator, Field, Tag, model_validator

from tunalm.extensions import OBJECT, is_object, object_identity
from tunalm.recipe.base import ModelSource, Prompting, Settings
from tunalm.recipe.models import model_identity
from tunalm.recipe.places import IN_PROCESS, Place
from tunalm.store import canonical, digest


class Local(Prompting):
    """What is said of a model that runs on this machine, whatever runs it."""

    answering: ClassVar[frozenset[str]] = frozenset()
    """Further fields that change what is answered."""
    if TYPE_CHECKING:
        kind: str
    model: ModelSource
    """A stage that trains a model, a Hugging Face folder, a hub id `owner/name`, or `embedded:smollm2`."""
    precision: Literal["auto", "fp32", "bf16"] = "auto"
    """`auto` is bf16 where the hardware computes it fast, else fp32."""

    def identity(self) -> str:
        """Names the model, its version and how it is asked: answers are kept under it.

        Raises:
            ModelError: there is no such model.
        """
        known = f"{self.kind} {model_identity(self.model)} {self.precision}"
        others = self.model_dump(include={"template", "template_args", *self.answering}, exclude_defaults=True)
        asked = {**others, **others.pop("template_args", {})}
        return known if asked in ({}, {"template": "chat"}) else f"{known} {canonical(asked)}"

    def place(self) -> Place:
        """What a table of prices knows it by."""
        return Place(IN_PROCESS, self.model, self.kind)


class HuggingFaceSettings(Local):
    """A model that transformers runs in this process."""

    opens: ClassVar[str] = "tunalm.engines.huggingface:HuggingFaceEngine"
    kind: Literal["huggingface"] = "huggingface"
    batch_size: int = Field(64, ge=1)
    """Responses decoded together."""


class VllmSettings(Local):
    """A model that vLLM serves for this process, many times as fast on an accelerator. `command` names another server
    program."""

    not_hashed: ClassVar[frozenset[str]] = frozenset(
        {"batch_size", "gpu_memory_utilization", "tensor_parallel", "replicas", "start_timeout", "timeout"}
    )
    answering = frozenset({"command"})

    opens: ClassVar[str] = "tunalm.engines.served.engine:ServedEngine"
    kind: Literal["vllm"] = "vllm"
    batch_size: int = Field(256, ge=1)
    """Most responses written together, by each replica."""
    max_model_len: int | None = Field(None, ge=16)
    """Most tokens of a prompt and its response; null takes as many as the model was made for."""
    gpu_memory_utilization: float = Field(0.9, gt=0, le=1)
    """Share of each accelerator's memory (without one, of the machine's) that vLLM takes."""
    tensor_parallel: int = Field(1, ge=1)
    """Accelerators that one copy of the model is spread over."""
    replicas: int | None = Field(None, ge=1)
    """Servers that share the requests, each with a copy of the model on accelerators of its own; null starts as many as
    there are accelerators for."""
    command: str | None = None
    """Another program that serves the OpenAI protocol, for instance `python -m sglang.launch_server --model-path
    {model} --port {port}`; `{model}`, `{port}`, `{dtype}` and `{tensor_parallel}` are filled in. It must take prompts
    as token ids at `/v1/completions`. null runs `vllm serve`."""
    start_timeout: float = Field(1800.0, gt=0)
    """Seconds in which the servers must have loaded the model."""
    timeout: float = Field(600.0, gt=0)
    """Seconds to wait for one whole reply."""


class Served(Settings):
    """What is said of a model behind an address, however it is asked."""

    not_hashed: ClassVar[frozenset[str]] = frozenset(
        {
            "api_key_env",
            "timeout",
            "max_duplicates",
            "patience",
            "concurrency",
            "requests_per_minute",
            "tokens_per_minute",
            "max_retries",
            "requests_per_job",
            "bytes_per_job",
            "poll_seconds",
        }
    )

    model: str
    """Name of the model as the server knows it."""
    api_key_env: str | None = None
    """Environment variable that holds the key for this address; without it no key is sent, except that
    `OPENAI_API_KEY` goes to api.openai.com."""
    protocol: Literal["chat", "completions"] = "chat"
    """`chat` leaves the prompt to the server's chat template; `completions` sends the Alpaca prompt as plain text, for
    base models, which have no such template."""
    max_n: int = Field(1, ge=1)
    """Responses to one prompt asked for in one call (`n`). The prompt is then read, and paid for, once per call and not
    once per response; not every server can do it."""
    max_tokens_field: Literal["auto", "max_tokens", "max_completion_tokens"] = "auto"
    """What the server calls the limit on a response. `auto` tries `max_tokens` (at api.openai.com the other), and the
    other when the server says that it takes that one."""
    omit: list[Literal["temperature", "seed", "top_p", "presence_penalty", "response_format"]] = Field(
        default_factory=list
    )
    """Fields that are never sent. Those that a server says it does not take are left out by themselves, except for a
    temperature that is neither 0 nor 1: without it, the draws would be others than those asked for."""
    reasoning_effort: str | None = None
    """How much a reasoning model shall think, in the server's words (`low`, `medium`, `high`)."""
    extra_body: dict[str, Any] = Field(default_factory=dict)
    """Fields for every request beside those of tunalm, for instance `{chat_template_kwargs: {enable_thinking: false}}`.
    """
    always_thinks: bool = False
    """The model begins every reply with thoughts and does not write the tag that opens them. A reply without the tag
    that closes them was then cut, and is a failure."""
    timeout: float = Field(120.0, gt=0)
    """Seconds to wait for one whole reply."""
    max_duplicates: int = Field(100, ge=0)
    """Requests that may be sent, and paid for, a second time in a run because nobody knows what became of them: no
    reply in time, a broken connection, a kill. Beyond that they are rows that say so."""
    patience: float = Field(600.0, gt=0)
    """Seconds for which the server may refuse everything, or ask to be left alone, before the run stops."""

    if TYPE_CHECKING:
        kind: str

    @property
    def addresses(self) -> list[str]:
        """Where the model is asked; the first names the engine. None for a file."""
        return []

    def identity(self) -> str:
        """Names the address, the model and how it is asked: answers are kept under it."""
        identity = f"{self.kind} {(self.addresses or ['file'])[0].rstrip('/')} {self.model}"
        if self.protocol != "chat":
            identity += f" {self.protocol}"
        changes = {"omit", "reasoning_effort", "extra_body", "always_thinks"}
        changed = self.model_dump(include=changes, exclude_defaults=True)
        return f"{identity} {digest(changed)[:16]}" if changed else identity

    def place(self) -> Place:
        """What a table of prices knows it by: its first address."""
        return Place(
            urlsplit(self.addresses[0]).netloc.lower() if self.addresses else IN_PROCESS, self.model, self.kind
        )


class EndpointSettings(Served):
    """A server that speaks the OpenAI protocol (OpenAI, vLLM, SGLang, llama.cpp)."""

    opens: ClassVar[str] = "tunalm.engines.endpoint.engine:EndpointEngine"
    kind: Literal["endpoint"] = "endpoint"
    base_url: str | Annotated[list[str], Field(min_length=1)]
    """Address up to and including `/v1`, or a list of addresses that serve the same model; requests with the same
    prompt then go to the same one. Plain http is accepted for this machine only, unless you type `--allow-http`."""
    concurrency: int = Field(8, ge=1)
    """Most requests in flight. A server that refuses some for want of room gets fewer."""
    requests_per_minute: float | None = Field(None, gt=0)
    """Limit to keep to; null leaves it to the server to refuse."""
    tokens_per_minute: float | None = Field(None, gt=0)
    """Limit to keep to, prompts and responses together; null leaves it to the server to refuse."""
    max_retries: int = Field(5, ge=0)
    """How often a request is sent again after 408, 5xx or a connection error. A refusal for want of room (429, 503)
    does not count."""

    @property
    def addresses(self) -> list[str]:
        """All of `base_url`."""
        return [self.base_url] if isinstance(self.base_url, str) else self.base_url


class BatchSettings(Served):
    """A server that answers whole files of requests, within a day and often at a lower price; or such a file alone."""

    opens: ClassVar[str] = "tunalm.engines.batch.engine:BatchEngine"
    kind: Literal["batch"] = "batch"
    base_url: str | None = None
    """Address of a server that has `/files` and `/batches`, up to and including `/v1`."""
    file: str | None = None
    """In place of an address, a path that ends in .jsonl: the requests are written to it and the run stops; it goes on
    when their answers lie beside it, where `vllm run-batch`, for one, puts them."""
    requests_per_job: int = Field(50_000, ge=1, le=50_000)
    """Most requests in one file for a server."""
    bytes_per_job: int = Field(100_000_000, ge=1_000, le=200_000_000)
    """Most bytes in one."""
    max_retries: int = Field(2, ge=0)
    """How often a request that a job left unanswered, because the day was over for instance, is put into another."""
    poll_seconds: float = Field(60.0, gt=0)
    """Longest pause between two looks at a job; the first is two seconds."""

    @property
    def addresses(self) -> list[str]:
        """`base_url`, if there is one."""
        return [self.base_url] if self.base_url else []

    @model_validator(mode="after")
    def _one_place(self) -> BatchSettings:
        if (self.base_url is None) == (self.file is None):
            raise ValueError("kind: batch needs either base_url, a server, or file, where requests are written")
        if self.file is not None and not self.file.endswith(".jsonl"):
            raise ValueError("file must end in .jsonl")
        return self


class ScriptedSettings(Settings):
    """A stand-in that answers by rule, without a model: for tests, examples and trying a recipe out."""

    opens: ClassVar[str] = "tunalm.engines.scripted:ScriptedEngine"
    kind: Literal["scripted"] = "scripted"
    replies: list[str] = Field(default_factory=list)
    """Answers to choose from; empty means that the instruction's own words are shuffled."""

    def identity(self) -> str:
        """Names the replies."""
        return f"scripted {digest(self.replies)[:16]}"

    def place(self) -> Place:
        """What a table of prices knows it by."""
        return Place(IN_PROCESS, self.kind, self.kind)


class CustomSettings(Settings):
    """An engine of your own, as FILE.py:NAME or package.module:NAME: a class, or a function that makes it."""

    kind: str = Field(pattern=OBJECT)
    """Where it is."""
    options: dict[str, Any] = Field(default_factory=dict)
    """What it is told; it checks them itself."""

    @property
    def opens(self) -> str:
        """What makes the engine."""
        return self.kind

    def identities(self) -> list[str]:
        """The content of its module."""
        return [object_identity(self.kind, "engine")]

    def identity(self) -> str:
        """Names the code and its options.

        Raises:
            RecipeError: there is no such code.
        """
        return f"custom {object_identity(self.kind, 'engine')[:16]} {digest(self.options)[:16]}"

    def place(self) -> Place:
        """What a table of prices knows it by: the name of the code, in this process."""
        return Place(IN_PROCESS, self.kind, "custom")


def _tag(value: Any) -> Any:
    kind = value.get("kind") if isinstance(value, dict) else getattr(value, "kind", None)
    return "custom" if isinstance(kind, str) and is_object(kind) else kind


EngineSettings = Annotated[
    Annotated[HuggingFaceSettings, Tag("huggingface")]
    | Annotated[VllmSettings, Tag("vllm")]
    | Annotated[EndpointSettings, Tag("endpoint")]
    | Annotated[BatchSettings, Tag("batch")]
    | Annotated[ScriptedSettings, Tag("scripted")]
    | Annotated[CustomSettings, Tag("custom")],
    Discriminator(_tag),
]


ENGINES: dict[str, type[Settings]] = {
    tag.tag: settings for settings, tag in map(get_args, get_args(get_args(EngineSettings)[0]))
}
"""Kind in a recipe -> settings. One member of `EngineSettings` adds an engine; `opens` names its class, whose module is
imported when it is opened."""


def spelled_out(value: Any) -> Any:
    """`engine: tuna_p` is short for `engine: {kind: huggingface, model: tuna_p}`; an address means an endpoint."""
    if isinstance(value, str):
        return {"kind": "huggingface", "model": value}
    if isinstance(value, dict) and "kind" not in value:
        return {"kind": "endpoint" if "base_url" in value else "huggingface", **value}
    return value
