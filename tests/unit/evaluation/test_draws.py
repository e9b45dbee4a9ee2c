"""pass@1, pass@k and likeliest@k in an evaluation of scripted models whose samples are known."""

from __future__ import annotations

import json
from collections.abc import Callable
from itertools import combinations
from pathlib import Path
from statistics import fmean
from typing import Any

import pytest

from tunalm.calls.context import Calls, StageContext
from tunalm.data.checkable import generate
from tunalm.engines.base import Completion, Engine, Request
from tunalm.engines.scripted import ScriptedEngine
from tunalm.errors import DataError
from tunalm.evaluation import evaluate, run
from tunalm.evaluation.draws import sample_measures
from tunalm.recipe import BenchmarkSettings, Evaluate
from tunalm.records import EvaluationResults, Prediction
from tunalm.store import read_rows

ROWS = generate("heldout")[:6]
REFERENCES = {row.instruction: row.reference or "" for row in ROWS}
SAMPLES = 4
RIGHT = {row.id: [(place + number) % 3 == 0 for number in range(SAMPLES)] for place, row in enumerate(ROWS)}
"""Which samples are right; -number is their log-probability, so that the first is the likeliest."""

Answer = Callable[[Request], Completion | str]


def known(request: Request) -> Completion:
    """The greedy answer is wrong; of the samples some are right, and the first one is the likeliest."""
    text = REFERENCES[request.messages[-1].content]
    row, _, number = request.key.removeprefix("checkable/").rpartition("/")
    place = int(number) if request.temperature else 0
    right = request.temperature > 0 and RIGHT[row][place]
    return Completion(
        key=request.key, text=text if right else "", num_tokens=2, token_logprobs=[-place / 2, -place / 2 - 0.1]
    )


def install(monkeypatch: pytest.MonkeyPatch, **functions: Answer) -> list[Request]:
    asked: list[Request] = []

    def open_engine(engine: Any, *, trust_remote_code: bool = False) -> Engine:
        def answer(request: Request) -> Completion | str:
            asked.append(request)
            return functions[engine.model](request)

        return ScriptedEngine.from_function(answer, engine.model, batch_size=4)

    monkeypatch.setattr("tunalm.calls.context.open_engine", open_engine)
    return asked


def settings(*models: str, **knobs: Any) -> Evaluate:
    benchmark = {"name": "checkable", "data": {"source": "checkable:heldout", "limit": len(ROWS)}, **knobs}
    return Evaluate.model_validate({"models": list(models), "benchmarks": [benchmark], "bootstrap_samples": 200})


def test_samples_are_measured_without_bias_beside_the_greedy_answer(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    asked = install(monkeypatch, base=known, same=known)
    (tmp_path / "scores").mkdir()
    context = StageContext(tmp_path / "scores", tmp_path / "ledger.sqlite")
    summary = run(settings("base", "same", samples=SAMPLES, k=2, temperature=0.7), context)
    results = EvaluationResults.model_validate(json.loads((context.folder / "results.json").read_text("utf-8")))
    found = results.models["base"].results
    pairs = [list(combinations(RIGHT[row.id], 2)) for row in ROWS]
    assert found["checkable"].value == 0.0
    assert found["checkable: pass@1"].value == pytest.approx(100 * fmean(map(fmean, RIGHT.values())), abs=1e-3)
    assert found["checkable: pass@2"].value == pytest.approx(
        100 * fmean(fmean(any(pair) for pair in own) for own in pairs), abs=1e-3
    )
    assert found["checkable: likeliest@2"].value == pytest.approx(
        100 * fmean(fmean(first for first, _ in own) for own in pairs), abs=1e-3
    )
    assert found["checkable: pass@2"].ci95 is not None
    assert [*found["checkable: pass@2"].curve] == ["1", "2"]
    assert found["checkable: pass@2"].curve["2"].value == found["checkable: pass@2"].value
    assert [each.difference for each in results.comparisons] == [0.0] * 4, "all measures are compared, row by row"
    assert (summary.requested, summary.ok) == (2 * len(ROWS) * (1 + SAMPLES),) * 2
    drawn = [request for request in asked if request.temperature]
    assert {(request.temperature, request.logprobs) for request in drawn} == {(0.7, True)}
    assert len({request.seed for request in drawn}) == len(ROWS) * SAMPLES
    samples = read_rows(context.folder / "samples.jsonl", Prediction)
    assert [row.sample for row in samples[:SAMPLES]] == [*range(SAMPLES)]
    assert len(read_rows(context.folder / "predictions.jsonl", Prediction)) == 2 * len(ROWS)


def test_a_failed_sample_is_wrong_and_never_likeliest_and_a_row_of_failures_alone_has_failed(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def breaks(request: Request) -> Completion:
        if request.temperature and (ROWS[0].id in request.key or request.key.endswith("/0")):
            return Completion(key=request.key, failure="connection refused")
        return known(request)

    install(monkeypatch, base=breaks)
    found = evaluate(settings("base", samples=SAMPLES), Calls(tmp_path / "ledger.sqlite"))
    results = found.results.models["base"].results
    later = [RIGHT[row.id][1:] for row in ROWS[1:]]
    assert results["checkable: pass@4"].value == pytest.approx(100 * sum(map(any, later)) / len(ROWS), abs=1e-3)
    expected = 100 * sum(own[0] for own in later) / len(ROWS)
    assert results["checkable: likeliest@4"].value == pytest.approx(expected, abs=1e-3)
    assert [(each.n, each.failed) for each in results.values()] == [(6, 0), (6, 1), (6, 1), (6, 1)]


def sample(number: int, **fields: Any) -> Prediction:
    return Prediction(id="a", benchmark="b", model="m", sample=number, **{"prediction": "", "num_tokens": 1, **fields})


def test_a_response_without_tokens_is_the_least_likely_and_the_length_penalty_decides_the_rest() -> None:
    given = [
        sample(0, prediction="short", num_tokens=1, logprob=-1.0),
        sample(1, prediction="long", num_tokens=4, logprob=-3.0),
        sample(2, prediction="none", num_tokens=0, logprob=0.0),
    ]
    for penalty, chosen in ((0.0, "short"), (1.0, "long")):
        own = BenchmarkSettings.model_validate({"name": "checkable", "samples": 3, "length_penalty": penalty})

        def score(answer: Prediction, right: str = chosen) -> float:
            return float(answer.prediction == right)

        *_, likeliest = sample_measures(own, score, given)
        assert likeliest.verdicts[0].score == 1.0, penalty


def test_a_score_between_right_and_wrong_is_refused() -> None:
    own = BenchmarkSettings.model_validate({"name": "checkable", "samples": 2})
    with pytest.raises(DataError, match=r"row 'a': found a score of 0\.5"):
        sample_measures(own, lambda answer: 0.5, [sample(0), sample(1)])


@pytest.mark.parametrize(
    ("wrong", "complaint"),
    [
        ({"samples": 2, "k": 3}, "k is 3: pass@k needs as many samples or more; here samples is 2"),
        ({"k": 1}, "here samples is 0"),
        ({"temperature": 0.5}, "temperature is that of samples"),
        ({"length_penalty": 1.3}, "length_penalty is read by lists and with samples"),
        ({"name": "reference", "data": "x.jsonl", "samples": 2}, "right or wrong, not for reference"),
        ({"name": "reference"}, "reference needs data"),
        ({"name": "lists", "data": "x.jsonl"}, "lists needs rankings"),
        ({"name": "drift"}, "drift and start: MODEL"),
        ({"name": "drift", "start": "a/b", "temperature": 0.5}, "drift needs samples"),
        ({"name": "drift", "start": "a/b", "logprobs": False}, "drift needs samples"),
    ],
)
def test_knobs_that_nothing_would_read_or_that_cannot_be_kept_are_refused(
    wrong: dict[str, Any], complaint: str
) -> None:
    with pytest.raises(ValueError, match=complaint):
        BenchmarkSettings.model_validate({"name": "checkable", **wrong})
