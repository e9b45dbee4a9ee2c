"""The stage `evaluate`: every model answers every held-out instruction greedily, then the answers are scored.

It writes `predictions.jsonl` before anything is scored, then `rows.jsonl` with one verdict per prediction, then
`results.json`, and for published benchmarks `harness/MODEL/` with the files that other tools read. Answers are in the
run's ledger as soon as they are given, so a stage that was interrupted goes on from there; failed ones are asked for
again. Models are asked one after the other, and one at a time is in memory.
"""

from __future__ import annotations

import gc
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path

from tunalm.calls.asking import complete
from tunalm.calls.context import StageContext
from tunalm.engines import open_engine
from tunalm.engines.base import Completion, Engine, Request
from tunalm.errors import EngineError
from tunalm.evaluation.base import Benchmark, Comparing, Question, WithTotals, open_benchmark
from tunalm.evaluation.harness import for_harness, sample, write_jsonl
from tunalm.evaluation.results import Answers, summarise
from tunalm.progress import progress
from tunalm.recipe import EngineSettings, Evaluate
from tunalm.records import EvaluationResults, Instruction, Message, Prediction, Verdict
from tunalm.store import Summary, digest, write_json, write_rows

PUBLISHED_LENGTHS = {"superni": 128, "lmentry": 50, "vicuna": 1024}
"""Tokens of the longest answer with which a benchmark was published."""

Benchmarks = Mapping[str, Benchmark | Comparing]
Rows = Mapping[str, Sequence[Instruction]]
"""Instructions by the label of their benchmark."""


def run(settings: Evaluate, context: StageContext) -> Summary:
    """Run the stage.

    Returns:
        Answers asked for, given and failed; `details` has the value of every model by benchmark.

    Raises:
        DataError: the instructions of a benchmark cannot be read or scored; found before any model is asked.
        EngineError: a model cannot answer any request.
        ModelError: a model cannot be loaded.
        StoreError: the ledger or the folder cannot be written.
    """
    benchmarks: Benchmarks = {each.label: open_benchmark(each) for each in settings.benchmarks}
    rows: Rows = {name: benchmark.rows() for name, benchmark in benchmarks.items()}
    identities: dict[str, str] = {}
    predictions: list[Prediction] = []
    for name, engine in settings.models.items():
        identities[name], answered = _ask(name, engine, rows, settings, context)
        predictions += answered
        gc.collect()
    write_rows(context.folder / "predictions.jsonl", predictions)
    verdicts = score(predictions, benchmarks, context)
    write_rows(context.folder / "rows.jsonl", verdicts)
    answers: defaultdict[tuple[str, str], list[tuple[Prediction, Verdict]]] = defaultdict(list)
    for prediction, verdict in zip(predictions, verdicts, strict=True):
        answers[prediction.model, prediction.benchmark].append((prediction, verdict))
    results = summarise(answers, identities, settings)
    _add_totals(results, answers, benchmarks, context.folder / "harness")
    write_json(context.folder / "results.json", results.model_dump(mode="json"))
    return Summary.of([verdict.failure for verdict in verdicts], _values(results))


def score(predictions: Sequence[Prediction], benchmarks: Benchmarks, context: StageContext) -> list[Verdict]:
    """One verdict per prediction, in their order; one without a score says why."""
    verdicts: dict[int, Verdict] = {}
    for name, benchmark in benchmarks.items():
        places = [place for place, prediction in enumerate(predictions) if prediction.benchmark == name]
        own = [predictions[place] for place in places]
        found = benchmark.compare(own, context) if isinstance(benchmark, Comparing) else _score_each(own, benchmark)
        verdicts |= dict(zip(places, found, strict=True))
    return [verdicts[place] for place in range(len(predictions))]


def _score_each(predictions: Sequence[Prediction], benchmark: Benchmark) -> list[Verdict]:
    verdicts = []
    with progress("scoring", len(predictions)) as advance:
        for prediction in predictions:
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
            advance(1)
    return verdicts


def _ask(
    model: str, engine_settings: EngineSettings, rows: Rows, settings: Evaluate, context: StageContext
) -> tuple[str, list[Prediction]]:
    """Identity of a model, and its answers to all benchmarks. The engine goes when this returns."""
    engine: Engine = open_engine(engine_settings, trust_remote_code=context.trust_remote_code)
    asked = [
        (benchmark, row, request_for(benchmark, row, settings, engine_settings))
        for benchmark in rows
        for row in rows[benchmark]
    ]
    _check_prompts(model, engine, asked)
    answers = complete(
        engine, [request for *_, request in asked], context.ledger, f"{model} answers", budget=context.budget
    )
    predictions = [
        _prediction(model, benchmark, row, request, answers[request.key]).model_copy(
            update={"template": _template(row, engine_settings)}
        )
        for benchmark, row, request in asked
    ]
    return engine.identity, predictions


def request_for(benchmark: str, row: Instruction, settings: Evaluate, engine: EngineSettings) -> Request:
    """What a model is asked about an instruction of a benchmark; the template is the model's own affair.

    A model without a template (`template: raw`) gets the raw prompt of the benchmark, if it has one.
    """
    prompt = None
    if isinstance(row, Question) and (row.always_raw or getattr(engine, "template", None) == "raw"):
        prompt = row.raw
    return Request(
        key=f"{benchmark}/{row.id}",
        messages=row.messages() if prompt is None else [Message(role="user", content=prompt)],
        temperature=0.0,
        max_new_tokens=_longest_answer(benchmark, settings),
        raw=prompt is not None,
    )


def _template(row: Instruction, engine: EngineSettings) -> str | None:
    """What was put around a question, as predictions say it."""
    if isinstance(row, Question) and row.always_raw:
        return "none"
    template: str | None = getattr(engine, "template", None)
    return template


def _add_totals(results: EvaluationResults, answers: Answers, benchmarks: Benchmarks, folder: Path) -> None:
    """Add the published totals to the results, and write them with their samples for other tools."""
    for (model, label), answered in answers.items():
        benchmark = benchmarks[label]
        if isinstance(benchmark, WithTotals):
            totals = benchmark.totals(answered)
            result = results.models[model].results[label]
            result.note, result.totals = benchmark.note, next(iter(totals["results"].values()))
            place = folder / model.replace("/", "__")
            samples = [
                sample(number, prediction, benchmark.metrics(prediction, verdict))
                for number, (prediction, verdict) in enumerate(answered)
            ]
            document = for_harness(totals, model, results.models[model].identity, samples)
            write_json(place / f"results_{label}.json", document)
            write_jsonl(place / f"samples_{label}.jsonl", samples)


def _longest_answer(benchmark: str, settings: Evaluate) -> int:
    own = next(each for each in settings.benchmarks if each.label == benchmark)
    return own.max_new_tokens or PUBLISHED_LENGTHS.get(own.name, settings.max_new_tokens)


def _check_prompts(model: str, engine: Engine, asked: Sequence[tuple[str, Instruction, Request]]) -> None:
    """Refuse an engine that cannot be given the prompts as they are."""
    raw = next((benchmark for benchmark, _, request in asked if request.raw), None)
    if raw is not None and not engine.capabilities.raw:
        raise EngineError(
            model,
            found="an engine that puts every prompt into a chat template",
            expected=f"one that takes the plain prompts of {raw}",
            fix="Leave out encoding: tk-instruct, or set protocol: completions for the endpoint.",
        )


def _prediction(model: str, benchmark: str, row: Instruction, request: Request, answer: Completion) -> Prediction:
    question = row if isinstance(row, Question) else Question(id=row.id, instruction="")
    return Prediction(
        id=row.id,
        benchmark=benchmark,
        model=model,
        instruction=request.messages[-1].text,
        prediction=answer.text,
        references=question.references or ([] if row.reference is None else [row.reference]),
        task=row.task,
        checker=row.checker,
        prompt_sha256=digest([message.model_dump() for message in request.messages]),
        finish_reason=answer.finish_reason,
        num_tokens=answer.num_tokens,
        prompt_tokens=answer.prompt_tokens,
        num_examples=question.num_examples,
        prompt_cut=question.prompt_cut,
        weight=question.weight,
        failure=answer.failure,
    )


def _values(results: EvaluationResults) -> dict[str, dict[str, float | None]]:
    """Values alone, for the summary of the stage: {benchmark: {model: value}}."""
    return {
        benchmark: {model: result.value for model, result in results.on(benchmark).items()}
        for benchmark in results.benchmarks
    }
