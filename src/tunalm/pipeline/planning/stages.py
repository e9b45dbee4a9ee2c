"""The plan of every stage of a recipe.

Requests are made by the code of the stages themselves, so prompts are the real ones. What is not known is assumed:

* Answers that are not there yet are as long as those of the same stage that are in the ledger, else as the references
  of the data, else as `max_new_tokens` allows. The most that can come is `max_new_tokens` each.
* Tokens are counted by the model's own tokenizer where it is on this machine. For a server they are estimated from
  words and signs of the text, and corrected by what the server has counted for the answers in the ledger.
* The diversity rule discards a share of the draws: as in the ledger, else `counting.DISCARDED`.
* Calls that fail and are made again are not foreseen.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import reduce
from operator import add
from pathlib import Path
from statistics import median, stdev
from typing import Any, cast

from tunalm.calls.prices import Prices
from tunalm.calls.spending import answers_in
from tunalm.data import imitated, load
from tunalm.engines.base import Request
from tunalm.errors import ModelError
from tunalm.extensions import is_object
from tunalm.pipeline.folder import RunFolder
from tunalm.pipeline.planning.counting import DISCARDED, Counter, Known, discarded_share, redraws
from tunalm.pipeline.planning.figures import Amount, Asking, RecipePlan, StageEstimate
from tunalm.pipeline.planning.rows import PlannedLists, characters, lists_of, sampled
from tunalm.pipeline.planning.tokens import counter_of, engine_counter
from tunalm.pipeline.products import MADE
from tunalm.pipeline.resolving import ResolvedStage
from tunalm.progress import progress
from tunalm.ranking import requests as rank_requests
from tunalm.ranking.judge.prompts import CRITERIA, EVIDENCE, EVIDENCE_WORDS
from tunalm.recipe import (
    BenchmarkSettings,
    Data,
    EngineSettings,
    Evaluate,
    FromLists,
    Local,
    Proxy,
    Rank,
    Recipe,
    Reinforce,
    Sample,
    Sft,
)
from tunalm.records import Instruction, Prediction, Ranking, Response
from tunalm.sampling import requests as sample_requests
from tunalm.sampling.sampler import demonstration_pool
from tunalm.store import read_rows
from tunalm.training import requests as training_requests

REQUESTS_COMPARED = 500
"""Requests of a finished stage from which is learned how a server counts."""
BYTES_PER_ANSWER = 2000
BYTES_PER_TOKEN = 20
BYTES_PER_LOGPROB = 150
"""What an answer takes on disk: in the ledger, the reply of the server included, and in the rows of its stage."""
JSON_CHARACTERS_PER_TOKEN = 2.5
"""Measured on replies of the form that a judge is asked for."""
GROUPS = 5
"""Parts of a sample whose differences tell how exact the tokens of training are."""

WORST_CASE = "worst case: the judge is asked about every list; of how many the other ranker is sure is not known before"
UNKNOWN_RANKER = "what a ranker of your own asks for is not known"
NOT_ESTIMATED = "what reinforcement learning takes is not estimated"


def estimate(recipe: Recipe, steps: Sequence[ResolvedStage], run: RunFolder, prices: Prices) -> RecipePlan:
    """RecipePlan every stage of a resolved recipe.

    Args:
        recipe: as it was resolved.
        steps: its stages.
        run: where it would run; nothing is written.
        prices: of all models.

    Raises:
        DataError: data that a stage reads is wrong.
    """
    planner = _Planner(recipe, run, Counter(prices))
    with progress("estimating", len(steps)) as advance:
        stages = []
        for step in steps:
            stages.append(planner.stage(step))
            advance(1)
    return RecipePlan(stages)


class _Planner:
    def __init__(self, recipe: Recipe, run: RunFolder, counter: Counter) -> None:
        self._recipe, self._run, self._counter = recipe, run, counter
        self._lists: dict[str, PlannedLists] = {}
        """Of the stages so far that make lists."""
        self._data: dict[str, list[Instruction]] = {}
        """What has been read, by its source."""

    def stage(self, step: ResolvedStage) -> StageEstimate:
        """RecipePlan a stage; those that it reads come before it."""
        settings = self._recipe.stages[step.name]
        asked: list[Asking] = []
        notes: list[str] = []
        if isinstance(settings, Sample):
            asked, notes = self._sampling(step, settings)
        elif isinstance(settings, Rank):
            asked, notes = self._ranking(step, settings)
        elif step.done:
            pass
        elif isinstance(settings, Sft | FromLists):
            return self._training(step, settings)
        elif isinstance(settings, Evaluate):
            asked = self._evaluation(step, settings)
        elif isinstance(settings, Reinforce):
            notes = [NOT_ESTIMATED]
        if step.done:
            return StageEstimate(step.name, step.kind, "done")
        notes += sorted({f"no price for {one.who}" for one in asked if one.cost is None})
        each = BYTES_PER_TOKEN + (BYTES_PER_LOGPROB if getattr(settings, "logprobs", False) else 0)
        disk = sum(one.completion_tokens.expected * each + one.calls.expected * BYTES_PER_ANSWER for one in asked)
        return StageEstimate(step.name, step.kind, "to run", tuple(asked), disk=disk, notes=tuple(notes))

    def _training(self, step: ResolvedStage, settings: Sft | FromLists) -> StageEstimate:
        if isinstance(settings, Sft):
            parts = [lists_of(self._load(settings.data))]
            if settings.responses is not None:
                whole = self._read(settings.responses)
                parts.append(PlannedLists(whole.base, lambda some: imitated(whole.make(some))))
        else:
            parts = [self._read(lists.source).part(lists.select()) for lists in settings.rankings]
            if isinstance(settings, Proxy) and settings.held_out_rankings is None:
                parts = [part.part(slice(round((1 - settings.held_out) * len(part.base)))) for part in parts]
        parts = [part for part in parts if part.base]
        rows = sum(part.sample.weight * len(part.sample.rows) for part in parts)
        passes = settings.epochs
        if settings.max_steps > 0:
            passes = min(passes, settings.max_steps * settings.batch_size / max(rows, 1))
        settings = settings.model_copy(update={"epochs": passes, "max_steps": -1})
        source = self._origin(step.name)
        counter = counter_of(source)
        count = counter.alpaca if settings.template == "alpaca" else counter.chat
        how: dict[str, Any] = {"source": source, "prompt_tokens": count, "text_tokens": counter.text}
        needs = training_requests(settings, [part.longest for part in parts], **how)
        tokens = Amount()
        for part in parts:
            groups = [part.sample.rows[number::GROUPS] for number in range(min(GROUPS, len(part.sample.rows)))]
            counts = [part.sample.weight * training_requests(settings, group, **how).tokens for group in groups]
            exact = part.sample.weight == 1
            error = 0.0 if exact else 1.96 * len(counts) ** 0.5 * stdev(counts)
            tokens += Amount(sum(counts), sum(counts), error)
        work = None if needs.operations is None else needs.operations / max(1, needs.tokens) * tokens.expected
        needs = replace(needs, rows=round(rows), tokens=round(tokens.expected), operations=work)
        notes = () if needs.memory else (f"the files of {source} are not on this machine: memory and disk not known",)
        return StageEstimate(
            step.name, step.kind, "to run", training=needs, error=tokens.error, disk=needs.disk, notes=notes
        )

    def _sampling(self, step: ResolvedStage, settings: Sample) -> tuple[list[Asking], list[str]]:
        rows, slots = self._load(settings.data), settings.num_responses
        pool = demonstration_pool(settings)
        engine = cast(Sample, step.settings).engine

        def ask(some: Sequence[Instruction]) -> tuple[list[Request], Known, dict[str, float]]:
            requests = sample_requests(settings, some, pool)
            known = self._known(step, engine, settings.engine, requests)
            return requests, known, known.lengths([row for row in some for _ in range(slots)], requests)

        def make(some: Sequence[Instruction]) -> list[Ranking]:
            requests, known, lengths = ask(some)
            lists = []
            for number, row in enumerate(some):
                own = requests[number * slots : (number + 1) * slots]
                texts = [known.likely(row, request, slot, lengths[request.key]) for slot, request in enumerate(own)]
                lists.append(row.with_responses([Response(text=text) for text in texts]))
            return lists

        few = lists_of(rows).sample
        requests, known, lengths = ask(few.rows)
        self._keep(step, PlannedLists(rows, make, known.growth(requests, lengths) / len(few.rows)))
        again, notes = Amount(), []
        if settings.max_rouge_l is not None:
            texts = [known.answers[each.key].text if each.key in known.answers else None for each in requests]
            measured = discarded_share([texts[at : at + slots] for at in range(0, len(texts), slots)], settings)
            share, known_by = (DISCARDED, "an assumption") if measured is None else (measured, "as in the ledger")
            again = redraws(len(rows), settings, share)
            notes = [f"{share:.0%} of the draws that are compared are too similar ({known_by})"]
        counted = self._counter.ask(requests, lengths, known, weight=few.weight, rows=len(few.rows), redraws=again)
        return [counted], notes

    def _ranking(self, step: ResolvedStage, settings: Rank) -> tuple[list[Asking], list[str]]:
        lists = self._read(settings.responses).part(settings.select())
        self._keep(step, lists)
        engine = cast(Rank, step.settings).engine
        asks_judge = settings.by == "judge" or settings.fallback is not None
        if settings.engine is None or engine is None or not (asks_judge or settings.by == "likelihood"):
            return [], [UNKNOWN_RANKER] if is_object(settings.by) else []
        few = lists.sample
        requests = rank_requests(settings, few.rows)
        known = self._known(step, engine, settings.engine, requests)
        replies = _judge_replies(requests, few.rows, known, settings) if asks_judge else {}
        growth = lists.growth * len(lists.base) * (len(requests) / max(1, len(few.rows)) if asks_judge else 1)
        counted = self._counter.ask(requests, replies, known, weight=few.weight, rows=len(few.rows), growth=growth)
        return [counted], [WORST_CASE] if settings.fallback is not None else []

    def _evaluation(self, step: ResolvedStage, settings: Evaluate) -> list[Asking]:
        from tunalm.evaluation import open_benchmarks  # with scipy, which is slow to import
        from tunalm.evaluation import requests as evaluation_requests
        from tunalm.evaluation.runner import ModelRequest

        resolved, result = cast(Evaluate, step.settings), []
        few = {label: _Few(benchmark) for label, benchmark in open_benchmarks(settings).items()}
        judged = {each.label for each in settings.benchmarks if each.judge is not None}
        asked: dict[str, list[ModelRequest]] = {}
        texts: dict[str, dict[str, str]] = {}
        growth = dict.fromkeys(few, 0.0)
        for number, (name, engine) in enumerate(settings.models.items()):
            asked = {label: [] for label in few}
            for each in evaluation_requests(settings, cast(Any, few), engine):
                asked[each.benchmark].append(each)
            counted, texts[name] = [], {}
            for label, questions in asked.items():
                rows, requests = [each.row for each in questions], [each.request for each in questions]
                known = self._known(step, resolved.models[name], engine, requests)
                lengths = known.lengths(rows, requests)
                counted.append(self._counter.ask(requests, lengths, known, weight=few[label].sample.weight))
                growth[label] += known.growth(requests, lengths) / len(requests) / len(settings.models)
                if label in judged:
                    pairs = zip(rows, requests, strict=True)
                    texts[name] |= {each.key: known.likely(row, each, number, lengths[each.key]) for row, each in pairs}
            result.append(reduce(add, counted))
        for benchmark, own in zip(settings.benchmarks, resolved.benchmarks, strict=True):
            if benchmark.judge is not None and own.judge is not None:
                weight = few[benchmark.label].sample.weight
                reviews = _reviews(benchmark, asked[benchmark.label], texts)
                known = self._known(step, own.judge, benchmark.judge, reviews)
                grown = 2 * growth[benchmark.label] * len(reviews) * weight
                result.append(self._counter.ask(reviews, {}, known, weight=weight, growth=grown))
        return result

    def _known(
        self, step: ResolvedStage, engine: EngineSettings, unresolved: EngineSettings, requests: Sequence[Request]
    ) -> Known:
        """An engine, and what it has answered of these requests."""
        origin = self._origin(unresolved.model) if isinstance(unresolved, Local) else ""
        try:
            identity = engine.identity()
            answers = (
                {}
                if not self._run.ledger.is_file()
                else answers_in(self._run.ledger, identity, requests[: REQUESTS_COMPARED if step.done else None])
            )
        except ModelError:  # an earlier stage will make it
            identity, answers = f"{engine.kind} {getattr(unresolved, 'model', '')}", {}
        return Known(engine, identity, engine_counter(unresolved, origin), answers)

    def _load(self, data: Data) -> list[Instruction]:
        source = f"{data.source} {data.split}"
        if source not in self._data:
            self._data[source] = load(data.model_copy(update={"rows": ":", "limit": None}))
        return self._data[source][data.select()][: data.limit]

    def _origin(self, name: str) -> str:
        """The model that the training of a stage goes back to."""
        while name in self._recipe.stages:
            stage: Any = self._recipe.stages[name]
            name = stage.model if isinstance(stage, Sft) else stage.start
        return name

    def _read(self, source: str) -> PlannedLists:
        """Lists of an earlier stage, or of a file."""
        if source not in self._lists:
            self._lists[source] = lists_of(read_rows(Path(source), Ranking))
        return self._lists[source]

    def _keep(self, step: ResolvedStage, expected: PlannedLists) -> None:
        """Put down what a stage makes: what it has made where it is done, else what is expected."""
        made = self._run.folder(step.name) / MADE[step.settings.produces]
        here = self._run.is_done(step.name, step.fingerprint)
        self._lists[step.name] = lists_of(read_rows(made, Ranking)) if here else expected


def _judge_replies(
    requests: Sequence[Request], rows: Sequence[Ranking], known: Known, settings: Rank
) -> dict[str, float]:
    """Tokens of a judge's reply to each request: the form, the evidence that it may give, and its own response, taken
    to be as long as the middle one of the list."""
    replies = {}
    for row in rows:
        labels = [str(number) for number in range(len(row.responses))]
        marks = {EVIDENCE: "", **dict.fromkeys(CRITERIA, 0)}
        form = {"kind": "", "reference": "", "scores": dict.fromkeys(labels, marks), "ranking": labels}
        evidence = EVIDENCE_WORDS * len(labels) if settings.protocol == "audited" else 0
        texts = [each.text for each in row.responses] + ([] if row.reference is None else [row.reference])
        own = median([known.counter.text(text) for text in texts] or [0])
        replies[row.id] = own + evidence + len(json.dumps(form)) / JSON_CHARACTERS_PER_TOKEN
    return {request.key: replies[_row_of(request.key, replies)] for request in requests}


def _row_of(key: str, rows: Mapping[str, object]) -> str:
    """The id of the row that a request is about; its key begins with it."""
    while key and key not in rows:
        key = key.rpartition("/")[0]
    return key


class _Few:
    """A benchmark with a sample of its rows."""

    def __init__(self, benchmark: Any) -> None:
        self._benchmark = benchmark
        self.sample = sampled(benchmark.rows(), characters)

    def rows(self) -> Sequence[Instruction]:
        return self.sample.rows

    def __getattr__(self, name: str) -> Any:
        return getattr(self._benchmark, name)


def _reviews(
    settings: BenchmarkSettings, asked: Sequence[Any], answers: Mapping[str, Mapping[str, str]]
) -> list[Request]:
    """What the judge of a benchmark is asked about some questions. Answers of a model in a file are taken to be like
    those of the first model."""
    from tunalm.evaluation.pairwise.comparisons import JudgeRules, Pair, requests

    first = next(iter(answers))
    other = settings.against or first
    rules = JudgeRules(settings.mode, settings.max_review_tokens)

    def saved(question: Any, model: str, text: str) -> Prediction:
        return Prediction(id=question.row.id, benchmark=question.benchmark, model=model, prediction=text)

    pairs = [
        Pair(
            question.row,
            saved(question, model, own.get(question.request.key, "")),
            saved(question, other, answers.get(other, answers[first]).get(question.request.key, "") + " "),
        )
        for model, own in answers.items()
        if model != other
        for question in asked
    ]
    return [request for pair in pairs for request in requests(pair, rules)]
