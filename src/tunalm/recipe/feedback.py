"""Settings of the stages that make ranked lists: responses, and their order."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field, field_validator, model_validator

from tunalm.recipe.base import Data, Produces, ResponsesSource, Stage
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

    _short = field_validator("engine", mode="before")(spelled_out)


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

    _short = field_validator("engine", mode="before")(spelled_out)

    @model_validator(mode="after")
    def _judge_needs_engine(self) -> Rank:
        if self.by == "judge" and self.engine is None:
            raise ValueError("by: judge needs an engine, for instance engine: {base_url: ..., model: ...}")
        return self
