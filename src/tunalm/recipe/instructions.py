"""Settings of the stage that writes new instructions (Self-Instruct, Wang et al. 2022, arXiv:2212.10560)."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field, field_validator, model_validator

from tunalm.recipe.base import Data, Produces, Stage
from tunalm.recipe.engines import EngineSettings, spelled_out

BLOCKED_WORDS = ["image", "images", "graph", "graphs", "picture", "pictures", "file", "files", "map", "maps"]
BLOCKED_WORDS += ["draw", "plot", "go to"]
NotEmpty = Annotated[str, Field(min_length=1)]


class Instruct(Stage):
    """Let a model write new instructions like those of people, with inputs and outputs (Self-Instruct). Numbers are the
    published ones."""

    produces: ClassVar[Produces] = "instructions"
    kind: Literal["instruct"] = "instruct"
    engine: EngineSettings
    """Who writes. A base model (`template: raw`, or a server with `protocol: completions`) continues a list, any other
    is asked to. A plain string is a model in this process."""
    seeds: Data
    """People's tasks: rows `{instruction, instances: [{input, output}], is_classification}` (`seed_tasks.jsonl`).
    `--limit` takes all of them, and fewer new instructions."""
    num_instructions: int = Field(100, ge=1)
    """Instructions to keep; 50,000 were asked for in the publication."""
    max_requests: int | None = Field(None, ge=1)
    """Most replies with new instructions, usable or not, rounded up to whole rounds; null is as many as
    `num_instructions`. The stage then ends with fewer instructions."""
    people_examples: int = Field(6, ge=1)
    """Instructions of people in each prompt, and more while the model has not written enough."""
    machine_examples: int = Field(2, ge=0)
    """Instructions of the model's own in each prompt. After 8 examples, 7 new ones are taken from a reply."""
    requests_per_round: int = Field(5, ge=1)
    """Prompts that are made before any of their replies is read. More are faster on a server, and see fewer of the
    model's own instructions."""
    temperature: float = Field(0.7, ge=0)
    """Temperature of new instructions; their classes, inputs and outputs are written greedily."""
    top_p: float = Field(0.5, gt=0, le=1)
    """Share of the probability that new instructions are drawn from."""
    presence_penalty: float = Field(2.0, ge=-2, le=2)
    """Against repetition in new instructions: taken off the logits of tokens that were written already."""
    max_new_tokens: int = Field(1024, ge=1)
    """Room for a list of new instructions; a list that is cut is not used."""
    max_rouge_l: float = Field(0.7, gt=0, le=1)
    """Leave out an instruction whose ROUGE-L F1 with one of the seeds, or one kept before, reaches this."""
    rouge_tokenizer: Literal["rouge", "unicode"] = "rouge"
    """What words are. `rouge`: a-z and 0-9, stemmed; an instruction must begin with an ASCII character, and its length
    is counted by spaces, as published. `unicode`: for every other script; each character of a script without spaces is
    a word, also where length is counted."""
    min_words: int = Field(4, ge=1)
    """Leave out an instruction with fewer words."""
    max_words: int = Field(150, ge=1)
    """Leave out an instruction with more words."""
    blocked_words: list[NotEmpty] = Field(default_factory=BLOCKED_WORDS.copy)
    """Leave out an instruction with one of these words in it, in any case: tasks that a model of text cannot do."""
    blocked_starts: list[NotEmpty] = Field(default_factory=["Write a program"].copy)
    """Leave out an instruction that begins like this."""
    classification: bool = True
    """Ask whether each instruction is a classification; if it is, labels are written before their inputs, so that not
    all inputs have the same label. false: inputs always come first."""
    yes_examples: int = Field(12, ge=1)
    """Seeds that are classifications, in the prompt of that question."""
    no_examples: int = Field(19, ge=1)
    """Seeds that are not, likewise."""
    label_tokens: int = Field(3, ge=1)
    """Room for the answer to that question; a model that thinks first needs more."""
    input_first_examples: int = Field(11, ge=1)
    """Seeds with input and output in a prompt for inputs and outputs (published: 11 fixed tasks). With 1,000 tokens of
    context, take 4."""
    label_first_examples: int = Field(16, ge=1)
    """The same for classifications (published: 16 fixed tasks)."""
    max_instances: int = Field(5, ge=0)
    """Inputs and outputs kept for one instruction, each a row. 0 writes instructions alone, for a teacher to answer."""
    instance_presence_penalty: float = Field(1.5, ge=-2, le=2)
    """The same as `presence_penalty`, for inputs and outputs."""
    max_instance_tokens: int = Field(350, ge=1)
    """Room for the inputs and outputs of one instruction (published: 300 for classifications); the last one is dropped
    if it is cut."""
    include_seeds: bool = True
    """Add the seeds as rows behind the new ones."""

    _short = field_validator("engine", mode="before")(spelled_out)

    @model_validator(mode="after")
    def _some_length(self) -> Instruct:
        if self.min_words > self.max_words:
            raise ValueError(f"min_words ({self.min_words}) is more than max_words ({self.max_words})")
        return self
