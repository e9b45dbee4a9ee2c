"""What a recipe may say: one pydantic model per stage, one attribute per knob, its help text under it.

A recipe is an ordered mapping of named stages; a stage names the earlier stages that it reads. Fields of the types
`ModelSource` and `RowsSource` are those that may name a stage; everything else is a plain value.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

Produces = Literal["model", "responses", "rankings", "results"]


@dataclass(frozen=True)
class Source:
    """Marks a field that may hold the name of an earlier stage which produces one of `accepts`."""

    accepts: tuple[Produces, ...]


ModelSource = Annotated[str, Source(("model",))]
"""A stage that trains a model, a Hugging Face folder, a hub id `owner/name`, or `embedded:smollm2`."""
ResponsesSource = Annotated[str, Source(("responses", "rankings"))]
RankingsSource = Annotated[str, Source(("rankings",))]


class Settings(BaseModel):
    """Base of everything in a recipe: unknown keys are errors, attribute docstrings are the help texts."""

    model_config = ConfigDict(extra="forbid", use_attribute_docstrings=True)


class Data(Settings):
    """Instructions to read. A plain string is the `source`."""

    source: str
    """A file (Alpaca, messages or self-instruct rows; .json, .jsonl, .parquet, .gz), a hub dataset id `owner/name`, or
    `checkable:train` / `checkable:heldout` for the built-in tasks that a program can check."""
    rows: str = ":"
    """Python slice of the rows in file order, for instance `:13000` (the first 13K) or `-39000:` (the last 39K)."""
    limit: int | None = Field(None, ge=1)
    """At most so many rows, taken after `rows`."""
    split: str = "train"
    """Which split of a hub dataset."""

    @model_validator(mode="before")
    @classmethod
    def _short(cls, value: Any) -> Any:
        value = {"source": value} if isinstance(value, str) else value
        inner = value.get("source") if isinstance(value, dict) else None
        if not isinstance(inner, dict):
            return value
        # An input that is a mapping, used as `{source: "${instructions}", rows: ...}`: one mapping in the other.
        outer = {key: item for key, item in value.items() if key != "source"}
        if twice := sorted(inner.keys() & outer.keys()):
            raise ValueError(f"{twice[0]} is given both in the input and where it is used")
        return {**inner, **outer}

    @field_validator("rows")
    @classmethod
    def _slice(cls, value: str) -> str:
        parts = value.split(":")
        if len(parts) != 2 or not all(part.removeprefix("-").isdecimal() or not part for part in parts):
            raise ValueError(f"rows must be a slice such as ':13000' or '-39000:', not {value!r}")
        return value

    def select(self) -> slice:
        """The slice that `rows` describes."""
        start, stop = (int(part) if part else None for part in self.rows.split(":"))
        return slice(start, stop)


class HuggingFaceSettings(Settings):
    """A model that runs in this process."""

    kind: Literal["huggingface"] = "huggingface"
    model: ModelSource
    """A stage that trains a model, a Hugging Face folder, a hub id `owner/name`, or `embedded:smollm2`."""
    batch_size: int = Field(64, ge=1)
    """Responses decoded together."""
    precision: Literal["auto", "fp32", "bf16"] = "auto"
    """`auto` is bf16 where the hardware computes it fast, else fp32."""


class EndpointSettings(Settings):
    """A server that speaks the OpenAI chat protocol (OpenAI, vLLM, SGLang, llama.cpp)."""

    kind: Literal["endpoint"] = "endpoint"
    base_url: str
    """Address up to and including `/v1`. Plain http is accepted for this machine only."""
    model: str
    """Name of the model as the server knows it."""
    api_key_env: str | None = None
    """Environment variable that holds the key for this address; without it no key is sent, except that
    `OPENAI_API_KEY` goes to api.openai.com."""
    concurrency: int = Field(8, ge=1)
    """Requests in flight."""
    timeout: float = Field(120.0, gt=0)
    """Seconds to wait for one reply."""
    max_retries: int = Field(5, ge=0)
    """How often a request is sent again after 408, 429, 5xx or a connection error."""


class ScriptedSettings(Settings):
    """A stand-in that answers by rule, without a model: for tests, examples and trying a recipe out."""

    kind: Literal["scripted"] = "scripted"
    replies: list[str] = Field(default_factory=list)
    """Answers to choose from; empty means that the instruction's own words are shuffled."""


EngineSettings = Annotated[HuggingFaceSettings | EndpointSettings | ScriptedSettings, Field(discriminator="kind")]


def _engine(value: Any) -> Any:
    """`engine: tuna_p` is short for `engine: {kind: huggingface, model: tuna_p}`; an address means an endpoint."""
    if isinstance(value, str):
        return {"kind": "huggingface", "model": value}
    if isinstance(value, dict) and "kind" not in value:
        return {"kind": "endpoint" if "base_url" in value else "huggingface", **value}
    return value


class Stage(Settings):
    """What all stages share."""

    produces: ClassVar[Produces]
    not_hashed: ClassVar[frozenset[str]] = frozenset()
    """Fields that cannot change what the stage produces; changing one does not run the stage again."""

    seed: int = 0
    """Seeds everything random in this stage."""


class Training(Stage):
    """Knobs of every training stage."""

    produces: ClassVar[Produces] = "model"
    not_hashed: ClassVar[frozenset[str]] = frozenset({"report_to", "save_steps", "logging_steps"})

    template: Literal["chat", "alpaca"] = "chat"
    """`chat` is the model's own chat template; `alpaca` writes the Alpaca prompt and is saved with the model."""
    max_length: int = Field(512, ge=8)
    """Tokens of prompt and response. A longer response is cut (and gets no end token); an instruction that leaves no
    room for a response is dropped. Both are counted."""
    epochs: float = Field(1.0, gt=0)
    """Passes over the rows."""
    max_steps: int = Field(-1, ge=-1)
    """Stop after so many optimizer steps; -1 goes by `epochs`."""
    learning_rate: float = Field(1e-5, ge=0)
    """Peak learning rate of AdamW with betas (0.9, 0.999)."""
    batch_size: int = Field(128, ge=1)
    """Instructions per optimizer step, over all processes. The loss does not depend on how a step is split."""
    token_budget: int | None = Field(None, ge=1)
    """Tokens that a forward pass with gradients reads, per process; lower it when memory is short. A list that has more
    is read alone, or in parts if it is read in two phases."""
    attention: Literal["auto", "two_call", "varlen", "flex", "mask4d", "none", "rows", "padded"] = "auto"
    """How sequences are read. `two_call`, `varlen`, `flex` and `mask4d` read a prompt once for all its responses,
    `none` reads every sequence whole, in packed rows, `rows` and `padded` give each a row of its own. `auto` takes the
    fastest that gives the model's own numbers."""
    two_phases: Literal["auto", "always", "never"] = "auto"
    """Find out which responses move the weights, then read only these with gradients: the same gradient, and memory
    that does not grow with the length of the lists. `auto` does so when the live share of the tokens makes it pay."""
    lr_scheduler: Literal["cosine", "linear", "constant", "constant_with_warmup"] = "cosine"
    """Shape of the learning rate after warm-up."""
    warmup_ratio: float = Field(0.03, ge=0, lt=1)
    """Share of the steps that warm up."""
    weight_decay: float = Field(0.0, ge=0)
    """Of AdamW."""
    max_grad_norm: float = Field(1.0, gt=0)
    """Gradients are clipped to this norm."""
    precision: Literal["auto", "fp32", "bf16"] = "auto"
    """`auto` is bf16 autocast over fp32 weights where the hardware computes it fast, else fp32."""
    gradient_checkpointing: bool = False
    """Recompute activations in the backward pass: less memory, about a third more time."""
    lora_rank: int = Field(0, ge=0)
    """Rank of LoRA adapters; 0 trains all weights."""
    lora_alpha: int = Field(32, ge=1)
    """Scale of LoRA adapters."""
    lora_dropout: float = Field(0.0, ge=0, lt=1)
    """Dropout in front of LoRA adapters."""
    save_steps: int = Field(0, ge=0)
    """Optimizer steps between checkpoints; 0 saves at every tenth of a run, but not within a minute of the
    last time."""
    logging_steps: int = Field(1, ge=1)
    """Optimizer steps between lines of metrics.jsonl."""
    report_to: list[str] = Field(default_factory=list)
    """Trackers that transformers knows, for instance [trackio] or [tensorboard]."""


class Sft(Training):
    """Fine-tune on (instruction, reference): Eq. 1-2. Defaults are the published Alpaca recipe."""

    kind: Literal["sft"] = "sft"
    model: ModelSource
    """The base model."""
    data: Data
    """Instructions with references."""
    epochs: float = Field(3.0, gt=0)
    """Passes over the rows."""
    learning_rate: float = Field(2e-5, ge=0)
    """Peak learning rate of AdamW with betas (0.9, 0.999)."""


class Train(Training):
    """Train on ranked lists: L = L_rank + lambda L_MLE (Eq. 4-6)."""

    kind: Literal["train"] = "train"
    start: ModelSource
    """The model to start from."""
    rankings: RankingsSource
    """A stage that ranks, or a file of ranked rows."""
    margin: float = Field(0.1, ge=0)
    """Margin m of Eq. 5 between neighbouring ranks."""
    mle_weight: float = Field(1.0, ge=0)
    """Weight lambda of the reference's negative log-likelihood in Eq. 6."""
    convention: Literal["paper", "lmops"] = "paper"
    """`paper` is Eq. 4-6; `lmops` is the loss of the authors' released trainer."""


class Sample(Stage):
    """Draw N responses per instruction, diverse if asked (section 2.3)."""

    produces: ClassVar[Produces] = "responses"
    kind: Literal["sample"] = "sample"
    engine: EngineSettings
    """Who answers: the teacher, or the student itself. A plain string is a model in this process."""
    data: Data
    """Instructions to answer."""
    num_responses: int = Field(4, ge=1)
    """N, the length of each list."""
    temperature: float = Field(1.0, ge=0)
    """Of the first draw."""
    max_new_tokens: int = Field(256, ge=1)
    """A response is cut after so many tokens, and says so."""
    logprobs: bool = False
    """Keep the log-probability of every token; the likelihood ranking needs it."""
    max_rouge_l: float | None = Field(None, gt=0, le=1)
    """tau: redraw a response whose ROUGE-L F1 with one already kept reaches this; null takes every draw."""
    temperature_step: float = Field(0.1, ge=0)
    """Added to the temperature for every redraw."""
    max_attempts: int = Field(3, ge=1)
    """Draws per response; when none is diverse enough the least similar one is kept."""
    rouge_tokenizer: Literal["rouge", "unicode"] = "rouge"
    """`rouge` keeps a-z and 0-9 and stems, as published; `unicode` is for every other script."""
    demonstrations: int = Field(0, ge=0)
    """Worked examples shown before each instruction: other rows with a reference, of the same task where it is given,
    also from beyond `limit`. A model with demonstrations is a better teacher than the same model without."""

    _short = field_validator("engine", mode="before")(_engine)


class Rank(Stage):
    """Order the responses of each list, best first, ties allowed."""

    produces: ClassVar[Produces] = "rankings"
    kind: Literal["rank"] = "rank"
    by: Literal["likelihood", "judge", "verifier"]
    """`likelihood`: Eq. 3 from stored log-probabilities; `judge`: a model scores them in context (section 2.3);
    `verifier`: the checker that came with the instruction."""
    responses: ResponsesSource
    """A stage that samples, or a file of its rows."""
    length_penalty: float = Field(1.3, ge=0)
    """beta of Eq. 3 (`by: likelihood`)."""
    engine: EngineSettings | None = None
    """The judge (`by: judge`)."""
    max_new_tokens: int = Field(1024, ge=1)
    """Room for the judge's reply (`by: judge`)."""

    _short = field_validator("engine", mode="before")(_engine)

    @model_validator(mode="after")
    def _judge_needs_engine(self) -> Rank:
        if self.by == "judge" and self.engine is None:
            raise ValueError("by: judge needs an engine, for instance engine: {base_url: ..., model: ...}")
        return self


class Benchmark(Settings):
    """One benchmark of an evaluation. A plain string is the `name`."""

    name: Literal["checkable", "reference"]
    """`checkable`: share of responses that the built-in checkers accept; `reference`: ROUGE-L with the references."""
    data: Data
    """Held-out instructions; `checkable` has its own, `checkable:heldout`."""
    rouge_tokenizer: Literal["rouge", "unicode"] = "rouge"
    """Words of `reference`: `rouge` keeps a-z and 0-9 and stems, as published; `unicode` is for every other script."""

    @model_validator(mode="before")
    @classmethod
    def _short(cls, value: Any) -> Any:
        value = {"name": value} if isinstance(value, str) else value
        if isinstance(value, dict) and value.get("name") == "checkable":
            value = {"data": "checkable:heldout", **value}
        return value


class Evaluate(Stage):
    """Let models answer held-out instructions greedily, score the answers and compare the models."""

    produces: ClassVar[Produces] = "results"
    kind: Literal["evaluate"] = "evaluate"
    models: dict[str, EngineSettings]
    """Names for the table, each with its engine; the first is the one that others are compared with."""
    benchmarks: list[Benchmark]
    """What to score them on."""
    max_new_tokens: int = Field(256, ge=1)
    """Longest answer."""
    bootstrap_samples: int = Field(2000, ge=100)
    """Resamples behind each 95 % interval."""

    @field_validator("models", mode="before")
    @classmethod
    def _short(cls, value: Any) -> Any:
        """A list of names is short for each name mapped to itself."""
        if isinstance(value, list):
            value = {name: name for name in value}
        return {name: _engine(engine) for name, engine in value.items()} if isinstance(value, dict) else value

    @field_validator("models")
    @classmethod
    def _some(cls, value: dict[str, Any]) -> dict[str, Any]:
        if not value:
            raise ValueError("models is empty: name at least one")
        return value

    @field_validator("benchmarks")
    @classmethod
    def _distinct(cls, value: list[Benchmark]) -> list[Benchmark]:
        names = [benchmark.name for benchmark in value]
        if not names or len(set(names)) < len(names):
            raise ValueError(f"benchmarks must be some that differ, not [{', '.join(names)}]")
        return value


AnyStage = Annotated[Sft | Sample | Rank | Train | Evaluate, Field(discriminator="kind")]
STAGES: dict[str, type[Stage]] = {"sft": Sft, "sample": Sample, "rank": Rank, "train": Train, "evaluate": Evaluate}


class Recipe(Settings):
    """A whole recipe, its inputs already filled in."""

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")
    """Names the run folder."""
    description: str = ""
    """One sentence for the report."""
    inputs: dict[str, Any] = Field(default_factory=dict)
    """Values that the command line may replace (`base=...`) and stages use as `${base}`; null must be given."""
    seed: int = 0
    """Seed of every stage that does not set its own."""
    stages: dict[str, AnyStage]
    """Named stages in the order in which they run."""


def map_sources(value: Any, change: Callable[[str, Source, str], str], where: str) -> Any:
    """Return a copy of settings in which `change(text, source, where)` has replaced every `Source` field."""
    if isinstance(value, BaseModel):
        updates = {}
        for name, info in type(value).model_fields.items():
            current = getattr(value, name)
            source = next((meta for meta in info.metadata if isinstance(meta, Source)), None)
            path = f"{where}.{name}"
            if source is not None and isinstance(current, str):
                updates[name] = change(current, source, path)
            else:
                updates[name] = map_sources(current, change, path)
        return value.model_copy(update=updates)
    if isinstance(value, dict):
        return {key: map_sources(item, change, f"{where}.{key}") for key, item in value.items()}
    if isinstance(value, list):
        return [map_sources(item, change, f"{where}[{index}]") for index, item in enumerate(value)]
    return value
