"""Asking and scoring: from settings to predictions, verdicts and results.

Answers are in the ledger as soon as they are given, so an evaluation that was interrupted resumes from there; failed
ones are asked for again. Models are asked one after the other, and one at a time is in memory.
"""

from __future__ import annotations

import gc
import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tunalm.calls.context import Calls, StageContext
from tunalm.engines.base import Completion, Engine, Request
from tunalm.errors import EngineError
from tunalm.evaluation.base import (
    AnyBenchmark,
    Benchmark,
    Comparing,
    Measure,
    Measuring,
    Question,
    WithTotals,
    open_benchmark,
)
from tunalm.evaluation.draws import draws, sample_measures, scoring
from tunalm.evaluation.harness import for_harness, sample, write_jsonl
from tunalm.evaluation.results import summarise
from tunalm.progress import tracked
from tunalm.recipe import EngineSettings, Evaluate
from tunalm.records import EvaluationResults, Instruction, Message, Prediction, Verdict
from tunalm.store import Summary, digest, write_json, write_rows

Benchmarks = Mapping[str, AnyBenchmark]
"""By label."""


@dataclass(frozen=True)
class Evaluation:
    """What models answered, what the answers are worth, and what that says of the models."""

    predictions: list[Prediction]
    """Model by model: greedy answers, samples, and texts that were given."""
    verdicts: list[Verdict]
    """One per measure, model and row."""
    results: EvaluationResults


@dataclass(frozen=True)
class ModelRequest:
    """An instruction of a benchmark, and what a model is asked about it."""

    benchmark: str
    row: Instruction
    request: Request
    sample: int | None = None
    """As in `Prediction`."""


def run(settings: Evaluate, context: StageContext) -> Summary:
    """Run the stage: `evaluate`, with everything written to its folder.

    Returns:
        Answers asked for, given and failed (one that a judge could not compare has failed); `details` has the value of
        every model by benchmark.
    """
    evaluation = evaluate(settings, context.calls, context.folder)
    results = evaluation.results
    values = {name: {model: each.value for model, each in results.on(name).items()} for name in results.benchmarks}
    judged = {(each.benchmark, each.model, each.id): each.failure for each in evaluation.verdicts}
    failures = [
        judged[answer.benchmark, answer.model, answer.id] if answer.sample is None else answer.failure
        for answer in evaluation.predictions
    ]
    return Summary.of(failures, values)


def evaluate(settings: Evaluate, calls: Calls, folder: Path | None = None) -> Evaluation:
    """Let models answer held-out instructions, score the answers and compare the models.

    Args:
        settings: of the stage.
        calls: reach the models and the judges.
        folder: where predictions are written before anything is scored, and everything else afterwards; None writes
            nothing.

    Raises:
        DataError: the instructions of a benchmark cannot be read or scored; found before any model is asked.
        EngineError: a model cannot answer any request.
        ModelError: a model cannot be loaded.
        StoreError: the ledger or the folder cannot be written.
    """
    benchmarks = open_benchmarks(settings)
    identities: dict[str, str] = {}
    predictions: list[Prediction] = []
    for name, engine in settings.models.items():
        identities[name], answered = _ask(name, engine, requests(settings, benchmarks, engine), benchmarks, calls)
        predictions += answered
        gc.collect()
    if folder is not None:
        write_rows(folder / "predictions.jsonl", [each for each in predictions if each.sample is None])
        if samples := [each for each in predictions if each.sample is not None]:
            write_rows(folder / "samples.jsonl", samples)
    measures = measure(predictions, settings, benchmarks, calls)
    verdicts = [verdict for each in measures for verdict in each.verdicts]
    if folder is not None:
        write_rows(folder / "rows.jsonl", verdicts)
    results = summarise(measures, identities, settings)
    _add_totals(results, measures, benchmarks, None if folder is None else folder / "harness")
    if folder is not None:
        write_json(folder / "results.json", results.model_dump(mode="json"))
    return Evaluation(predictions, verdicts, results)


def check(settings: Evaluate) -> None:
    """Refuse an evaluation that would fail after models were trained or asked: benchmarks say what they miss."""
    for benchmark in open_benchmarks(settings).values():
        own = getattr(benchmark, "check", None)
        if own is not None:
            own(settings.models)
        else:
            benchmark.rows()


def open_benchmarks(settings: Evaluate) -> Benchmarks:
    """The benchmarks of an evaluation, by label."""
    return {each.label: open_benchmark(each) for each in settings.benchmarks}


def requests(settings: Evaluate, benchmarks: Benchmarks, engine: EngineSettings) -> list[ModelRequest]:
    """What one model is asked: about every instruction of every benchmark, for its greedy answer and for samples.

    The template is the model's own affair. A model without one (`template: raw`) gets the raw prompt of the benchmark,
    if it has one.
    """
    raw_model = getattr(engine, "template", None) == "raw"
    asked = []
    for each in settings.benchmarks:
        benchmark = benchmarks[each.label]
        longest = each.max_new_tokens or getattr(benchmark, "max_new_tokens", None) or settings.max_new_tokens
        for row in benchmark.rows():
            if isinstance(benchmark, Measuring):
                own = benchmark.asked(row, settings.seed, longest)
                asked += [ModelRequest(each.label, row, request, number) for number, request in enumerate(own)]
                continue
            raw = row.raw if isinstance(row, Question) and (row.always_raw or raw_model) else None
            request = Request(
                key=f"{each.label}/{row.id}",
                messages=row.messages() if raw is None else [Message(role="user", content=raw)],
                temperature=0.0,
                max_new_tokens=longest,
                raw=raw is not None,
            )
            asked.append(ModelRequest(each.label, row, request))
            own = draws(each, request, settings.seed)
            asked += [ModelRequest(each.label, row, draw, number) for number, draw in enumerate(own)]
    return asked


def _ask(
    model: str, settings: EngineSettings, asked: Sequence[ModelRequest], benchmarks: Benchmarks, calls: Calls
) -> tuple[str, list[Prediction]]:
    """Identity of a model, and its answers. The engine goes when this returns."""
    engine = calls.open(settings)
    _check_prompts(model, engine, asked)
    different = {each.request.key: each.request for each in asked}
    answers = calls.complete(engine, [*different.values()], f"{model} answers")
    template = getattr(settings, "template", None) or getattr(settings, "protocol", None)
    predictions = [_prediction(model, each, answers[each.request.key], template) for each in asked]
    again = {
        place: scoring(each.row, prediction)
        for place, (each, prediction) in enumerate(zip(asked, predictions, strict=True))
        if getattr(benchmarks[each.benchmark], "scored_again", False) and prediction.failure is None
    }
    different = {request.key: request for request in again.values()}
    scored = calls.complete(engine, [*different.values()], f"{model} scores its samples") if different else {}
    for place, request in again.items():
        found = scored[request.key]
        update = {"logprob": found.logprob, "num_tokens": found.num_tokens, "failure": found.failure}
        predictions[place] = predictions[place].model_copy(update=update)
    return engine.identity, predictions


def _check_prompts(model: str, engine: Engine, asked: Sequence[ModelRequest]) -> None:
    """Refuse an engine that cannot be given the prompts as they are."""
    raw = next((each.benchmark for each in asked if each.request.raw), None)
    if raw is not None and not engine.capabilities.raw:
        raise EngineError(
            model,
            found=f"it puts every prompt into a chat template, and {raw} gives plain prompts",
            fix="Leave out encoding: tk-instruct, or set protocol: completions for the endpoint.",
        )


def _prediction(model: str, asked: ModelRequest, answer: Completion, template: str | None) -> Prediction:
    row, messages = asked.row, asked.request.messages
    question = row if isinstance(row, Question) else Question(id=row.id, instruction="")
    finite = answer.logprob is None or math.isfinite(answer.logprob)
    return Prediction(
        id=row.id,
        benchmark=asked.benchmark,
        model=model,
        instruction=asked.request.prompt[-1].text,
        prediction=answer.text,
        sample=asked.sample,
        logprob=answer.logprob if finite else None,
        references=question.references or ([] if row.reference is None else [row.reference]),
        task=row.task,
        checker=row.checker,
        prompt_sha256=digest([message.model_dump() for message in messages]),
        finish_reason=answer.finish_reason,
        num_tokens=answer.num_tokens,
        prompt_tokens=answer.prompt_tokens,
        num_examples=question.num_examples,
        template="none" if question.always_raw else template,
        prompt_cut=question.prompt_cut,
        weight=question.weight,
        failure=answer.failure if finite else "log-probabilities that are not finite",
    )


def measure(
    predictions: Sequence[Prediction], settings: Evaluate, benchmarks: Benchmarks, calls: Calls
) -> list[Measure]:
    """All measures of all benchmarks; a verdict without a score says why."""
    measures: list[Measure] = []
    for each in settings.benchmarks:
        benchmark = benchmarks[each.label]
        own = [prediction for prediction in predictions if prediction.benchmark == each.label]
        if isinstance(benchmark, Measuring):
            measures += benchmark.measures(own, calls)
            continue
        answers = [prediction for prediction in own if prediction.sample is None]
        if isinstance(benchmark, Comparing):
            verdicts = [
                verdict.model_copy(update={"unjudged": verdict.failure is not None and answer.failure is None})
                for answer, verdict in zip(answers, benchmark.compare(answers, calls), strict=True)
            ]
        else:
            verdicts = _score_each(answers, benchmark)
        measures.append(Measure(each.label, benchmark.metric, answers, verdicts))
        if each.samples and isinstance(benchmark, Benchmark):
            samples = [prediction for prediction in own if prediction.sample is not None]
            measures += sample_measures(each, benchmark.score, samples)
    return measures


def _score_each(predictions: Sequence[Prediction], benchmark: Benchmark) -> list[Verdict]:
    verdicts = []
    for prediction in tracked(predictions, "scoring"):
        verdicts.append(
            Verdict(
                id=prediction.id,
                benchmark=prediction.benchmark,
                model=prediction.model,
                metric=benchmark.metric,
                score=benchmark.score(prediction) if prediction.failure is None else None,
                weight=prediction.weight,
                task=prediction.task,
                failure=prediction.failure,
            )
        )
    return verdicts


def _add_totals(
    results: EvaluationResults, measures: Sequence[Measure], benchmarks: Benchmarks, folder: Path | None
) -> None:
    """Add notes and published totals to the results, and write the totals with their samples for other tools."""
    answers: defaultdict[tuple[str, str], list[tuple[Prediction, Verdict]]] = defaultdict(list)
    for each in measures:
        if each.name in benchmarks and len(each.answers) == len(each.verdicts):
            for prediction, verdict in zip(each.answers, each.verdicts, strict=True):
                answers[prediction.model, each.name].append((prediction, verdict))
    for label, benchmark in benchmarks.items():
        for result in results.on(label).values():
            result.note = getattr(benchmark, "note", "")
    for (model, label), answered in answers.items():
        benchmark = benchmarks[label]
        if not isinstance(benchmark, WithTotals):
            continue
        totals = benchmark.totals(answered)
        result = results.models[model].results[label]
        result.totals = next(iter(totals["results"].values()))
        result.headline = getattr(benchmark, "headline", "")
        if folder is not None:
            samples = [
                sample(number, prediction, benchmark.metrics(prediction, verdict))
                for number, (prediction, verdict) in enumerate(answered)
            ]
            place = folder / model.replace("/", "__")
            document = for_harness(totals, model, results.models[model].identity, samples)
            write_json(place / f"results_{label}.json", document)
            write_jsonl(place / f"samples_{label}.jsonl", samples)
