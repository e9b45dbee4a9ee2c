"""The plan of every stage of a recipe.

Requests are made by the code of the stages themselves, so prompts are the real ones. What is not known is assumed:

* Answers that are not there yet are as long as those of the same stage that are in the ledger, else as the references
  of the data, else as `max_new_tokens` allows. The most that can come is `max_new_tokens` each. Prompts that hold such
  answers, a judge's, are counted with the expected ones.
* Tokens are counted by the model's own tokenizer where it is on this machine. For a server they are estimated from
  words and signs of the text, and corrected by what it has counted for answers of the same stage in the ledger.
* The diversity rule draws a share of the responses again: `REDRAWN`.
* Calls that fail and are made again are not foreseen.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import reduce
from operator import add
from pathlib import Path
from statistics import fmean, median
from typing import Any, cast

from tunalm.calls.prices import Prices
from tunalm.calls.spending import answers_in
from tunalm.data import imitated, load
from tunalm.data.sources import Sources
from tunalm.engines.base import Request
from tunalm.errors import ModelError
from tunalm.extensions import is_object
from tunalm.pipeline.folder import RunFolder
from tunalm.pipeline.planning.counting import Known, count
from tunalm.pipeline.planning.figures import NOTHING, Amount, Asking, RecipePlan, StageEstimate, total_of
from tunalm.pipeline.planning.instructing import ASSUMED, stand_ins
from tunalm.pipeline.planning.instructing import asked as instructing_asked
from tunalm.pipeline.planning.rows import PlannedLists, Sampled, characters, lists_of, sampled
from tunalm.pipeline.planning.tokens import TokenCounter, counter_of
from tunalm.pipeline.products import MADE
from tunalm.pipeline.resolving import ResolvedStage
from tunalm.progress import tracked
from tunalm.ranking import requests as rank_requests
from tunalm.ranking.judge.prompts import EVIDENCE_WORDS
from tunalm.ranking.simulated import requests as pool_requests
from tunalm.recipe import (
    BenchmarkSettings,
    Data,
    EngineSettings,
    Evaluate,
    FromLists,
    HuggingFaceSettings,
    Instruct,
    Lists,
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
from tunalm.store import read_rows
from tunalm.training import course_of, reinforcement_requests
from tunalm.training import requests as training_requests

REDRAWN = 0.05
"""Share of the responses that the diversity rule is taken to draw again."""
BYTES_PER_ANSWER = 2000
BYTES_PER_TOKEN = 20
BYTES_PER_LOGPROB = 150
"""What an answer takes on disk: in the ledger, the reply of the server included, and in the rows of its stage."""
REPLY_TOKENS, MARKS_TOKENS = 23, 33
"""The form of a judge's reply, and what it holds for each response beside the evidence; measured."""

WORST_CASE = "worst case: the judge is asked about every list; of how many the other ranker is sure is not known before"
TOO_FEW = "it will refuse to run: no optimizer step is possible from the instructions that are short enough"
UNKNOWN_RANKER = "what a ranker of your own asks for is not known"


def estimate(
    recipe: Recipe, steps: Sequence[ResolvedStage], run: RunFolder, prices: Prices, sources: Sources | None = None
) -> RecipePlan:
    """Plan every stage of a resolved recipe.

    Args:
        recipe: as it was resolved.
        steps: its stages.
        run: where it would run; nothing is written.
        prices: of all models.
        sources: what has been read already.

    Raises:
        DataError: data that a stage reads is wrong.
    """
    planner = _Planner(recipe, run, prices, sources or Sources())
    stages = []
    for step in tracked(steps, "estimating"):
        stages.append(planner.stage(step))
    return RecipePlan(stages)


class _Planner:
    def __init__(self, recipe: Recipe, run: RunFolder, prices: Prices, sources: Sources) -> None:
        self._recipe, self._run, self._prices = recipe, run, prices
        self._sources = sources
        self._data: dict[str, list[Instruction]] = {}
        """Of the stages so far that make instructions."""
        self._lists: dict[str, PlannedLists] = {}
        """Of the stages so far that make lists."""

    def stage(self, step: ResolvedStage) -> StageEstimate:
        """Plan a stage; those that it reads come before it."""
        settings = self._recipe.stages[step.name]
        if self._run.is_done(step.name, step.fingerprint):
            if isinstance(settings, Sample | Rank):
                made = self._run.folder(step.name) / MADE[settings.produces]
                self._lists[step.name] = lists_of(read_rows(made, Ranking))
            elif isinstance(settings, Instruct):
                self._data[step.name] = load(Data(source=str(self._run.folder(step.name) / MADE["instructions"])))
            return StageEstimate(step.name, step.kind, "done")
        asked: list[Asking] = []
        notes: list[str] = []
        if isinstance(settings, Instruct):
            seeds = self._load(settings.seeds)
            self._data[step.name] = stand_ins(settings, seeds)
            known = self._known(cast(Instruct, step.settings).engine, settings.engine, [])
            asked, notes = instructing_asked(settings, seeds, known, self._prices), [ASSUMED]
        elif isinstance(settings, Sample):
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
            return self._reinforcement(step, settings)
        if step.done:  # put aside, and brought back when the stage runs
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
            parts = [self._read_part(lists) for lists in settings.rankings]
            if isinstance(settings, Proxy) and settings.held_out_rankings is None:
                parts = [part.part(slice(round((1 - settings.held_out) * len(part.base)))) for part in parts]
        parts = [part for part in parts if part.base]
        rows = sum(len(part.base) for part in parts)
        passes = settings.epochs
        if settings.max_steps > 0:
            passes = min(passes, settings.max_steps * settings.batch_size / max(rows, 1))
        settings = settings.model_copy(update={"epochs": passes, "max_steps": -1})
        source = self._origin(step.name)
        counter = counter_of(source)
        prompt = counter.prompt(self._template(step.name))
        how: dict[str, Any] = {"source": source, "prompt_tokens": prompt, "text_tokens": counter.text}
        needs = training_requests(settings, [part.longest for part in parts], **how)
        tokens = NOTHING
        for part in parts:
            few, weight = part.sample.rows, part.sample.weight
            tokens += total_of([training_requests(settings, [row], **how).tokens for row in few], weight, len(few))
        work = None if needs.operations is None else needs.operations / max(1, needs.tokens) * tokens.expected
        needs = replace(needs, rows=rows, tokens=round(tokens.expected), operations=work)
        notes = () if needs.memory else (f"the files of {source} are not on this machine: memory and disk not known",)
        return StageEstimate(
            step.name, step.kind, "to run", training=needs, error=tokens.error, disk=needs.disk, notes=notes
        )

    def _reinforcement(self, step: ResolvedStage, settings: Reinforce) -> StageEstimate:
        """Plan what the policy writes and what the proxy reads as calls, and what is learned as training.

        The proxy is taken to count the tokens of a response as the policy does.
        """
        source, reward = self._origin(step.name), self._origin(settings.reward)
        engine = HuggingFaceSettings(model=settings.start, template=self._template(step.name))
        known = Known(engine, f"huggingface {settings.start}", counter_of(source), {})
        prompt = known.counter.prompt(engine.template)
        by_proxy = counter_of(reward).prompt(self._template(settings.reward))
        few = lists_of(self._load(settings.data)).sample
        limit = settings.ppo.max_prompt_tokens if settings.method == "ppo" else math.inf
        kept = [row for row in few.rows if prompt(row.messages()) <= limit]
        rows = round(few.weight * len(kept))
        ahead = course_of(rows, settings)
        if not kept or not ahead.rollouts:
            return StageEstimate(step.name, step.kind, "to run", notes=(TOO_FEW,))
        share = ahead.all_responses / (few.weight * len(kept))
        requests = [
            Request(key=row.id, messages=row.messages(), max_new_tokens=settings.max_new_tokens) for row in kept
        ]
        lengths = known.lengths(kept, requests)
        writing = count(known, requests, lengths, self._prices, weight=few.weight, rows=len(kept)).times(share)
        prompts = total_of([by_proxy(row.messages()) for row in kept], few.weight, len(kept)).times(share)
        scoring = Asking(
            f"proxy {settings.reward}",
            requested=writing.requested,
            calls=writing.calls,
            prompt_tokens=prompts + writing.completion_tokens,
        )
        longest = max(prompt(row.messages()) for row in kept) + settings.max_new_tokens
        read = writing.prompt_tokens + writing.completion_tokens
        mean = read.expected / ahead.all_responses
        needs = reinforcement_requests(settings, ahead, rows, mean, longest, source, reward)
        notes = [f"{ahead.all_responses:,} responses, each scored once; {ahead.all_steps:,} optimizer steps"]
        if needs.memory is None:
            notes.append(f"the files of {source} and {reward} are not all on this machine: memory and disk not known")
        return StageEstimate(
            step.name,
            step.kind,
            "to run",
            (writing, scoring),
            needs,
            error=read.error * ahead.passes,
            disk=needs.disk,
            notes=tuple(notes),
        )

    def _sampling(self, step: ResolvedStage, settings: Sample) -> tuple[list[Asking], list[str]]:
        rows, slots = self._load(settings.data), settings.num_responses
        pool = self._load(settings.data.model_copy(update={"limit": None})) if settings.demonstrations else None
        engine = cast(Sample, step.settings).engine

        def ask(some: Sequence[Instruction]) -> tuple[Known, list[Request], list[float]]:
            requests = sample_requests(settings, some, pool)
            known = self._known(engine, settings.engine, requests)
            return known, requests, known.lengths([row for row in some for _ in range(slots)], requests)

        def make(some: Sequence[Instruction]) -> list[Ranking]:
            known, requests, lengths = ask(some)
            texts = [
                known.text(request, number % slots, length)
                for number, (request, length) in enumerate(zip(requests, lengths, strict=True))
            ]
            own = [texts[at : at + slots] for at in range(0, len(texts), slots)]
            return [
                row.with_responses([Response(text=text) for text in each]) for row, each in zip(some, own, strict=True)
            ]

        self._lists[step.name] = PlannedLists(rows, make)
        again, notes = NOTHING, []
        if settings.max_rouge_l is not None:
            compared = len(rows) * (slots - 1)  # the first response is compared with nothing
            again = Amount(compared * REDRAWN, compared * (settings.max_attempts - 1))
            notes = [f"{REDRAWN:.0%} of the responses are drawn again for being too similar (an assumption)"]
        few = lists_of(rows).sample
        return [count(*ask(few.rows), self._prices, weight=few.weight, rows=len(few.rows), again=again)], notes

    def _ranking(self, step: ResolvedStage, settings: Rank) -> tuple[list[Asking], list[str]]:
        lists = self._lists[step.name] = self._read(settings.responses).part(settings.select())
        resolved = cast(Rank, step.settings)
        asked: list[Asking] = []
        few = lists.sample

        def ask(engine: EngineSettings, unresolved: EngineSettings, requests: Sequence[Request], guess: float) -> None:
            known = self._known(engine, unresolved, requests)
            lengths = [known.length(request, guess) for request in requests]
            asked.append(count(known, requests, lengths, self._prices, weight=few.weight, rows=len(few.rows)))

        asks_judge, by_likelihood = settings.by == "judge" or settings.fallback is not None, settings.by == "likelihood"
        if settings.by == "simulated":
            for number, requests in sorted(pool_requests(few.rows, settings).items()):
                ask(resolved.pool[number].engine, settings.pool[number].engine, requests, math.inf)
        elif settings.engine is not None and resolved.engine is not None and (asks_judge or by_likelihood):
            guess = _judge_reply(few.rows, settings) if asks_judge else math.inf
            ask(resolved.engine, settings.engine, rank_requests(settings, few.rows), guess)
        elif is_object(settings.by):
            return [], [UNKNOWN_RANKER]
        return asked, [WORST_CASE] if settings.fallback is not None else []

    def _evaluation(self, step: ResolvedStage, settings: Evaluate) -> list[Asking]:
        from tunalm.evaluation import open_benchmarks
        from tunalm.evaluation import requests as evaluation_requests

        resolved, result = cast(Evaluate, step.settings), []
        few = {
            each.label: _Few(opened, self._of_a_stage(each.rankings))
            for each, opened in zip(settings.benchmarks, open_benchmarks(settings).values(), strict=True)
        }
        answers: dict[str, dict[str, list[str]]] = {label: {} for label in few}
        for number, (name, engine) in enumerate(settings.models.items()):
            asked, counted = evaluation_requests(settings, cast(Any, few), engine), []
            for label, benchmark in few.items():
                own = [each for each in asked if each.benchmark == label]
                requests = [each.request for each in own]
                known = self._known(resolved.models[name], engine, requests)
                lengths = known.lengths([each.row for each in own], requests)
                counted.append(count(known, requests, lengths, self._prices, weight=benchmark.sample.weight))
                pairs = zip(requests, lengths, strict=True)
                answers[label][name] = [known.text(request, number, length) for request, length in pairs]
            result.append(reduce(add, counted))
        for settings_of, paths in zip(settings.benchmarks, resolved.benchmarks, strict=True):
            benchmark, said = few[settings_of.label], answers[settings_of.label]
            more: list[tuple[EngineSettings, EngineSettings, list[Request]]] = []
            if settings_of.judge is not None and paths.judge is not None:
                more.append((paths.judge, settings_of.judge, _reviews(settings_of, benchmark.rows(), said)))
            if settings_of.start is not None and paths.start is not None:
                scorings = _scorings(settings_of, benchmark.rows(), said)
                more += [(resolved.models[name], settings.models[name], own) for name, own in scorings.items()]
                more.append((paths.start, settings_of.start, [each for own in scorings.values() for each in own]))
            for path, engine, requests in more:
                known = self._known(path, engine, requests)
                lengths = [known.length(request, math.inf) for request in requests]
                result.append(count(known, requests, lengths, self._prices, weight=benchmark.sample.weight))
        return result

    def _known(self, engine: EngineSettings, unresolved: EngineSettings, requests: Sequence[Request]) -> Known:
        """An engine, and what it has answered of these requests."""
        counter, asked = TokenCounter(), engine
        if isinstance(unresolved, Local):
            counter = counter_of(self._origin(unresolved.model))
            template = unresolved.template or self._template(unresolved.model)
            asked = engine.model_copy(update={"template": template})
        try:
            identity = engine.identity()
        except ModelError:  # an earlier stage will make it
            return Known(asked, f"{engine.kind} {getattr(unresolved, 'model', '')}", counter, {})
        answers = answers_in(self._run.ledger, identity, requests) if self._run.ledger.is_file() else {}
        return Known(asked, identity, counter, answers)

    def _load(self, data: Data) -> list[Instruction]:
        """Instructions of a source, or those that an earlier stage will make."""
        made = self._data.get(data.source)
        return self._sources.load(data) if made is None else made[data.select()][: data.limit]

    def _origin(self, name: str) -> str:
        """The model that the training of a stage goes back to."""
        while name in self._recipe.stages:
            stage: Any = self._recipe.stages[name]
            name = stage.model if isinstance(stage, Sft) else stage.start
        return name

    def _of_a_stage(self, lists: Lists | None) -> PlannedLists | None:
        """Lists that a stage makes, or will make; those of a file are read by who reads them."""
        return None if lists is None or lists.source not in self._recipe.stages else self._read_part(lists)

    def _read_part(self, lists: Lists) -> PlannedLists:
        return self._read(lists.source).part(lists.select())

    def _template(self, name: str) -> str | None:
        """What stands around an instruction for the model that a stage makes: its own, or that of its start."""
        while name in self._recipe.stages:
            stage: Any = self._recipe.stages[name]
            if stage.template is not None:
                return str(stage.template)
            name = stage.model if isinstance(stage, Sft) else stage.start
        return None

    def _read(self, source: str) -> PlannedLists:
        """Lists of an earlier stage, or of a file."""
        if source not in self._lists:
            self._lists[source] = lists_of(read_rows(Path(source), Ranking))
        return self._lists[source]


def _judge_reply(rows: Sequence[Ranking], settings: Rank) -> float:
    """Tokens of a judge's reply, on average: the form, the evidence that it may give, and its own response, taken to
    be as long as the middle one of the list."""
    evidence = EVIDENCE_WORDS if settings.protocol == "audited" else 0
    count_text = TokenCounter().text

    def reply(row: Ranking) -> float:
        texts = [each.text for each in row.responses] + ([] if row.reference is None else [row.reference])
        own = median([count_text(text) for text in texts] or [0])
        return REPLY_TOKENS + len(row.responses) * (MARKS_TOKENS + evidence) + own

    return fmean([reply(row) for row in rows] or [0])


class _Few:
    """A benchmark with a sample of its rows, or of the lists that it reads."""

    def __init__(self, benchmark: Any, lists: PlannedLists | None) -> None:
        self._benchmark = benchmark
        self.sample: Sampled[Any] = (
            sampled(benchmark.rows(), characters) if lists is None else _all_ranked(lists.sample)
        )

    def rows(self) -> Sequence[Instruction]:
        return self.sample.rows

    def __getattr__(self, name: str) -> Any:
        return getattr(self._benchmark, name)


def _all_ranked(few: Sampled[Ranking]) -> Sampled[Ranking]:
    """Lists in which every response has a rank, as those that are still to be ranked will."""
    rows = [
        row.model_copy(
            update={"responses": [each.model_copy(update={"rank": place}) for place, each in enumerate(row.responses)]}
        )
        for row in few.rows
    ]
    return Sampled(rows, few.weight)


def _scorings(
    settings: BenchmarkSettings, rows: Sequence[Instruction], answers: Mapping[str, Sequence[str]]
) -> dict[str, list[Request]]:
    """What models, and their start, are asked about their samples."""
    drawn = [row for row in rows for _ in range(settings.samples)]
    return {
        name: [Request.to_score(row.messages(), text, ended=True) for row, text in zip(drawn, own, strict=True)]
        for name, own in answers.items()
    }


def _reviews(
    settings: BenchmarkSettings, rows: Sequence[Instruction], answers: Mapping[str, Sequence[str]]
) -> list[Request]:
    """What the judge of a benchmark is asked about some questions. Answers of a model in a file are taken to be like
    those of the first model."""
    from tunalm.evaluation.pairwise.comparisons import JudgeRules, Pair, requests

    first = next(iter(answers))
    other = settings.against or first
    rules = JudgeRules(settings.mode, settings.max_review_tokens)

    def saved(row: Instruction, model: str, text: str) -> Prediction:
        return Prediction(id=row.id, benchmark=settings.label, model=model, prediction=text)

    return [
        request
        for model, own in answers.items()
        if model != other
        for row, text, theirs in zip(rows, own, answers.get(other, answers[first]), strict=True)
        for request in requests(Pair(row, saved(row, model, text), saved(row, other, f"{theirs} ")), rules)
    ]
