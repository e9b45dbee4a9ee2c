"""Settings of the stages that make ranked lists: responses, and their order."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

from pydantic import Field, field_validator, model_validator

from tunalm.errors import did_you_mean
from tunalm.extensions import is_object, object_identity
from tunalm.recipe.base import Data, Produces, Prompting, ProxySource, ResponsesSource, Settings, Sliced, Stage
from tunalm.recipe.engines import EngineSettings, spelled_out


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
    """Temperature of the first draw of each response."""
    max_new_tokens: int = Field(256, ge=1)
    """A response is cut after this many tokens and marked as cut (`finish_reason: length`)."""
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
    """Worked examples before each instruction: other rows with a reference, of the same task where one is given, also
    from beyond `limit`. A model is a better teacher with them than without."""

    _short = field_validator("engine", mode="before")(spelled_out)


RANKERS = {
    "likelihood": "tunalm.ranking.likelihood:LikelihoodRanker",
    "judge": "tunalm.ranking.judge.ranker:JudgeRanker",
    "proxy": "tunalm.ranking.proxy:ProxyRanker",
    "simulated": "tunalm.ranking.simulated:SimulatedRanker",
    "verifier": "tunalm.ranking.verifier:VerifierRanker",
}
"""`by` in a recipe -> module:class; one row adds a ranker. The module is imported when the stage runs, not before."""


class SimulatedJudge(Settings):
    """One judge of a pool that stands for people."""

    engine: EngineSettings
    """Who answers."""
    style: Literal["plain", "strict", "helpful", "detailed", "brief"] = "plain"
    """Which of the shipped prompts it gets."""
    prompt: str | None = None
    """A prompt of your own in place of that of `style`."""
    temperature: float = Field(1.0, ge=0)
    """Temperature of its answers."""

    _short = field_validator("engine", mode="before")(spelled_out)


class Rank(Stage, Sliced, Prompting):
    """Order the responses of each list, best first, ties allowed. `template` is that of a proxy (`by: proxy`)."""

    produces: ClassVar[Produces] = "rankings"
    kind: Literal["rank"] = "rank"
    by: str
    """`likelihood`: Eq. 3 (section 2.2); `judge`: a model scores them in context (section 2.3); `proxy`: a small model
    that has learned from a judge scores them; `verifier`: a program checks them; `simulated`: a pool of judges stands
    for people (AlpacaFarm); or a ranker of your own, as FILE.py:NAME or package.module:NAME."""
    options: dict[str, Any] = Field(default_factory=dict)
    """What a ranker of your own is told; it checks them itself."""
    responses: ResponsesSource
    """A stage that samples, or a file of its rows."""
    length_penalty: float = Field(1.3, ge=0, le=10)
    """beta of Eq. 3 (`by: likelihood`)."""
    length_unit: Literal["tokens", "characters"] = "tokens"
    """What Eq. 3 counts as the length of a response (`by: likelihood`)."""
    engine: EngineSettings | None = None
    """The judge (`by: judge`, `fallback: judge`), or a teacher whose log-probabilities replace those that were kept
    when the responses were sampled (`by: likelihood`)."""
    model: ProxySource | None = None
    """A stage of kind proxy, or the folder or hub id of a model that scores responses (`by: proxy`)."""
    rank_reference: bool = False
    """Score the reference too and add it to its list as one more candidate of Eq. 4; Eq. 6 still learns it (`by:
    likelihood` with an engine)."""
    verifier: str | None = None
    """FILE.py:FUNCTION or package.module:FUNCTION, a checker of your own: FUNCTION(instruction, text) returns a number
    from 0 to 1, or a bool. null takes the checkers that came with the instructions (`by: verifier`, `veto:
    verifier`)."""
    verifier_timeout: float | None = Field(10.0, ge=0.01)
    """Seconds that a checker of your own may take for one response, imports not counted; a response that takes longer
    is not ranked. null sets no limit. It interrupts Python code, not a library that stays in its own code, on Unix
    only."""
    veto: Literal["verifier"] | None = None
    """Put every response that the verifier finds wrong below all that it finds right; the order within both groups
    stays."""
    veto_below: float = Field(1.0, gt=0, le=1)
    """A response is wrong if the verifier's score is less than this (`veto: verifier`)."""
    fallback: Literal["judge"] | None = None
    """Ask the judge about the lists of which the ranker is not sure (`by: proxy`, or one of your own)."""
    min_confidence: float = Field(0.8, ge=0, le=1)
    """Lists of which the ranker is less sure than this go to the judge: its probability that the response ranked first
    is the best (`fallback: judge`)."""
    protocol: Literal["audited", "paper"] = "audited"
    """How a judge is asked. `audited`: in several orders, for evidence and marks as JSON, which are added up and
    averaged here; ties are kept. `paper`: once, with the steps and criteria of the paper alone, for the order
    itself."""
    num_orders: int = Field(4, ge=1)
    """Calls per list, each with the responses in another order; with a multiple of the length of the list, every
    response stands in every place equally often (`protocol: audited`)."""
    min_agreement: float | None = Field(None, ge=0, le=1)
    """Lists on which the orders agree less than this (Kendall's W) are treated as `low_agreement` says; null accepts
    every list. Unrelated orders have a W of about 0.5 if they are two, 0.25 if they are four."""
    low_agreement: Literal["drop", "weigh", "keep"] = "drop"
    """`drop` fails such a list, `weigh` makes its W the weight of its ranking loss, `keep` only counts it."""
    canaries: float = Field(0.01, ge=0, le=1)
    """Share of the lists that are used for one more call, which tests the judge: one response beside the others is
    certainly the worst, or stands there twice. The result is in the report and does not change the ranks."""
    max_new_tokens: int = Field(1024, ge=1)
    """Room for the judge's reply (`by: judge`, `by: simulated`)."""
    pool: list[SimulatedJudge] = Field(default_factory=list)
    """The judges of `by: simulated`; each pair is shown to one of them."""
    flip: float = Field(0.25, ge=0, le=1)
    """Probability that the label of a pair is turned round, as people's noise (`by: simulated`)."""

    _short = field_validator("engine", mode="before")(spelled_out)

    @field_validator("by")
    @classmethod
    def _known(cls, value: str) -> str:
        if value not in RANKERS and not is_object(value):
            raise ValueError(f"no ranker has this name. {did_you_mean(value, RANKERS)} One of your own is FILE.py:NAME")
        return value

    @model_validator(mode="after")
    def _judge_needs_engine(self) -> Rank:
        asks = "by: judge" if self.by == "judge" else "fallback: judge" if self.fallback else None
        if asks and self.engine is None:
            raise ValueError(f"{asks} needs an engine, for instance engine: {{base_url: ..., model: ...}}")
        return self

    @model_validator(mode="after")
    def _knobs_that_go_together(self) -> Rank:
        if self.rank_reference and (self.by != "likelihood" or self.engine is None):
            raise ValueError("rank_reference needs by: likelihood and an engine, which scores the reference")
        if self.verifier is not None and self.by != "verifier" and self.veto is None:
            raise ValueError("verifier is read by by: verifier and by veto: verifier; this stage has neither")
        if self.min_agreement is not None and (self.protocol == "paper" or self.num_orders == 1):
            raise ValueError("min_agreement needs protocol: audited with two orders or more, which can agree")
        if self.veto is not None and self.by == "verifier":
            raise ValueError("veto: verifier adds nothing to by: verifier")
        if self.fallback is not None and not (self.by == "proxy" or is_object(self.by)):
            raise ValueError(f"fallback needs a ranker that says how sure it is (by: proxy), not by: {self.by}")
        if self.by != "proxy" and (self.template or self.template_args):
            raise ValueError(f"template is that of a proxy (by: proxy); by: {self.by} has none")
        if (self.by == "simulated") != bool(self.pool):
            raise ValueError("by: simulated and pool: [{engine: ...}, ...] go together")
        if (self.by == "proxy") != (self.model is not None):
            raise ValueError("by: proxy and model: ... go together")
        if self.options and not is_object(self.by):
            raise ValueError(f"options are for a ranker of your own (by: FILE.py:NAME), not for by: {self.by}")
        return self

    def identities(self) -> list[str]:
        """Names the user's own code that the stage runs, with its content; nothing of it is run.

        Raises:
            RecipeError: it cannot be used.
        """
        own = [object_identity(self.by, "by")] if is_object(self.by) else []
        return own if self.verifier is None else [*own, object_identity(self.verifier, "verifier")]
