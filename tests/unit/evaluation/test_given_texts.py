"""Measures of texts that are given to a model: ranked lists, plain texts and references, and how far it has drifted."""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import cache
from itertools import combinations
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from tests.tiny import save_tiny_model
from tunalm.calls.context import Calls
from tunalm.data.checkable import generate
from tunalm.errors import DataError
from tunalm.evaluation import check, evaluate
from tunalm.evaluation.lists import ListsBenchmark
from tunalm.evaluation.runner import Evaluation
from tunalm.recipe import BenchmarkSettings, Evaluate
from tunalm.records import Prediction, Ranking, Response
from tunalm.store import write_rows

INSTRUCTIONS = [row.instruction for row in generate("heldout")[:4]]


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A base model without a chat template, and one that has moved away from it."""
    folder = tmp_path_factory.mktemp("models")
    start = save_tiny_model(folder / "start", template=None)
    moved = AutoModelForCausalLM.from_pretrained(start)
    torch.manual_seed(1)
    with torch.no_grad():
        for weights in moved.parameters():
            weights.add_(0.02 * torch.randn_like(weights))
    moved.save_pretrained(folder / "moved")
    AutoTokenizer.from_pretrained(start).save_pretrained(folder / "moved")
    return folder


@cache
def loaded(folder: Path) -> tuple[Any, Any]:
    return AutoTokenizer.from_pretrained(folder), AutoModelForCausalLM.from_pretrained(folder)


def logprobs(folder: Path, prompt: str, response: str, *, ended: bool) -> list[float]:
    """Log-probability of every token of a text, the plain way.

    A response stands two lines below its prompt (`template: raw`) and has an end unless it was cut; a text without a
    prompt stands behind the end token.
    """
    tokenizer, model = loaded(folder)
    before = tokenizer.encode(prompt) or [tokenizer.eos_token_id]
    own = [*tokenizer.encode(f"\n\n{response}" if prompt else response), *([tokenizer.eos_token_id] if ended else [])]
    with torch.inference_mode():
        found = model(torch.tensor([[*before, *own]])).logits[0].float().log_softmax(-1)
    return [float(found[len(before) + place - 1, token]) for place, token in enumerate(own)]


def evaluated(folder: Path, models: Path, *benchmarks: dict[str, Any], **knobs: Any) -> Evaluation:
    engines = {
        name: {"model": str(models / name), "template": "raw", "precision": "fp32"} for name in ("start", "moved")
    }
    tree = {"models": engines, "benchmarks": list(benchmarks), "bootstrap_samples": 200, "max_new_tokens": 12}
    return evaluate(Evaluate.model_validate({**tree, **knobs}), Calls(folder / "ledger.sqlite"))


def lists(folder: Path, *ranks: Sequence[int | None]) -> str:
    rows = [
        Ranking(
            id=str(number),
            instruction=INSTRUCTIONS[number],
            responses=[
                Response(text=f"{'word ' * (place + number)}{place}", rank=rank, finish_reason="stop")
                for place, rank in enumerate(own)
            ],
        )
        for number, own in enumerate(ranks)
    ]
    write_rows(folder / "rankings.jsonl", rows)
    return str(folder / "rankings.jsonl")


def test_a_model_puts_the_responses_of_a_list_in_the_order_of_its_own_v(tmp_path: Path, models: Path) -> None:
    ranks: list[list[int | None]] = [[1, 0, 2, 2], [0, 0, 0, 0], [0, 1, None, 2], [2, 1, 0, 1]]
    source = lists(tmp_path, *ranks)
    found = evaluated(tmp_path, models, {"name": "lists", "rankings": source, "length_penalty": 1.3})
    right = pairs = top = decided = 0.0
    for number, own in enumerate(ranks):
        if len(set(own)) == 1:
            continue
        decided += 1
        scored = []
        for place, rank in enumerate(own):
            if rank is not None:
                each = logprobs(
                    models / "moved", INSTRUCTIONS[number], f"{'word ' * (place + number)}{place}", ended=True
                )
                scored.append((sum(each) / len(each) ** 1.3, rank))
        top += max(scored)[1] == 0
        for (v, rank), (other_v, other) in combinations(scored, 2):
            pairs += rank != other
            right += (v - other_v) * (other - rank) > 0
    results = found.results.models["moved"].results
    assert results["lists"].value == pytest.approx(100 * right / pairs, abs=1e-3)
    assert results["lists: top1"].value == pytest.approx(100 * top / decided, abs=1e-3)
    assert (results["lists"].n, results["lists"].metric) == (3, "pairs_in_order")
    assert "3 lists; every pair weighs the same; 1 lists in which" in results["lists"].note
    assert [*results["lists"].curve] == ["1", "2", "3", "4"]
    assert len(found.results.comparisons) == 3


def benchmark(folder: Path, *ranks: Sequence[int | None]) -> ListsBenchmark:
    return ListsBenchmark(BenchmarkSettings(name="lists", rankings={"source": lists(folder, *ranks)}))


def scored(row: int, *values: float | None) -> list[Prediction]:
    """What a model says of the responses of a list; None has failed."""
    return [
        Prediction(
            id=str(row),
            benchmark="lists",
            model="m",
            prediction="",
            sample=place,
            num_tokens=1,
            logprob=value,
            failure="too long" if value is None else None,
        )
        for place, value in enumerate(values)
    ]


def test_a_model_that_finds_all_responses_equally_likely_is_half_right_and_has_no_tau(tmp_path: Path) -> None:
    own = benchmark(tmp_path, [0, 1, 2])
    measures = own.measures(scored(0, -1.0, -1.0, -1.0), Calls(tmp_path / "ledger.sqlite"))
    pairs, top1, tau = (each.verdicts[0] for each in measures)
    assert (pairs.score, tau.score, tau.unjudged) == (0.5, None, True)
    assert top1.score == pytest.approx(1 / 3)


def test_a_list_that_cannot_be_scored_whole_counts_as_wrong_and_says_why(tmp_path: Path) -> None:
    own = benchmark(tmp_path, [0, 1])
    measures = own.measures(scored(0, -1.0, None), Calls(tmp_path / "ledger.sqlite"))
    assert [(each.verdicts[0].score, each.verdicts[0].failure) for each in measures] == [(None, "too long")] * 3
    assert [each.verdicts[0].unjudged for each in measures] == [False, False, True]


def test_calibration_is_the_share_of_pairs_in_order_by_quarters_of_the_difference_of_v(tmp_path: Path) -> None:
    own = benchmark(tmp_path, [0, 1], [0, 1], [0, 1], [0, 1])
    gaps = [0.1, -0.2, 0.5, 2.0]  # the one that is not in order has a small difference
    answers = [answer for row, gap in enumerate(gaps) for answer in scored(row, -5.0, -5.0 - gap)]
    curve = own.measures(answers, Calls(tmp_path / "ledger.sqlite"))[0].curves["m"]
    shares = [np.array(parts).sum(axis=0) for parts in curve.points.values()]
    assert [tuple(each) for each in shares] == [(100.0, 1.0), (0.0, 1.0), (100.0, 1.0), (100.0, 1.0)]


@pytest.mark.parametrize("ranks", [[[0, 0], [0, 0]], [[None, None]]])
def test_lists_that_are_all_ties_are_refused_before_any_model_is_asked(
    tmp_path: Path, ranks: list[list[int | None]]
) -> None:
    settings = {"models": ["a/b"], "benchmarks": [{"name": "lists", "rankings": lists(tmp_path, *ranks)}]}
    with pytest.raises(DataError, match="in none of which a response ranks better"):
        check(Evaluate.model_validate(settings))


def test_texts_and_references_cost_as_many_nats_per_token_as_one_pass_over_each_says(
    tmp_path: Path, models: Path
) -> None:
    texts = [
        "A plain text.",
        "Ein Text in einer anderen Sprache, etwas länger: \u0645\u0631\u062d\u0628\u0627",
        "x" * 2000,
    ]
    plain, pairs = tmp_path / "plain.jsonl", tmp_path / "pairs.jsonl"
    plain.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts), encoding="utf-8")
    pairs.write_text(json.dumps({"instruction": "Say it.", "output": texts[1]}) + "\n", encoding="utf-8")
    found = evaluated(
        tmp_path,
        models,
        {"name": "text", "data": str(plain), "title": "plain"},
        {"name": "text", "data": str(pairs), "title": "pairs"},
    )
    results = found.results.models["start"].results
    slow = [each for text in texts[:2] for each in logprobs(models / "start", "", text, ended=False)]
    assert results["plain"].value == pytest.approx(-fmean(slow), abs=2e-3)
    assert (results["plain"].n, results["plain"].unjudged) == (2, 1), "the model reads 1024 tokens"
    slow = logprobs(models / "start", "Say it.", texts[1], ended=True)
    assert results["pairs"].value == pytest.approx(-fmean(slow), abs=2e-3)


def test_a_text_that_is_empty_is_refused_by_its_line(tmp_path: Path) -> None:
    path = tmp_path / "plain.jsonl"
    path.write_text('{"text": "a"}\n{"text": " "}\n', encoding="utf-8")
    settings = {"models": ["a/b"], "benchmarks": [{"name": "text", "data": str(path)}]}
    with pytest.raises(DataError, match=r"plain\.jsonl:2: found no text"):
        check(Evaluate.model_validate(settings))


def test_the_drift_of_a_model_is_its_divergence_from_the_start_and_that_of_the_start_is_nothing(
    tmp_path: Path, models: Path
) -> None:
    start = {"model": str(models / "start"), "template": "raw", "precision": "fp32"}
    data = {"source": "checkable:heldout", "limit": 24}
    found = evaluated(tmp_path, models, {"name": "drift", "data": data, "start": start, "samples": 2})
    tokens = change = 0.0
    for each in found.predictions:
        if each.model == "moved":
            ended = each.finish_reason != "length"
            own, old = (
                logprobs(models / name, each.instruction, each.prediction, ended=ended) for name in ("moved", "start")
            )
            tokens += len(own)
            change += sum(own) - sum(old)
    zero, moved = (found.results.models[name].results for name in ("start", "moved"))
    assert [zero[name].value for name in zero] == [0.0, 0.0]
    assert moved["drift"].value == pytest.approx(change / tokens, abs=2e-3)
    assert moved["drift: kl_per_response"].value == pytest.approx(change / 48, abs=2e-2)
    assert moved["drift"].value is not None
    assert moved["drift"].value > 0.05, "far enough for the sign to be no chance"
    assert {pair.metric for pair in found.results.comparisons} == {"kl_per_token", "kl_per_response"}
