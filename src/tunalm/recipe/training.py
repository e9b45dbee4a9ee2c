"""Settings of the stages that train a model."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

from pydantic import Field, field_validator, model_validator

from tunalm.recipe.base import (
    Data,
    Lists,
    ModelSource,
    Produces,
    Prompting,
    ProxySource,
    ResponsesSource,
    Settings,
    Stage,
)
from tunalm.recipe.evaluation import BenchmarkSettings


class Training(Stage, Prompting):
    """Knobs of every training stage."""

    produces: ClassVar[Produces] = "model"
    not_hashed: ClassVar[frozenset[str]] = frozenset({"report_to", "save_steps", "logging_steps"})

    max_length: int = Field(512, ge=8)
    """Tokens of prompt and response. A longer response is cut (and gets no end token); an instruction that leaves no
    room for a response is dropped. Both are counted."""
    keep_reasoning: bool = False
    """Learn the thoughts of a response before its text, too."""
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
    is read alone. null is 1024 on a CPU and 4096 on a GPU."""
    attention: Literal["auto", "two_call", "varlen", "none", "padded"] = "auto"
    """How sequences are read. `two_call` and `varlen` (GPU) read a prompt once for all its responses, `none` reads
    every sequence whole, in packed rows, `padded` gives each a row of its own. `auto` takes the fastest that gives the
    model's own numbers."""
    lr_scheduler: Literal["cosine", "linear", "constant", "constant_with_warmup"] = "cosine"
    """Shape of the learning rate after warm-up."""
    warmup_ratio: float = Field(0.03, ge=0, lt=1)
    """Share of the steps that warm up."""
    weight_decay: float = Field(0.0, ge=0)
    """Of AdamW."""
    max_grad_norm: float = Field(1.0, gt=0)
    """Gradients are clipped to this norm."""
    precision: Literal["auto", "fp32", "bf16"] = "auto"
    """`auto` is bf16 autocast over fp32 weights on GPUs that compute it, and fp32 on CPUs: bf16 moves the
    log-probability of a token by up to 0.15 nats on short responses, more than the paper's margin."""
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
    responses: ResponsesSource | None = None
    """Lists of responses of which every one is imitated as a reference is, beside `data` (Alpaca-Mul)."""
    epochs: float = Field(3.0, gt=0)
    """Passes over the rows."""
    learning_rate: float = Field(2e-5, ge=0)
    """Peak learning rate of AdamW with betas (0.9, 0.999)."""


class FromLists(Training):
    """Train on ranked lists."""

    start: ModelSource
    """The model to start from."""
    rankings: list[Lists]
    """Ranked lists: a stage that ranks, a file of ranked rows, a part of either (`{source: ..., rows: ":13000"}`), or a
    list of such, which are put one after the other."""

    @field_validator("rankings", mode="before")
    @classmethod
    def _several(cls, value: Any) -> Any:
        return value if isinstance(value, list) else [value]

    @field_validator("rankings")
    @classmethod
    def _some(cls, value: list[Lists]) -> list[Lists]:
        if not value:
            raise ValueError("rankings is empty: name at least one stage that ranks, or a file")
        return value


NOT_TO_RISE = frozenset({"drift", "pairwise", "text", "vicuna"})
"""Benchmarks that do not say of one model alone how good it is."""


class Rounds(Settings):
    """How often to sample, rank and train. A plain number is `times`."""

    times: int = Field(ge=1)
    """Rounds at most."""
    rows: Literal["next", "same"] = "next"
    """Whether each round samples from the next rows of the instructions or from the same ones. After `rows: ":240"`, or
    `limit: 240`, come rows 240 to 480. Data without a stop, or with one counted from the end, stays the same."""
    keep_lists: bool = False
    """Train on the lists of all earlier rounds, too."""
    patience: int | None = Field(None, ge=1)
    """Stop when so many rounds in succession score lower on `held_out` than the best model before them. Later stages
    then read the model of the best round, or the start if no round reached its score. null runs all rounds."""
    held_out: BenchmarkSettings | None = None
    """What `patience` looks at, after every round; take other rows than those that you report."""

    @model_validator(mode="before")
    @classmethod
    def _short(cls, value: Any) -> Any:
        return {"times": value} if isinstance(value, int) else value

    @model_validator(mode="after")
    def _something_to_look_at(self) -> Rounds:
        if (self.patience is None) != (self.held_out is None):
            raise ValueError("patience and held_out, a benchmark, go together")
        if self.held_out is not None and self.held_out.name in NOT_TO_RISE:
            raise ValueError(
                f"held_out needs a benchmark on which a better model scores more, not {self.held_out.name}"
            )
        return self


BETAS = {"plackett_luce": 1.0, "dpo": 0.1, "simpo": 2.0}
"""Losses that scale their values, and by how much if nothing is said."""


class Train(FromLists):
    """Train on ranked lists: L = L_rank + lambda L_MLE (Eq. 4-6)."""

    not_hashed: ClassVar[frozenset[str]] = Training.not_hashed | {"rounds"}
    kind: Literal["train"] = "train"
    rounds: Rounds | None = None
    """Repeat this stage, and every stage between `start` and it, from the model of the round before: `own`, which asks
    the start, `by_checker`, which ranks `own`, and `tuna`, which trains on it, become `own_1`, `by_checker_1`,
    `tuna_1`, `own_2` and so on. Later stages read the last round; an evaluation of this model has a row for each."""
    margin: float = Field(0.1, ge=0)
    """Margin m of Eq. 5 between neighbouring ranks."""
    mle_weight: float = Field(1.0, ge=0)
    """Weight lambda of the reference's negative log-likelihood in Eq. 6."""
    convention: Literal["paper", "lmops"] = "paper"
    """`paper` is Eq. 4-6; `lmops` is the loss of the authors' released trainer."""
    loss: Literal["margin", "rrhf", "plackett_luce", "dpo", "simpo", "none"] = "margin"
    """The ranking loss: `margin` is Eq. 4-5, the others stand in its place for comparison. `rrhf` has no margin and
    imitates the best response, token by token; `plackett_luce` is the likelihood of the whole order
    (ListMLE, as in PRO and LiPO); `dpo` and `simpo` look at pairs, `dpo` relative to the model that training starts
    from; `none` is L_MLE alone, which is rejection sampling where it imitates the best response."""
    beta: float | None = Field(None, gt=0)
    """Scale of the values in `plackett_luce`, `dpo` and `simpo`; null is 1, 0.1 and 2."""
    pairs: Literal["all", "best_worst"] = "all"
    """That `dpo` and `simpo` look at. The `margin` of `simpo` is its gamma."""
    imitate: Literal["reference", "best", "reference_or_best"] | None = None
    """What L_MLE imitates: the reference (the paper), the best response of the list, or the best one where there is no
    reference. null is `reference`, for `rrhf` `best`. Lists that have none train their ranking alone; the mean of L_MLE
    is over the lists that have one."""
    min_imitated_score: float | None = None
    """The best response of a list is imitated only with at least this score, for instance 1 where a verifier gives 1 to
    what is right. null imitates it whatever its score."""
    margin_from: Literal["rank", "score"] = "rank"
    """Whether the margin between two responses grows with the difference of their ranks (the paper) or of their
    scores."""
    anchor: Literal["none", "start"] = "none"
    """`start`: Eq. 5 compares how much v has changed since training started, not v itself."""
    tied_lists: Literal["keep", "drop"] = "keep"
    """Whether lists in which nothing ranks above another stay, for what they have to imitate. Both are counted."""

    @model_validator(mode="after")
    def _one_loss(self) -> Train:
        if self.loss != "margin" and self.convention != "paper":
            raise ValueError(f"convention: {self.convention} belongs to loss: margin, not to {self.loss}")
        if self.beta is not None and self.loss not in BETAS:
            raise ValueError(f"beta belongs to {', '.join(BETAS)}, not to loss: {self.loss}")
        if self.loss == "none" and self.mle_weight == 0:
            raise ValueError("loss: none with mle_weight: 0 leaves nothing to learn")
        if self.min_imitated_score is not None and (self.imitate or "reference") == "reference" and self.loss != "rrhf":
            raise ValueError("min_imitated_score belongs to imitate: best and imitate: reference_or_best")
        of_the_paper = self.loss == "margin" and self.convention == "paper"
        for name, usual in (("margin_from", "rank"), ("anchor", "none")):
            if getattr(self, name) != usual and not of_the_paper:
                raise ValueError(f"{name}: {getattr(self, name)} belongs to loss: margin with convention: paper")
        return self


class Proxy(FromLists):
    """Train a small model to rank as a judge does (the PRM of section 3): a head that gives every response a score,
    and the likelihood of the judge's order under these scores (ListMLE)."""

    produces: ClassVar[Produces] = "proxy"
    kind: Literal["proxy"] = "proxy"
    held_out: float = Field(0.1, ge=0, lt=1)
    """Share of the instructions whose lists are not trained on: they show how far the proxy agrees with the judge. 0
    keeps none."""
    held_out_rankings: Lists | None = None
    """Other ranked lists to show it on, in place of a share; those of an instruction that stands in them are not
    trained on."""


class Ppo(Settings):
    """Knobs of PPO alone. Defaults are AlpacaFarm's."""

    rollout_size: int = Field(512, ge=1)
    """Responses written before anything is learned from them, one for each instruction."""
    epochs_per_rollout: int = Field(2, ge=1)
    """Passes over each roll-out."""
    warmup_rollouts: int = Field(5, ge=0)
    """Roll-outs in which the learning rate rises; it then falls linearly to 0. (What AlpacaFarm calls a step is a
    roll-out.)"""
    clip: float = Field(0.2, gt=0)
    """How far the ratio of new to old probabilities of a token may leave 1."""
    value_clip: float = Field(0.2, gt=0)
    """How far the value of a token may leave the old one."""
    value_weight: float = Field(0.1, ge=0)
    """Weight of the value model's loss."""
    gamma: float = Field(1.0, gt=0, le=1)
    """Discount of later rewards."""
    gae_lambda: float = Field(1.0, ge=0, le=1)
    """Lambda of generalized advantage estimation."""
    whiten_rewards: bool = True
    """Scale the rewards of a roll-out to variance 1; their mean stays."""
    missing_end_reward: float | None = -1.0
    """Reward of a response that has no end token, in place of the proxy's; null keeps the proxy's. AlpacaFarm's code
    has the same number, but its script does not turn it on."""
    max_prompt_tokens: int = Field(192, ge=1)
    """Instructions with more tokens are left out, and counted."""
    adam_epsilon: float = Field(1e-5, gt=0)
    """Epsilon of AdamW."""
    max_grad_norm: float = Field(1.0, gt=0)
    """Gradients of policy and value model together are clipped to this norm."""
    sequences_at_once: int = Field(2, ge=1)
    """Sequences in a forward pass with gradients; the result does not depend on it."""


FOR_PPO = {"num_responses": 1, "max_new_tokens": 300, "kl_weight": 0.0067, "learning_rate": 1e-5, "batch_size": 256}
"""Defaults of `method: ppo` that differ. AlpacaFarm's script has learning rate 3e-6 and KL weight 0.02 in an earlier
commit (04d479f), 1e-5 and 0.0067 in its last (7f53055); 0.02 is also what it gives for people's preferences."""


class Reinforce(Stage, Prompting):
    """Reinforcement learning against a proxy (extra `baselines`): a baseline for training on lists."""

    produces: ClassVar[Produces] = "model"
    kind: Literal["rl"] = "rl"
    start: ModelSource
    """The model to start from, and to stay near to."""
    reward: ProxySource
    """A stage that trains a proxy, or a model that scores responses."""
    data: Data
    """Instructions to answer."""
    method: Literal["rloo", "grpo", "ppo"] = "rloo"
    """`rloo`: REINFORCE with the other responses as the baseline; `grpo`: advantages in units of their deviation (both
    by TRL); `ppo`: a value model as the baseline, and clipped steps (AlpacaFarm's, for PPO-sim)."""
    ppo: Ppo = Field(default_factory=Ppo)
    """What `ppo` alone reads."""
    num_responses: int = Field(4, ge=1)
    """Responses drawn to each instruction; 2 or more for `rloo` and `grpo`, 1 for `ppo`."""
    max_new_tokens: int = Field(256, ge=1)
    """A response is cut after so many tokens; 300 for `ppo`."""
    temperature: float = Field(1.0, gt=0)
    """At which responses are drawn."""
    kl_weight: float = Field(0.05, ge=0)
    """Weight of the divergence from the start; 0.0067 for `ppo`."""
    learning_rate: float = Field(1e-6, ge=0)
    """Peak learning rate of AdamW; 1e-5 for `ppo`."""
    batch_size: int = Field(32, ge=1)
    """Instructions per optimizer step and process; 256 for `ppo`."""
    epochs: float = Field(1.0, gt=0)
    """Passes over the instructions."""
    max_steps: int = Field(-1, ge=-1)
    """Stop after so many optimizer steps; -1 goes by `epochs`."""
    precision: Literal["auto", "fp32", "bf16"] = "auto"
    """`auto` is bf16 autocast over fp32 weights on GPUs that compute it, and fp32 on CPUs."""

    @model_validator(mode="before")
    @classmethod
    def _defaults_of_the_method(cls, value: Any) -> Any:
        return {**FOR_PPO, **value} if isinstance(value, dict) and value.get("method") == "ppo" else value

    @model_validator(mode="after")
    def _responses_to_compare(self) -> Reinforce:
        if (self.method == "ppo") != (self.num_responses == 1):
            raise ValueError(f"num_responses must be {'1' if self.method == 'ppo' else '2 or more'} for {self.method}")
        return self
