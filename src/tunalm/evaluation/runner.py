"""The stage `evaluate`: every model answers every held-out instruction greedily, then the answers are scored.

It writes `predictions.jsonl` before anything is scored, then `rows.jsonl` with one verdict per prediction, then
`results.json`. Answers are in the run's ledger as soon as they are given, so a stage that was interrupted goes on from
there; failed ones are asked for again. Models are asked one after the other, and one at a time is in memory.
"""

from __future__ import annotations

import gc
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

from tunalm.engines import open_engine
from tunalm.engines.base import Completion, Engine, Request
from tunalm.engines.ledger import complete
from tunalm.evaluation.base import Benchmark, open_benchmark
from tunalm.evaluation.results import summarise
from tunalm.progress import progress
from tunalm.recipe import EngineSettings, Evaluate
from tunalm.records import Instruction, Prediction, Verdict
from tunalm.store import StageContext, Summary, digest, write_json, write_rows

Rows = Mapping[str, Sequence[Instruction]]
"""Instructions by the name of their benchmark."""


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
    benchmarks: dict[str, Benchmark] = {each.name: open_benchmark(each) for each in settings.benchmarks}
    rows: Rows = {name: benchmark.rows() for name, benchmark in benchmarks.items()}
    identities: dict[str, str] = {}
    predictions: list[Prediction] = []
    for name, engine in settings.models.items():
        identities[name], answered = _ask(name, engine, rows, settings, context)
        predictions += answered
        gc.collect()
    write_rows(context.folder / "predictions.jsonl", predictions)
    verdicts = score(predictions, benchmarks)
    write_rows(context.folder / "rows.jsonl", verdicts)
    answers: defaultdict[tuple[str, str], list[tuple[Prediction, Verdict]]] = defaultdict(list)
    for prediction, verdict in zip(predictions, verdicts, strict=True):
        answers[prediction.model, prediction.benchmark].append((prediction, verdict))
    results = summarise(answers, identities, settings)
    write_json(context.folder / "results.json", results)
    failed = sum(verdict.failure is not None for verdict in verdicts)
    return Summary(len(verdicts), len(verdicts) - failed, failed, details=_values(results))


def score(predictions: Sequence[Prediction], benchmarks: Mapping[str, Benchmark]) -> list[Verdict]:
    """One verdict per prediction, in their order; a failed one has no score and keeps its reason."""
    verdicts = []
    with progress("scoring", len(predictions)) as advance:
        for prediction in predictions:
            benchmark = benchmarks[prediction.benchmark]
            verdicts.append(
                Verdict(
                    id=prediction.id,
                    benchmark=prediction.benchmark,
                    model=prediction.model,
                    metric=benchmark.metric,
                    score=benchmark.score(prediction) if prediction.failure is None else None,
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
    asked = [(benchmark, row, _request(benchmark, row, settings)) for benchmark in rows for row in rows[benchmark]]
    answers = complete(engine, [request for *_, request in asked], context.ledger, f"{model} answers")
    predictions = [
        _prediction(model, benchmark, row, request, answers[request.key]) for benchmark, row, request in asked
    ]
    return engine.identity, predictions


def _request(benchmark: str, row: Instruction, settings: Evaluate) -> Request:
    return Request(
        key=f"{benchmark}/{row.id}",
        messages=row.messages(),
        temperature=0.0,
        max_new_tokens=settings.max_new_tokens,
    )


def _prediction(model: str, benchmark: str, row: Instruction, request: Request, answer: Completion) -> Prediction:
    return Prediction(
        id=row.id,
        benchmark=benchmark,
        model=model,
        instruction=request.messages[-1].text,
        prediction=answer.text,
        references=[] if row.reference is None else [row.reference],
        task=row.task,
        checker=row.checker,
        prompt_sha256=digest([message.model_dump() for message in request.messages]),
        finish_reason=answer.finish_reason,
        num_tokens=answer.num_tokens,
        failure=answer.failure,
    )


def _values(results: dict[str, Any]) -> dict[str, Any]:
    """Values alone, for the summary of the stage: {benchmark: {model: value}}."""
    values: defaultdict[str, dict[str, float]] = defaultdict(dict)
    for model, outcome in results["models"].items():
        for benchmark, result in outcome["results"].items():
            values[benchmark][model] = result["value"]
    return dict(values)
