"""Settings of the stage that evaluates models."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

from pydantic import AfterValidator, Field, field_validator, model_validator

from tunalm.errors import did_you_mean
from tunalm.extensions import is_object, load_object, object_identity
from tunalm.recipe.base import Data, Lists, ModelSource, Produces, Settings, Stage
from tunalm.recipe.engines import EngineSettings, Served, spelled_out
from tunalm.store import digest, file_identity

BENCHMARKS = {
    "checkable": "tunalm.evaluation.checkable:CheckableBenchmark",
    "drift": "tunalm.evaluation.drift:DriftBenchmark",
    "lists": "tunalm.evaluation.lists:ListsBenchmark",
    "lmentry": "tunalm.evaluation.lmentry.benchmark:LMentryBenchmark",
    "pairwise": "tunalm.evaluation.pairwise.benchmark:PairwiseBenchmark",
    "reference": "tunalm.evaluation.reference:ReferenceBenchmark",
    "superni": "tunalm.evaluation.superni.benchmark:SuperNIBenchmark",
    "text": "tunalm.evaluation.text:TextBenchmark",
    "vicuna": "tunalm.evaluation.pairwise.benchmark:PairwiseBenchmark",
}
"""`name` in a recipe -> module:class; one row adds a benchmark. The module is imported when it is opened."""
GRADED = frozenset({"drift", "lists", "pairwise", "reference", "superni", "text", "vicuna"})
"""Benchmarks whose answers are not simply right or wrong."""


class BenchmarkSettings(Settings):
    """One benchmark of an evaluation. A plain string is the `name`, or `name:data`, as in `checkable:heldout`."""

    name: str
    """`checkable`: share of responses that the built-in checkers accept; `reference`: ROUGE-L with the references;
    `superni` and `lmentry`: the published benchmarks, scored as published; `vicuna` and, for any other questions,
    `pairwise`: a judge compares the answers with those of another model; `lists`: whether a model finds the better
    responses of ranked lists likelier; `text`: how likely it finds given texts; `drift`: how far it is from the model
    that it began as; or a benchmark of your own, as FILE.py:NAME or package.module:NAME."""
    options: dict[str, Any] = Field(default_factory=dict)
    """What a benchmark of your own is told; it checks them itself."""
    title: str | None = Field(None, pattern=r"^[A-Za-z0-9][A-Za-z0-9 ._-]*$")
    """What it is called in tables; null is `name`, or what follows its colon. Two with the same name need it."""
    data: Data | None = None
    """Held-out instructions; `checkable` and `drift` have their own, `checkable:heldout`. For `superni` and `lmentry` a
    clone of their repository or a folder with its data; `limit` then takes rows from all tasks in turn. For `text`
    instructions with references, which are scored, or rows {text: ...}."""
    rankings: Lists | None = None
    """Held-out ranked lists (`lists`): a stage that ranks, or a file of its rows. All models score the same
    responses."""
    samples: int = Field(0, ge=0)
    """Responses that a model draws to each instruction, beside its greedy answer. Of those of a benchmark whose answers
    are right or wrong, `pass@1`, `pass@k` and `likeliest@k` are told; `drift` draws one, or so many."""
    k: int | None = Field(None, ge=1)
    """k of `pass@k`, the chance that one of k samples is right, and of `likeliest@k`, the chance that the one that the
    model itself finds likeliest is; null is `samples`. Both are unbiased for any k up to that."""
    temperature: float = Field(1.0, gt=0)
    """Of `samples`; `drift` needs 1."""
    logprobs: bool = True
    """Ask for the log-probabilities of samples, which `likeliest@k` needs; false leaves it out, for a server that gives
    none."""
    length_penalty: float = Field(1.0, ge=0, le=10)
    """How likely a response is in `likeliest@k` and `lists`: its log-probability over its tokens to this power. 1 is v
    of Eq. 4, which ranking trains; 1.3 is Eq. 3 of the paper."""
    start: EngineSettings | None = None
    """The model that `drift` measures the distance to, for instance the one that all others were trained from."""
    encoding: Literal["instruction", "tk-instruct"] = "instruction"
    """How a question of `superni` is written: `instruction` gives every model definition, examples and input in its own
    template; `tk-instruct` gives all models the published prompt as plain text. A model with `template: raw` is asked
    with that prompt in either case."""
    shots: int = Field(0, ge=0)
    """Worked examples in front of each question of `superni`."""
    tokenizer: ModelSource | None = None
    """Model whose tokens `max_prompt_tokens` counts; null leaves prompts of any length whole."""
    max_prompt_tokens: int = Field(1024, ge=16)
    """Worked examples are left out while the published prompt of `superni` has more tokens. One that has more without
    any is cut with `encoding: tk-instruct`, as published, and else stays whole."""
    max_new_tokens: int | None = Field(None, ge=1)
    """Longest answer to this benchmark; null takes that of the evaluation, 128 for `superni`, 50 for `lmentry`, 1024
    for `vicuna`."""
    rouge_tokenizer: Literal["rouge", "unicode"] = "rouge"
    """Words of `reference`: `rouge` keeps a-z and 0-9 and stems, as published; `unicode` is for every other script."""
    judge: EngineSettings | None = None
    """Who compares the answers (`vicuna`, `pairwise`)."""
    against: str | None = None
    """Whose answers those of every model are compared with (`vicuna`, `pairwise`): another model of the evaluation, the
    first of several if null, or a file of stored answers, `FILE` or `FILE#MODEL`."""
    mode: Literal["sound", "paper"] = "sound"
    """How the judge of `vicuna` and `pairwise` is asked: in both orders for one of three verdicts, with a right answer
    for mathematics and code, or as published, once, for two scores on the first line."""
    right_answers: str | None = None
    """File of right answers that the judge of `vicuna` and `pairwise` is shown, `FILE` or `FILE#MODEL`."""
    max_review_tokens: int = Field(1024, ge=16)
    """Longest reply of that judge."""

    _engine = field_validator("judge", "start", mode="before")(spelled_out)

    @model_validator(mode="before")
    @classmethod
    def _short(cls, value: Any) -> Any:
        if isinstance(value, str):
            name, _, data = value.partition(":")
            own = data and name in BENCHMARKS
            key = "rankings" if name == "lists" else "data"
            value = {"name": name, key: value if name == "checkable" else data} if own else {"name": value}
        if isinstance(value, dict) and value.get("name") in ("checkable", "drift"):
            value = {"data": "checkable:heldout", **value}
        if isinstance(value, dict) and value.get("name") == "drift":
            value = {"samples": 1, **value}
        if isinstance(value, dict) and "template" in value:
            raise ValueError(
                "a template belongs to a model, not to a benchmark: models: {name: {model: ..., template: raw}}."
                " The published prompt of superni is encoding: tk-instruct"
            )
        return value

    @property
    def instructions(self) -> Data:
        """Its `data`, which every benchmark but `lists` has."""
        assert self.data is not None
        return self.data

    @property
    def label(self) -> str:
        """What it is called in tables and files."""
        return self.title or (self.name.rpartition(":")[2] if is_object(self.name) else self.name)

    def identities(self) -> list[str]:
        """What the questions are: the files behind a published benchmark, or one's own code.

        Raises:
            RecipeError: a benchmark of the user's own cannot be used.
        """
        if is_object(self.name):
            return [object_identity(self.name, "benchmark")]
        files = getattr(load_object(BENCHMARKS[self.name], "benchmark")(self), "files", None)
        return [] if files is None else [digest([[path.name, file_identity(path)] for path in files()])]

    @field_validator("name")
    @classmethod
    def _known(cls, value: str) -> str:
        if value not in BENCHMARKS and not is_object(value):
            near = did_you_mean(value, BENCHMARKS)
            raise ValueError(f"no benchmark has this name. {near} One of your own is FILE.py:NAME")
        return value

    @model_validator(mode="after")
    def _options_for_its_own(self) -> BenchmarkSettings:
        if self.options and not is_object(self.name):
            raise ValueError(f"options are for a benchmark of your own (name: FILE.py:NAME), not for {self.name}")
        return self

    @model_validator(mode="after")
    def _own_encoding(self) -> BenchmarkSettings:
        if self.encoding != "instruction" and self.name != "superni":
            raise ValueError(f"encoding is a setting of superni; {self.name} has none")
        return self

    @model_validator(mode="after")
    def _own_source(self) -> BenchmarkSettings:
        needed, other = ("rankings", "data") if self.name == "lists" else ("data", "rankings")
        if getattr(self, needed) is None:
            raise ValueError(f"{self.name} needs {needed}")
        if getattr(self, other) is not None:
            raise ValueError(f"{self.name} reads {needed}, not {other}")
        if (self.name == "drift") != (self.start is not None):
            raise ValueError("drift and start: MODEL, the model that the distance is measured to, go together")
        return self

    @model_validator(mode="after")
    def _samples_that_can_be_counted(self) -> BenchmarkSettings:
        if self.samples and self.name in GRADED - {"drift"}:
            raise ValueError(f"samples are for benchmarks whose answers are right or wrong, not for {self.name}")
        if self.name == "drift" and (not self.samples or self.temperature != 1 or not self.logprobs):
            raise ValueError("drift needs samples: 1 or more, at temperature: 1 and with logprobs: true")
        if self.k is not None and (self.k > self.samples or self.name == "drift"):
            raise ValueError(f"k is {self.k}: pass@k needs as many samples or more; here samples is {self.samples}")
        if not self.samples and self.temperature != 1:
            raise ValueError("temperature is that of samples, and samples is 0: the greedy answer has none")
        if self.length_penalty != 1 and (self.name == "drift" or not (self.samples or self.name == "lists")):
            raise ValueError(f"length_penalty is read by lists and with samples; {self.label} has neither")
        return self

    @model_validator(mode="after")
    def _needs_judge(self) -> BenchmarkSettings:
        if self.name in ("vicuna", "pairwise") and self.judge is None:
            raise ValueError(f"{self.name} needs a judge, for instance judge: {{base_url: ..., model: ...}}")
        return self


def _not_dots(name: str) -> str:
    if not name.strip(" .") or not name.isprintable():
        raise ValueError("must be a name that can be printed, and not of dots alone")
    return name


ModelName = Annotated[str, AfterValidator(_not_dots)]
"""What a table calls a model; it also names a folder."""


class Evaluate(Stage):
    """Let models answer held-out instructions, or score given texts, measure what they do and compare the models."""

    produces: ClassVar[Produces] = "results"
    kind: Literal["evaluate"] = "evaluate"
    models: dict[ModelName, EngineSettings]
    """Names for the table, each with its engine; the first is the one that others are compared with."""
    benchmarks: list[BenchmarkSettings]
    """What to score them on."""
    max_new_tokens: int = Field(256, ge=1)
    """Longest answer."""
    bootstrap_samples: int = Field(2000, ge=100)
    """Resamples behind each 95 % interval."""
    comparisons: Literal["all", "first"] = "all"
    """Which pairs of models are compared, and corrected for being many: `all`, or each with the `first` one alone."""

    @field_validator("models", mode="before")
    @classmethod
    def _short(cls, value: Any) -> Any:
        """A list of names is short for each name mapped to itself."""
        if isinstance(value, list):
            value = {name: name for name in value}
        return {name: spelled_out(engine) for name, engine in value.items()} if isinstance(value, dict) else value

    @field_validator("models")
    @classmethod
    def _some(cls, value: dict[str, Any]) -> dict[str, Any]:
        if not value:
            raise ValueError("models is empty: name at least one")
        return value

    @field_validator("benchmarks")
    @classmethod
    def _distinct(cls, value: list[BenchmarkSettings]) -> list[BenchmarkSettings]:
        names = [benchmark.label for benchmark in value]
        if not names or len(set(names)) < len(names):
            raise ValueError(f"benchmarks must be some whose names or titles differ, not [{', '.join(names)}]")
        return value

    @model_validator(mode="after")
    def _prompts_can_be_given(self) -> Evaluate:
        raw = [benchmark.label for benchmark in self.benchmarks if benchmark.encoding == "tk-instruct"]
        for name, engine in self.models.items():
            if raw and isinstance(engine, Served) and engine.protocol == "chat":
                raise ValueError(
                    f"the chat server of {name} cannot be given the plain prompts of {raw[0]}: leave out its encoding,"
                    " or set protocol: completions for the server"
                )
        return self

    @model_validator(mode="after")
    def _given_texts_can_be_scored(self) -> Evaluate:
        for benchmark in self.benchmarks:
            asked = {**self.models, "start": benchmark.start} if benchmark.name in ("drift", "lists", "text") else {}
            for name, engine in asked.items():
                if isinstance(engine, Served) and not (engine.kind == "endpoint" and engine.protocol == "completions"):
                    raise ValueError(
                        f"{benchmark.label} needs log-probabilities of given texts, which {name} does not give: take a"
                        " model on this machine, or kind: endpoint with protocol: completions"
                    )
        return self

    @model_validator(mode="after")
    def _against_somebody(self) -> Evaluate:
        for benchmark in self.benchmarks:
            other = benchmark.against
            if other is not None and other not in self.models and not {"/", "."} & set(other):
                raise ValueError(f"against must be one of {', '.join(self.models)}, or a file of answers, not {other}")
            if benchmark.name in ("vicuna", "pairwise") and {other or next(iter(self.models))} == self.models.keys():
                raise ValueError(
                    f"{benchmark.label} would compare the only model with itself: set its against to a file of another"
                    " model's answers (FILE or FILE#MODEL), or name a second model"
                )
        return self
