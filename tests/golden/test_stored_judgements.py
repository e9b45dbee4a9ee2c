"""Judgements that others have published, read and counted."""

from __future__ import annotations

import csv
import gzip
import json
from collections import Counter, defaultdict
from pathlib import Path
from statistics import fmean
from typing import Any

import pytest

from tunalm.data import load
from tunalm.evaluation.judge_check.figures import JudgedPair, figures
from tunalm.evaluation.judge_check.pairs import Choice, load_pairs
from tunalm.evaluation.pairwise.answers import read_answers
from tunalm.evaluation.pairwise.comparisons import PairVerdict
from tunalm.evaluation.pairwise.parsing import scores
from tunalm.evaluation.pairwise.prompts import kind_of, paper_prompt
from tunalm.evaluation.pairwise.reviews import load_reviews
from tunalm.evaluation.pairwise.winrates import win_rates
from tunalm.measures.agreement import cohen_kappa
from tunalm.recipe import Data

SHARED = Path(__file__).parents[2].parent / "shared" / "data"

pytestmark = pytest.mark.skipif(not SHARED.is_dir(), reason="the public files are not beside the repository")


def lines(name: str) -> list[dict[str, Any]]:
    with gzip.open(SHARED / name, "rt", encoding="utf-8") as file:
        return [json.loads(line) for line in file]


def vicuna_categories() -> dict[str, str | None]:
    return {row.id: row.task for row in load(Data(source=str(SHARED / "vicuna" / "question.jsonl")))}


def test_the_sets_of_questions_are_whole() -> None:
    sizes = {
        "vicuna/question.jsonl": 80,
        "vicuna/vicuna_bench_question.jsonl": 80,
        "mt_bench/question.jsonl": 80,
        "alpaca_eval/outputs.jsonl.gz": 805,
        "self_instruct/user_oriented_instructions_252.jsonl": 252,
    }
    assert {name: len(load(Data(source=str(SHARED / name)))) for name in sizes} == sizes
    assert Counter(Counter(vicuna_categories().values()).values()) == {10: 7, 7: 1, 3: 1}


def test_stored_answers_and_right_answers_are_read() -> None:
    assert len(read_answers(SHARED / "vicuna" / "answers.jsonl.gz", "alpaca-13b")) == 80
    assert len(read_answers(SHARED / "vicuna" / "vicuna_bench_reference_gpt4.jsonl")) == 10
    assert len(read_answers(SHARED / "alpaca_eval" / "outputs.jsonl.gz", "alpaca-7b")) == 805


def test_every_stored_review_of_vicuna_has_its_scores() -> None:
    """Two of the scores that people put in by hand are not those of the review, whose text says 10 and 4."""
    categories = vicuna_categories()
    reviews = lines("vicuna/gpt4_reviews.jsonl.gz")
    found = [scores(row["text"], kind_of(categories[str(row["question_id"])])) for row in reviews]
    other = [(row, read) for row, read in zip(reviews, found, strict=True) if tuple(row["score"]) != read]
    assert len(found) == 1040
    assert [(row["question_id"], row["score"], read) for row, read in other] == [(70, [10, 2], (10, 4))] * 2
    assert all("Assistant 1: 10\nAssistant 2: 4\n" in row["text"] for row, _ in other)
    assert sum(first == second for first, second in found) == round(0.096 * 1040)


def test_the_prompts_of_the_paper_mode_are_the_published_ones() -> None:
    rows = [json.loads(line) for line in (SHARED / "vicuna" / "prompt.jsonl").read_text(encoding="utf-8").splitlines()]
    for row in rows:
        asked = paper_prompt("Q {x}?", row["category"], "one", "{two}")
        text = row["prompt_template"].format(question="Q {x}?", answer_1="one", answer_2="{two}", **row["defaults"])
        assert [(turn.role, turn.content) for turn in asked] == [("system", row["system_prompt"]), ("user", text)]


def test_verdicts_of_stored_reviews_in_both_orders_survive_the_swap() -> None:
    path = SHARED / "rank_data" / "gpt4_reviews_both_orders_cherry_vs_alpaca.jsonl.gz"
    groups = load_reviews(path, {}, "pairwise")
    found = {name: win_rates(rows, 200, 0) for name, rows in groups.items()}
    assert found["vicuna"]["swap_consistency"] == 67.5
    assert (found["vicuna"]["first_slot"], found["vicuna"]["second_slot"]) == (2, 10)
    assert found["koala"]["swap_consistency"] == pytest.approx(81.7, abs=0.05)
    assert sum(rates["judged"] for rates in found.values()) == 1030


def test_people_and_stored_reviews_of_the_same_answers() -> None:
    people: dict[str, Choice] = {
        pair.question.id: pair.label for pair in load_pairs(SHARED / "faireval" / "faireval.jsonl.gz")
    }
    groups = load_reviews(SHARED / "vicuna" / "gpt4_reviews.jsonl.gz", vicuna_categories(), "vicuna")
    reviews: list[PairVerdict] = groups["review_gpt35_vicuna-13b"]
    verdicts = [{"win": "second", "loss": "first", "tie": "tie"}[row.outcome or "tie"] for row in reviews]
    labels = [people[row.id] for row in reviews]
    assert Counter(labels) == {"first": 41, "second": 25, "tie": 14}
    assert sum(map(str.__eq__, labels, verdicts)) / len(labels) == 0.525
    assert cohen_kappa(labels, verdicts) == pytest.approx(0.23, abs=0.005)


@pytest.mark.parametrize("prompt", ["Vanilla", "CoT", "Swap", "Metrics_Reference"])
def test_figures_of_gpt4_on_llmbar_are_the_published_ones(prompt: str) -> None:
    published = json.loads((SHARED / "llmbar" / "gpt4_statistics.json").read_text(encoding="utf-8"))
    choices: dict[str, Choice] = {"1": "first", "2": "second"}
    judged = defaultdict(list)
    for pair, row in zip(
        load_pairs(SHARED / "llmbar" / "llmbar.jsonl.gz"), lines("llmbar/llmbar.jsonl.gz"), strict=True
    ):
        if row["subset"] in ("natural", "adv_neighbor", "adv_gptinst", "adv_gptout", "adv_manual"):
            given, swapped = row["gpt4_winner_by_prompt"][prompt]
            judged[row["subset"]].append(JudgedPair(pair, (choices.get(given), choices.get(swapped))))
    assert sum(map(len, judged.values())) == 419
    for subset, rows in judged.items():
        found, expected = figures(rows, 100, 0), published[subset][prompt]
        for ours, theirs in [
            ("accuracy_given", "correct_False"),
            ("accuracy_swapped", "correct_True"),
            ("accuracy", "correct_average"),
            ("both_correct", "correct_both"),
            ("positional_agreement", "equal"),
        ]:
            value = float(expected[theirs].rpartition("=")[2].strip().rstrip("%"))
            assert found[ours] == pytest.approx(value, abs=1e-4), (subset, ours)
        assert found["kappa_orders"] == pytest.approx(expected["kappa_agreement"], abs=1e-4)


def test_win_rates_of_alpaca_eval_are_the_published_ones() -> None:
    with (SHARED / "alpaca_eval" / "weighted_alpaca_eval_gpt4_turbo_leaderboard.csv").open(encoding="utf-8") as file:
        published = {row[""]: float(row["win_rate"]) for row in csv.DictReader(file)}
    preferences = defaultdict(list)
    for row in lines("alpaca_eval/preferences.jsonl.gz"):
        if row["annotator"] == "weighted_alpaca_eval_gpt4_turbo":
            preferences[row["generator_2"]].append(100 * (row["preference"] - 1))
    known = {name: fmean(values) for name, values in preferences.items() if name in published}
    assert len(known) >= 10
    assert known == pytest.approx({name: published[name] for name in known}, abs=1e-3)
