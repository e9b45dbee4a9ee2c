"""All that crosses a border between stages or lies in a file of a run, and nothing else.

    instructions (Instruction) --sample, rank--> lists (Ranking of Responses) --train--> a model
    answers (Prediction) --score--> Verdict --compare--> results.json (EvaluationResults)
    stage.json (StageState), metrics.jsonl (TrainingStep), manifest.json (Manifest): how each came to be

A file of rows is JSONL, one record a line. `Ranking` is the contract row of the whole project: sampling writes it with
empty ranks, ranking fills them in, training reads it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

UNKNOWN = "unknown: "
"""How a `failure` begins when a request was sent and nobody knows what became of it."""


class Record(BaseModel):
    """Base of all rows. Unknown fields of a user's file are kept, so that a row survives a round trip."""

    model_config = ConfigDict(extra="allow")


class Message(Record):
    """One turn of a conversation. `input` is the optional second part of an Alpaca instruction."""

    role: Literal["system", "user", "assistant"]
    content: str
    input: str = ""

    @property
    def text(self) -> str:
        """The turn as plain text: the content, then the input if there is one."""
        return f"{self.content}\n\n{self.input}" if self.input else self.content


class Instruction(Record):
    """Something to do (i in the paper), with the response that came with the data (r in the paper)."""

    id: str
    instruction: str
    input: str = ""
    reference: str | None = None
    history: list[Message] = Field(default_factory=list)
    """Earlier turns, the system message included; empty for a single-turn instruction."""
    task: str | None = None
    """Family or category; demonstrations are drawn from the same one, scores are broken down by it."""
    checker: dict[str, Any] | None = None
    """Name and parameters of the programmatic checker that decides whether a response is right."""

    def messages(self) -> list[Message]:
        """The conversation up to, and without, the response."""
        return [*self.history, Message(role="user", content=self.instruction, input=self.input)]

    def with_responses(self, responses: Sequence[Response]) -> Ranking:
        """This instruction with candidate responses, as a list that is not ranked; fields of the user's are kept."""
        return Ranking.model_validate({**self.model_dump(exclude=_OF_ONE_RANKING), "responses": list(responses)})


class Response(Record):
    """One candidate response (r_k in the paper) with everything known about how it came to be."""

    text: str
    rank: int | None = Field(None, ge=0, le=1_000_000)
    """0 is best, equal numbers are ties, None is not ranked (an absent candidate: it has no pairs)."""
    score: float | None = None
    model: str = ""
    logprob: float | None = None
    """log p(response | instruction) under the model that sampled it, at temperature 1, in nats."""
    num_tokens: int | None = None
    """Tokens of that model, the end-of-response token included when it was sampled."""
    token_logprobs: list[float] | None = None
    reasoning: str | None = None
    """What a reasoning model thought before it answered; no part of `text`, never ranked or compared."""
    finish_reason: str | None = None
    """`stop` (the model ended the response) or `length` (cut at the token limit)."""
    temperature: float | None = None
    seed: int | None = None
    attempts: int | None = None
    """How many draws this slot took under the diversity rule (1 to 3)."""
    max_rouge_l: float | None = None
    """Largest ROUGE-L F1 (0-1) with another response of the same list."""
    failure: str | None = None
    """Why there is no usable text; a failed response is kept, counted and never ranked."""

    @property
    def is_usable(self) -> bool:
        """Whether the response can be ranked and learned: a failed or empty one cannot."""
        return self.failure is None and bool(self.text.strip())


class Ranking(Instruction):
    """An instruction with its candidate responses: the row that `sample` writes and `train` reads.

    It is not ranked (see `ranked`) until a ranker, or the user, has given its responses ranks.
    """

    responses: list[Response]
    ranked_by: str | None = None
    weight: float | None = Field(None, ge=0, allow_inf_nan=False)
    """Of the ranking loss of this list; null is 1. The reference is learned all the same."""
    judgement: dict[str, Any] | None = None
    """What the ranker said beside the ranks (a judge's own reference and criterion scores); never trained on."""
    failure: str | None = None
    """Why the list could not be ranked; its responses then have no rank."""

    @property
    def ranked(self) -> bool:
        """Whether the responses have been put in order: False for what `sample` gives and for a list that failed."""
        return any(response.rank is not None for response in self.responses)

    def with_dense_ranks(self) -> Ranking:
        """The same list without rank for a failed or empty response, and without gaps between ranks (0, 1, 2, ...).

        The margin of Eq. 5 grows with the difference of ranks, so ranks 10 and 70 must not stay as they are.
        """
        ranks = sorted({each.rank for each in self.responses if each.rank is not None and each.is_usable})
        dense = {rank: place for place, rank in enumerate(ranks)}
        if all(each.rank is None or (each.is_usable and dense[each.rank] == each.rank) for each in self.responses):
            return self
        responses = [
            each.model_copy(update={"rank": dense.get(each.rank) if each.is_usable and each.rank is not None else None})
            for each in self.responses
        ]
        return self.model_copy(update={"responses": responses})


_OF_ONE_RANKING = {"responses", "ranked_by", "judgement", "failure"}
"""Fields of a list that speak of its own responses, also where they stand in a row that is read as an instruction."""


class Prediction(Record):
    """A model's answer to one instruction of a benchmark, or a text that was given to it, before anything is scored."""

    id: str
    benchmark: str
    model: str
    instruction: str = ""
    """What was asked: the last turn, for people who read the file or the report."""
    prediction: str
    sample: int | None = None
    """Which of several draws, or of the responses of a list, from 0; None is the one greedy answer."""
    logprob: float | None = None
    """log p(prediction | instruction) under the model, at temperature 1, in nats, where it was asked for."""
    references: list[str] = Field(default_factory=list)
    task: str | None = None
    checker: dict[str, Any] | None = None
    prompt_sha256: str = ""
    finish_reason: str | None = None
    """`length`: the answer was cut."""
    num_tokens: int | None = None
    prompt_tokens: int | None = None
    num_examples: int | None = None
    """Worked examples that the prompt had room for, where the benchmark shows any."""
    template: str | None = None
    """What was put around the question, where the benchmark leaves a choice."""
    prompt_cut: bool = False
    """The prompt was too long for the benchmark and lost its end."""
    weight: float | None = None
    """Of the row in the mean of its benchmark, if not all are equal; 1 on average."""
    failure: str | None = None


PLAIN_METRICS = frozenset({"tau", "nats_per_token", "kl_per_token", "kl_per_response"})
"""Metrics that are told as they are, and not as 0-100; they have no worst value, so a failure is left out of them."""


class Verdict(Record):
    """What one instruction adds to one measure of a model: 0-1, or as it is (`PLAIN_METRICS`)."""

    id: str
    benchmark: str
    model: str
    metric: str
    score: float | None = None
    weight: float | None = None
    """Of the row in the mean of its benchmark, if not all are equal; 1 on average."""
    task: str | None = None
    failure: str | None = None
    unjudged: bool = False
    """It is left out of the mean: a judge could not be brought to compare the answer, or nothing can be measured."""


Interval = tuple[float, float]
"""Both ends of a 95 % interval."""


class Estimate(Record):
    """A figure with its 95 % interval over the rows or lists that it is from."""

    value: float | None = None
    ci95: Interval | None = None


class TaskMean(Record):
    """The mean over the instructions of one task, 0-100."""

    value: float | None
    n: int


class Result(Record):
    """One measure of one model on one benchmark; values are 0-100, or as they are (`PLAIN_METRICS`)."""

    metric: str
    value: float | None
    """Mean over the instructions; None if none could be scored."""
    stderr: float | None = None
    ci95: Interval | None = None
    """Bootstrap interval over the instructions; None where resampling says nothing."""
    n: int
    """Instructions in the mean, with those that the model failed to answer (as 0), without those not judged."""
    failed: int = 0
    unjudged: int = 0
    """Answers that a judge could not be brought to compare, and rows on which nothing could be measured."""
    by_task: dict[str, TaskMean] = Field(default_factory=dict)
    mean_tokens: float | None = None
    cut: float | None = None
    """Share (0-1) of the answers that reached the token limit."""
    template: str = ""
    """How the model was asked: its template if one was named, or the protocol of its server."""
    note: str = ""
    """How the questions were asked and how many: what the value must not be quoted without."""
    totals: dict[str, Any] = Field(default_factory=dict)
    """What the benchmark's own scorer totals, by name, with standard errors as `NAME_stderr`."""
    headline: str = ""
    """The total that the benchmark is quoted by, if it is another than the metric."""
    curve: dict[str, Estimate] = Field(default_factory=dict)
    """The metric over something else, such as the number of samples, by its values."""
    curve_over: str = ""
    """What that is."""

    @property
    def official_totals(self) -> dict[str, float]:
        """Numbers among the totals, without their standard errors."""
        totals = self.totals.items()
        return {name: value for name, value in totals if isinstance(value, float) and not name.endswith("_stderr")}

    @property
    def headline_interval(self) -> Interval | None:
        """Normal 95 % interval of the headline total, from its standard error."""
        value, error = self.totals.get(self.headline), self.totals.get(f"{self.headline}_stderr")
        return None if value is None or error is None else (value - 1.96 * error, value + 1.96 * error)


class ModelResults(Record):
    """One model of an evaluation."""

    identity: str
    """The model and its version."""
    results: dict[str, Result]
    """By benchmark; where one has several measures, the others are `BENCHMARK: METRIC`."""


class Difference(Record):
    """Two models on the same instructions of one benchmark; differences are in the unit of the metric."""

    benchmark: str
    model: str
    against: str
    metric: str
    difference: float | None = None
    """Mean of `model` less that of `against`; None where no instruction has a score of both."""
    ci95: Interval | None = None
    p_value: float = 1.0
    """Paired permutation test."""
    p_holm: float = 1.0
    """Corrected for all comparisons of the evaluation."""
    wins: int = 0
    losses: int = 0
    ties: int = 0


class EvaluationKnobs(Record):
    """How the numbers of an evaluation were made."""

    bootstrap_samples: int
    seed: int
    max_new_tokens: int


class EvaluationResults(Record):
    """results.json: every model on every benchmark, and pairs of models compared."""

    schema_version: Literal[1] = 1
    baseline: str
    """Model that the others are compared with first of all."""
    models: dict[str, ModelResults]
    comparisons: list[Difference]
    settings: EvaluationKnobs

    @property
    def benchmarks(self) -> list[str]:
        """Names of the benchmarks and their measures, in the order of the evaluation."""
        return list(self.models[self.baseline].results)

    def on(self, benchmark: str) -> dict[str, Result]:
        """What the models reach on one benchmark, by model."""
        return {name: model.results[benchmark] for name, model in self.models.items()}


class CallAccount(Record):
    """What a stage has asked of one engine, and what that has cost."""

    answered: int
    """Requests that were answered anew."""
    from_ledger: int = 0
    """Requests that had been answered before the stage began."""
    unknown: int = 0
    """Requests that were sent, and nobody knows whether they were answered, and paid for."""
    calls: int
    prompt_tokens: int
    completion_tokens: int
    cached_tokens: int = 0
    """Of the prompt tokens, those that the server had in its cache."""
    reasoning_tokens: int = 0
    """Of the completion tokens, those of thoughts."""
    cost: float | None
    """Dollars; None if a price is not known."""
    unpriced: int = 0
    """Calls whose price is not known."""


class Product(Record):
    """A file that a stage made, as it was when the stage finished."""

    size: int
    """Bytes."""
    mtime_ns: int
    """When it was written, in nanoseconds since 1970."""
    sha256: str


class StageState(Record):
    """stage.json: how far a stage is, and what it counted: requested = ok + failed + unknown."""

    status: Literal["not run", "running", "done"] = "not run"
    fingerprint: str = ""
    """Hash of the settings and of all that the stage reads."""
    revision: int = 0
    """How often the stage has changed what it had made, with the same settings."""
    kind: str = ""
    requested: int | None = None
    ok: int | None = None
    failed: int = 0
    unknown: int = 0
    seconds: float | None = None
    finished: str | None = None
    details: dict[str, Any] = Field(default_factory=dict)
    """What else the stage found out, by name."""
    edited: list[str] = Field(default_factory=list)
    """Products that somebody changed by hand after the stage had made them."""
    accounts: dict[str, CallAccount] | None = None
    """While it runs: what the ledger said when it began."""
    reopened: str | None = None
    """While it runs again: a hash of what it had made before."""
    products: dict[str, Product] = Field(default_factory=dict)
    """What it made, by name in its folder."""

    @property
    def done(self) -> bool:
        """Whether the stage has finished."""
        return self.status == "done"


class ReplyCounts(Record):
    """Replies of a judge, those to canaries left out."""

    asked: int
    valid: int
    salvaged: int
    """Valid ones of which only a part could be read as it should be."""


class CanaryCounts(Record):
    """Lists with a planted response, of one kind."""

    shown: int = 0
    answered: int = 0
    """Valid replies."""
    passed: int = 0
    """Replies that put the canary where it belongs."""


class JudgeHealth(Record):
    """How a judge did its work on the lists of a stage."""

    protocol: str = ""
    replies: ReplyCounts
    failed_replies: dict[str, int] = Field(default_factory=dict)
    """The commonest reasons why a reply is not valid."""
    mean_agreement: float | None = None
    """Kendall's W of the orders, mean over the lists."""
    flip_rate: float | None = None
    """Share of the pairs that change places with the order of presentation, mean over the lists."""
    mean_score_by_position: list[float] = Field(default_factory=list)
    """Of the responses shown first, second ...; the orders are balanced, so a slope is the judge's."""
    contradictions: int = 0
    """Valid replies whose stated order is not that of their marks."""
    partial_lists: int = 0
    """Lists ranked by some of the orders only."""
    low_agreement_lists: int = 0
    degenerate: dict[str, int] = Field(default_factory=dict)
    """Responses that were not shown, by reason."""
    canaries: dict[str, CanaryCounts] = Field(default_factory=dict)
    alarms: list[str] = Field(default_factory=list)
    """What a reader must know before believing the ranks."""


class Agreement(Record):
    """How far a proxy agrees with the judge, beside two baselines."""

    proxy: Estimate = Estimate()
    length: Estimate = Estimate()
    """A ranking by length alone."""
    chance: Estimate = Estimate()
    gain: Estimate = Estimate()
    """`proxy` less `length`."""


class HeldOut(Record):
    """What a proxy reaches on judge lists that it has not seen."""

    lists: int
    left_out: int = 0
    length_prefers: str = ""
    """`longer` or `shorter`: whichever agrees better with the lists that were learned."""
    kendall_tau: Agreement | None = None
    top1: Agreement | None = None
    pair_accuracy: Agreement | None = None


class StudySystem(Record):
    """Points of a system in a human study: N + 1 - i for place i of N, averaged over raters and questions."""

    name: str
    points: float
    interval: Interval | None = None
    """95 % bootstrap interval over questions."""
    judge_points: float | None = None
    """By a judge's ranks of the same answers, if they were put beside."""


class StudyWins(Record):
    """How often one system was placed above another, over all ratings."""

    system: str
    against: str
    wins: int
    ties: int
    losses: int


class StudyScores(Record):
    """The result of a human study."""

    systems: list[StudySystem]
    wins: list[StudyWins]
    questions: int
    ratings: int
    """Finished pages, attention checks left out."""
    unfinished: int
    checks_passed: int
    checks_answered: int
    alpha: float | None = None
    """Krippendorff's ordinal alpha over places."""
    kendall_w: float | None = None
    """Mean of Kendall's W over questions with two raters or more."""
    median_seconds: float
    """For one page."""
    judged: int = 0
    """Questions on which a judge that was put beside ranks every system."""


class TrainingStep(Record):
    """One line of metrics.jsonl: an optimizer step, and the numbers that were logged after it."""

    step: int

    @property
    def metrics(self) -> dict[str, float]:
        """Numbers by name; one that is not finite stays as it is."""
        extra = self.model_extra or {}
        return {name: float(value) for name, value in extra.items() if isinstance(value, int | float)}


class Manifest(Record):
    """manifest.json: what it takes to repeat a run."""

    command: str = ""
    """As it was typed."""
    written: str = ""
    git_commit: str | None = None
    platform: str = ""
    cores: int | None = None
    versions: dict[str, str] = Field(default_factory=dict)
    seeds: dict[str, int] = Field(default_factory=dict)
