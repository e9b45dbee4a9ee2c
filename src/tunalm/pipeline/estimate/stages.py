"""The estimate of every stage of a recipe.

Requests are made by the code of the stages themselves, so prompts are the real ones. What is not known is assumed:

* Answers that are not there yet are as long as those of the same stage that are in the ledger, else as the references
  of the data, else as `max_new_tokens` allows. The most that can come is `max_new_tokens` each.
* Tokens are counted by the model's own tokenizer where it is on this machine. For a server they are estimated from
  words and signs of the text, and corrected by what the server has counted for the answers in the ledger.
* The diversity rule discards a share of the draws: as in the ledger, else `redraws.DISCARDED`.
* Calls that fail and are made again are not foreseen.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, cast

from tunalm.calls.prices import Prices
from tunalm.calls.spending import answers_in
from tunalm.data import imitated, load
from tunalm.engines.base import Request
from tunalm.errors import ModelError
from tunalm.extensions import is_object
from tunalm.pipeline.estimate.calls import Asked, Desk
from tunalm.pipeline.estimate.figures import Asking, Estimate, StageEstimate
from tunalm.pipeline.estimate.lists import judge_tokens
from tunalm.pipeline.estimate.redraws import DISCARDED, discarded_share, redraws
from tunalm.pipeline.estimate.tokens import counter_of, engine_counter
from tunalm.pipeline.folder import RunFolder
from tunalm.pipeline.products import MADE
from tunalm.pipeline.resolving import ResolvedStage
from tunalm.progress import progress
from tunalm.ranking.judge.questions import inquiries
from tunalm.ranking.judge.questions import request_for as judge_request
from tunalm.ranking.likelihood import score_requests, with_reference
from tunalm.recipe import (
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
    Served,
    Sft,
)
from tunalm.records import Instruction, Ranking, Response
from tunalm.sampling import demonstration_pool
from tunalm.sampling import requests as sample_requests
from tunalm.store import read_rows
from tunalm.training.needs import requests

REQUESTS_COMPARED = 500
"""Requests of a finished stage from which is learned how a server counts."""
BYTES_PER_ANSWER = 2000
BYTES_PER_TOKEN = 20
BYTES_PER_LOGPROB = 150
"""What an answer takes on disk: in the ledger, the reply of the server included, and in the rows of its stage."""

WORST_CASE = "worst case: the judge is asked about every list; of how many the other ranker is sure is not known before"
UNKNOWN_RANKER = "what a custom ranker asks for is not known"
NOT_ESTIMATED = "tokens, memory and disk of reinforcement learning, which TRL does, are not estimated"


def estimate(recipe: Recipe, steps: Sequence[ResolvedStage], run: RunFolder, prices: Prices) -> Estimate:
    """Estimate every stage of a planned recipe.

    Args:
        recipe: as it was planned.
        steps: its stages.
        run: where it would run; nothing is written.
        prices: of all models.

    Raises:
        DataError: data that a stage reads is wrong.
    """
    estimator = _Estimator(recipe, run, Desk(prices))
    with progress("estimating", len(steps)) as advance:
        stages = []
        for step in steps:
            stages.append(estimator.stage(step))
            advance(1)
    return Estimate(stages)


class _Estimator:
    def __init__(self, recipe: Recipe, run: RunFolder, desk: Desk) -> None:
        self._recipe, self._run, self._desk = recipe, run, desk
        self._lists: dict[str, list[Ranking]] = {}
        """Of the stages so far that make lists."""
        self._growth: dict[str, float] = {}
        """Tokens by which these lists may outgrow what is expected."""
        self._data: dict[str, list[Instruction]] = {}
        """What has been read, by its settings."""

    def stage(self, step: ResolvedStage) -> StageEstimate:
        """Estimate a stage; those that it reads come before it."""
        settings = self._recipe.stages[step.name]
        if isinstance(settings, Sft | FromLists):
            return self._training(step, settings)
        asked: list[Asking] = []
        notes: list[str] = []
        if isinstance(settings, Sample):
            asked, notes = self._sampling(step, settings)
        elif isinstance(settings, Rank):
            asked, notes = self._ranking(step, settings)
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
        if step.done:
            return StageEstimate(step.name, step.kind, "done")
        if isinstance(settings, Sft):
            rows = [row.with_responses([]) for row in self._load(settings.data)]
            if settings.responses is not None:
                rows += imitated(self._rows(settings.responses))
        else:
            rows = [row for lists in settings.rankings for row in self._rows(lists.source)[lists.select()]]
            if isinstance(settings, Proxy) and settings.held_out_rankings is None:
                rows = rows[: round((1 - settings.held_out) * len(rows))]
        source = self._origin(step.name)
        counter = counter_of(source)
        prompt_tokens = counter.alpaca if settings.template == "alpaca" else counter.chat
        needs = requests(settings, rows, source, prompt_tokens=prompt_tokens, text_tokens=counter.text)
        notes = () if needs.memory else (f"the files of {source} are not on this machine: memory and disk not known",)
        return StageEstimate(step.name, step.kind, "to run", training=needs, disk=needs.disk, notes=notes)

    def _sampling(self, step: ResolvedStage, settings: Sample) -> tuple[list[Asking], list[str]]:
        rows, slots = self._load(settings.data), settings.num_responses
        requests = sample_requests(settings, rows, demonstration_pool(settings))
        asked = self._asked(step, cast(Sample, step.settings).engine, settings.engine, requests)
        lengths = asked.lengths([row for row in rows for _ in range(slots)], requests)
        drawn = [[asked.text(request) for request in own] for own in _chunks(requests, slots)]
        lists = []
        for row, own in zip(rows, _chunks(requests, slots), strict=True):
            texts = [asked.likely(row, request, slot, lengths[request.key]) for slot, request in enumerate(own)]
            lists.append(row.with_responses([Response(text=text) for text in texts]))
        self._keep(step, lists, asked.growth(requests, lengths))
        if settings.max_rouge_l is None:
            return [self._desk.ask(requests, lengths, asked)], []
        measured = discarded_share(drawn, settings)
        share, known_by = (DISCARDED, "an assumption") if measured is None else (measured, "as in the ledger")
        note = f"{share:.0%} of the draws that are compared are too similar ({known_by})"
        return [self._desk.ask(requests, lengths, asked, redraws=redraws(len(rows), settings, share))], [note]

    def _ranking(self, step: ResolvedStage, settings: Rank) -> tuple[list[Asking], list[str]]:
        rows, growth = self._rows(settings.responses)[settings.select()], self._growth.get(settings.responses, 0.0)
        if settings.rank_reference:
            rows = [with_reference(row) for row in rows]
        self._keep(step, rows, growth)
        rows = [row for row in rows if sum(each.is_usable for each in row.responses) > 1]
        if settings.by == "likelihood" and settings.engine is not None:
            return [self._scoring(step, settings, rows, growth)], []
        if settings.by == "judge":
            return self._judging(step, settings, rows, growth), []
        if settings.fallback is not None:
            return self._judging(step, settings, rows, growth), [WORST_CASE]
        return [], [UNKNOWN_RANKER] if is_object(settings.by) else []

    def _scoring(self, step: ResolvedStage, settings: Rank, rows: Sequence[Ranking], growth: float) -> Asking:
        engine = cast(Rank, step.settings).engine
        assert engine is not None
        assert settings.engine is not None
        requests = {request.key: request for row in rows for request in score_requests(row).values()}
        asked = self._asked(step, engine, settings.engine, [*requests.values()])
        return self._desk.ask([*requests.values()], {}, asked, growth=growth)

    def _judging(self, step: ResolvedStage, settings: Rank, rows: Sequence[Ranking], growth: float) -> list[Asking]:
        engine = cast(Rank, step.settings).engine
        if settings.engine is None or engine is None:
            return []
        asked_about = [(one.row, question) for one in inquiries(rows, settings) for question in one.asked]
        structured = isinstance(engine, Served)
        requests = [judge_request(question, settings, structured) for _, question in asked_about]
        asked = self._asked(step, engine, settings.engine, requests)
        form = {
            question.key: judge_tokens(question, row, asked.counter, settings.protocol) for row, question in asked_about
        }
        growth *= len(requests) / max(1, len(rows))
        return [self._desk.ask(requests, form, asked, growth=growth)]

    def _evaluation(self, step: ResolvedStage, settings: Evaluate) -> list[Asking]:
        from tunalm.pipeline.estimate import evaluations  # with scipy, which is slow to import

        resolved, result = cast(Evaluate, step.settings), []
        questions = evaluations.questions(settings)
        rows, requests = [each.row for each in questions], [each.request for each in questions]
        texts: dict[str, dict[str, str]] = {}
        growth = 0.0
        for number, (name, engine) in enumerate(settings.models.items()):
            asked = self._asked(step, resolved.models[name], engine, requests)
            lengths = asked.lengths(rows, requests)
            result.append(self._desk.ask(requests, lengths, asked))
            growth += asked.growth(requests, lengths) / (len(requests) * len(settings.models))
            texts[name] = {
                request.key: asked.likely(row, request, number, lengths[request.key])
                for row, request in zip(rows, requests, strict=True)
            }
        for benchmark, own in zip(settings.benchmarks, resolved.benchmarks, strict=True):
            if benchmark.judge is not None and own.judge is not None:
                reviews = evaluations.comparisons(benchmark, questions, texts)
                asked = self._asked(step, own.judge, benchmark.judge, reviews)
                result.append(self._desk.ask(reviews, {}, asked, growth=2 * growth * len(reviews)))
        return result

    def _asked(
        self, step: ResolvedStage, engine: EngineSettings, unresolved: EngineSettings, requests: Sequence[Request]
    ) -> Asked:
        """An engine, what it is asked, and what it has answered."""
        origin = self._origin(unresolved.model) if isinstance(unresolved, Local) else ""
        try:
            identity = engine.identity()
            answers = answers_in(self._run.ledger, identity, requests[: REQUESTS_COMPARED if step.done else None])
        except ModelError:  # an earlier stage will make it
            identity, answers = f"{engine.kind} {getattr(unresolved, 'model', '')}", {}
        return Asked(engine, identity, engine_counter(unresolved, origin), answers)

    def _load(self, data: Data) -> list[Instruction]:
        name = data.model_dump_json()
        if name not in self._data:
            self._data[name] = load(data)
        return self._data[name]

    def _origin(self, name: str) -> str:
        """The model that the training of a stage goes back to."""
        while name in self._recipe.stages:
            stage: Any = self._recipe.stages[name]
            name = stage.model if isinstance(stage, Sft) else stage.start
        return name

    def _rows(self, source: str) -> list[Ranking]:
        """Lists of an earlier stage, or of a file."""
        return self._lists[source] if source in self._lists else read_rows(Path(source), Ranking)

    def _keep(self, step: ResolvedStage, expected: list[Ranking], growth: float) -> None:
        """Put down what a stage makes: what it has made where it is done, else what is expected."""
        made = self._run.folder(step.name) / MADE[step.settings.produces]
        here = self._run.is_done(step.name, step.fingerprint)
        self._lists[step.name] = read_rows(made, Ranking) if here else expected
        self._growth[step.name] = 0.0 if here else growth


def _chunks(requests: Sequence[Request], size: int) -> Iterator[Sequence[Request]]:
    return (requests[start : start + size] for start in range(0, len(requests), size))
