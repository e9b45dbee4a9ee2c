"""What a recipe may say: one pydantic model per stage, one attribute per knob, its help text under it.

A recipe is an ordered mapping of named stages; a stage names the earlier stages that it reads. Fields of the types
`ModelSource`, `ResponsesSource` and `RankingsSource` are those that may name a stage; everything else is a plain value.
"""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field

from tunalm.recipe.base import (
    Data,
    FolderName,
    Lists,
    ModelSource,
    Produces,
    Prompting,
    PromptTemplate,
    ProxySource,
    RankingsSource,
    ResponsesSource,
    Settings,
    Source,
    Stage,
)
from tunalm.recipe.engines import (
    BatchSettings,
    CustomSettings,
    EndpointSettings,
    EngineSettings,
    HuggingFaceSettings,
    Local,
    ScriptedSettings,
    Served,
    VllmSettings,
)
from tunalm.recipe.evaluation import BENCHMARKS, BenchmarkSettings, Evaluate
from tunalm.recipe.feedback import RANKERS, Rank, Sample, SimulatedJudge
from tunalm.recipe.instructions import Instruct
from tunalm.recipe.training import FromLists, Ppo, Proxy, Reinforce, Rounds, Sft, Train, Training
from tunalm.recipe.walking import Found, map_sources, replaced, settings_in, sources_in, walk

AnyStage = Annotated[Instruct | Sft | Sample | Rank | Train | Proxy | Reinforce | Evaluate, Field(discriminator="kind")]
STAGES: dict[str, type[Stage]] = {
    "instruct": Instruct,
    "sft": Sft,
    "sample": Sample,
    "rank": Rank,
    "train": Train,
    "proxy": Proxy,
    "rl": Reinforce,
    "evaluate": Evaluate,
}


class EarlyStopping(Settings):
    """Rounds with `patience`, written out."""

    patience: int = Field(ge=1)
    """Rounds in succession that may score lower than the best model before them; then the rest is left out."""
    start: ModelSource
    """The model that the first round starts from: it counts as round 0."""
    rounds: list[list[str]] = Field(min_length=1)
    """Stages of each round; the last one trains the model."""
    scores: list[str]
    """The evaluation after each round, with one benchmark. The first has the start too, as `start`."""
    best: int | None = Field(None, ge=0)
    """The round that is taken; null until it is known."""


class Recipe(Settings):
    """A whole recipe, its inputs already filled in."""

    name: FolderName
    """Names the run folder."""
    description: str = ""
    """One sentence for the report."""
    inputs: dict[str, Any] = Field(default_factory=dict)
    """Values that the command line may replace (`base=...`) and stages use as `${base}`; null must be given."""
    seed: int = 0
    """Seed of every stage that does not set its own."""
    max_cost: float | None = Field(None, ge=0, allow_inf_nan=False)
    """Dollars that all calls of the run may cost together, earlier attempts at it included; null sets no limit. No call
    is sent that could exceed it, and a model whose price is not known is refused."""
    prices: str | None = None
    """A table of prices in YAML, read before `~/.config/tunalm/prices.yaml` and the one that tunalm ships."""
    only: list[str] = Field(default_factory=list)
    """Stages that are wanted; what they do not read is left out, and so are other models of the evaluation. Empty means
    all."""
    sweep: dict[str, list[Any]] = Field(default_factory=dict)
    """Values to try, by knob: `{tuna.mle_weight: [0, 1, 10], seed: [0, 1, 2]}`. Every stage that a value reaches is run
    once per combination, all others once; the evaluation then has a row for each."""
    early_stopping: dict[str, EarlyStopping] = Field(default_factory=dict)
    """What `rounds` with `patience` become when they are written out; the recipe that a run keeps has it."""
    stages: dict[FolderName, AnyStage] = Field(min_length=1)
    """Named stages in the order in which they run."""


__all__ = [
    "BENCHMARKS",
    "RANKERS",
    "STAGES",
    "AnyStage",
    "BatchSettings",
    "BenchmarkSettings",
    "CustomSettings",
    "Data",
    "EarlyStopping",
    "EndpointSettings",
    "EngineSettings",
    "Evaluate",
    "Found",
    "FromLists",
    "HuggingFaceSettings",
    "Instruct",
    "Lists",
    "Local",
    "ModelSource",
    "Ppo",
    "Produces",
    "PromptTemplate",
    "Prompting",
    "Proxy",
    "ProxySource",
    "Rank",
    "RankingsSource",
    "Recipe",
    "Reinforce",
    "ResponsesSource",
    "Rounds",
    "Sample",
    "ScriptedSettings",
    "Served",
    "Settings",
    "Sft",
    "SimulatedJudge",
    "Source",
    "Stage",
    "Train",
    "Training",
    "VllmSettings",
    "map_sources",
    "replaced",
    "settings_in",
    "sources_in",
    "walk",
]
