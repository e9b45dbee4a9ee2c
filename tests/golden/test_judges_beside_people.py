"""`tunalm audit` on published judgements by GPT-4 and by people, and the same figures counted a second time by hand."""

from __future__ import annotations

import csv
import gzip
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import combinations
from pathlib import Path
from statistics import correlation, fmean
from typing import Any

import pytest

from tunalm.auditing import audit_files
from tunalm.evaluation.judge_check.pairs import load_pairs
from tunalm.records import Ranking, Response
from tunalm.store import write_rows

SHARED = Path(__file__).parents[2].parent / "shared" / "data"
pytestmark = pytest.mark.skipif(not SHARED.is_dir(), reason="the public files are not beside the repository")

Order = Sequence[float]
Raters = Mapping[str, Mapping[str, Order]]
"""Ranks by rater and list."""
PREFERS = {"first": (0, 1), "second": (1, 0), "tie": (0, 0)}
PEOPLE, TOGETHER = "raters with each other", "ranking with their mean order"


def lines(name: str) -> list[dict[str, Any]]:
    with gzip.open(SHARED / name, "rt", encoding="utf-8") as file:
        return [json.loads(line) for line in file]


def a_list(name: str, task: str, texts: Iterable[str], order: Order) -> Ranking:
    responses = [
        Response(text=text if text.strip() else "-", rank=int(rank)) for text, rank in zip(texts, order, strict=True)
    ]
    return Ranking(id=name, instruction="?", task=task, responses=responses)


def audited(folder: Path, rows: Sequence[Ranking], raters: Raters) -> dict[str, Any]:
    """What the program says of files with these lists and raters."""
    write_rows(folder / "judge.jsonl", rows)
    with open(folder / "people.csv", "w", encoding="utf-8", newline="") as file:
        table = csv.writer(file)
        table.writerow(["id", "position", "rank", "rater"])
        for rater, orders in raters.items():
            for name, order in orders.items():
                table.writerows((name, place, rank, rater) for place, rank in enumerate(order))
    found: dict[str, Any] = audit_files(folder / "judge.jsonl", [folder / "people.csv"])["agreement"]
    return found


def counted(lists: Iterable[tuple[Order, Order, Sequence[int]]]) -> dict[str, float | None]:
    """Figures of (truth, ranking, lengths) of each list, by counting pairs."""
    taus, rhos, best, pairs = [], [], [], []
    for truth, ranking, lengths in lists:
        signs = [
            tuple(sign(order[b] - order[a]) for order in (truth, ranking, [-length for length in lengths]))
            for a, b in combinations(range(len(truth)), 2)
        ]
        pairs += signs
        alike = sum(x * y for x, y, _ in signs)
        decided = [sum(x != 0 for x in each) for each in list(zip(*signs, strict=True))[:2]]
        if all(decided):
            taus.append(alike / (decided[0] * decided[1]) ** 0.5)
            rhos.append(correlation(places(truth), places(ranking)))
        firsts = [{place for place, rank in enumerate(order) if rank == min(order)} for order in (truth, ranking)]
        best.append(len(firsts[0] & firsts[1]) / len(firsts[0] | firsts[1]))
    both_ways = [*pairs, *(tuple(-x for x in each) for each in pairs)]
    truths, rankings, lengths_ = zip(*both_ways, strict=True)
    rest = residuals(rankings, lengths_)
    decided_pairs = [(x, y) for x, y, _ in pairs if x]
    return {
        "kendall_tau": fmean(taus),
        "spearman_rho": fmean(rhos),
        "top1": fmean(best),
        "pair_accuracy": fmean(1.0 if x == y else 0.5 if not y else 0.0 for x, y in decided_pairs),
        "same_verdict": fmean(x == y for x, y, _ in pairs),
        "pooled_tau": correlation(truths, rankings),
        "tau_without_length": correlation(rest, residuals(truths, lengths_)) if any(rest) else None,
    }


def residuals(values: Sequence[float], by: Sequence[float]) -> list[float]:
    """What a least-squares line through the origin leaves."""
    slope = sum(x * y for x, y in zip(values, by, strict=True)) / sum(y * y for y in by)
    return [x - slope * y for x, y in zip(values, by, strict=True)]


def places(order: Order) -> list[float]:
    """Places from 1, tied ones sharing their mean."""
    return [sum(other < rank for other in order) + (sum(other == rank for other in order) + 1) / 2 for rank in order]


def sign(number: float) -> int:
    return (number > 0) - (number < 0)


def assert_equal(found: Mapping[str, Any], expected: Mapping[str, float | None]) -> None:
    values = {name: found[name]["value"] for name in expected}
    assert values == pytest.approx(expected, abs=6e-5)  # four digits are kept


def triples(rows: Iterable[Ranking], orders: Mapping[str, Order]) -> Iterator[tuple[Order, Order, list[int]]]:
    for row in rows:
        if row.id in orders:
            ranks = [each.rank for each in row.responses if each.rank is not None]
            yield orders[row.id], ranks, [len(each.text) for each in row.responses]


def test_four_systems_reviewed_in_three_rounds(tmp_path: Path) -> None:
    """GPT-4 marked Alpaca, Bard, GPT-3.5 and LLaMA beside three builds of Vicuna: three raters of the same four."""
    rounds = {"clean-lang": "13b", "new-hp-fp16": "13b-new", "vicuna-7b": "7b"}
    systems = ("alpaca", "bard", "gpt35", "llama")
    marks: dict[str, dict[str, dict[str, float]]] = {name: {} for name in rounds.values()}
    for review in lines("vicuna/gpt4_reviews.jsonl.gz"):
        path = Path(review["review_file"])
        build = next((name for part, name in rounds.items() if part in path.parent.name), None)
        system = path.stem.split("_")[1].split("-")[0]
        if build is not None and system in systems:
            marks[build].setdefault(str(review["question_id"]), {})[system] = review["score"][0]
    orders = {
        name: {question: places([-given[system] for system in systems]) for question, given in round_.items()}
        for name, round_ in marks.items()
    }
    categories = {
        pair.question.id: str(pair.question.task) for pair in load_pairs(SHARED / "faireval/faireval.jsonl.gz")
    }
    texts = {
        str(row["question_id"]): [
            text for system in systems for name, text in row["answers"].items() if name.startswith(system)
        ]
        for row in lines("vicuna/answers.jsonl.gz")
    }
    judge = orders.pop("13b-new")
    rows = [
        a_list(name, categories[name], texts[name], [sum(other < rank for other in order) for rank in order])
        for name, order in judge.items()
    ]
    found = audited(tmp_path, rows, orders)
    assert found["raters"] == {"13b": 80, "7b": 80}
    for name, order in orders.items():
        assert_equal(found["comparisons"][f"ranking with {name}"], counted(triples(rows, order)))
    together = {
        name: [fmean(both) for both in zip(orders["13b"][name], orders["7b"][name], strict=True)] for name in judge
    }
    assert_equal(found["comparisons"][TOGETHER], counted(triples(rows, together)))
    lengths = {row.id: [len(each.text) for each in row.responses] for row in rows}
    both_ways = [
        (orders[one][name], orders[other][name], lengths[name])
        for one, other in (("13b", "7b"), ("7b", "13b"))
        for name in judge
    ]
    assert_equal(found["comparisons"][PEOPLE], counted(both_ways))
    assert len(found["categories"]) == 9
    for task, compared in found["categories"].items():
        own = [row for row in rows if row.task == task]
        assert compared[TOGETHER]["kendall_tau"]["lists"] <= len(own)
        assert_equal(compared[TOGETHER], counted(triples(own, together)))


def test_gpt4_and_the_labels_of_llmbar_with_its_other_prompts_as_further_raters(tmp_path: Path) -> None:
    published = json.loads((SHARED / "llmbar" / "gpt4_statistics.json").read_text(encoding="utf-8"))
    prompts = ("Vanilla", "CoT", "Swap", "Metrics_Reference")
    rows, raters = [], {name: {} for name in ("people", *prompts[1:])}  # type: ignore[var-annotated]
    pairs = zip(load_pairs(SHARED / "llmbar/llmbar.jsonl.gz"), lines("llmbar/llmbar.jsonl.gz"), strict=True)
    for pair, row in pairs:
        winners = row["gpt4_winner_by_prompt"]
        if set(prompts) <= winners.keys():
            said = {name: [0, 1] if winners[name][0] == "1" else [1, 0] for name in prompts}
            rows.append(a_list(pair.question.id, pair.subset, (pair.first, pair.second), said.pop("Vanilla")))
            for name, order in {"people": PREFERS[pair.label], **said}.items():
                raters[name][pair.question.id] = order
    found = audited(tmp_path, rows, raters)
    assert found["lists"] == 419
    for name, orders in raters.items():
        assert_equal(found["comparisons"][f"ranking with {name}"], counted(triples(rows, orders)))
    for subset, compared in found["categories"].items():
        right, whole = map(int, published[subset]["Vanilla"]["correct_False"].split(" = ")[0].split(" / "))
        people = compared["ranking with people"]
        assert people["pairs"] == whole
        assert people["pair_accuracy"]["value"] == pytest.approx(right / whole, abs=6e-5)
        assert people["kendall_tau"]["value"] == pytest.approx(2 * right / whole - 1, abs=6e-5)
    accuracy = found["comparisons"]["ranking with people"]["pair_accuracy"]
    half = 1.96 * (accuracy["value"] * (1 - accuracy["value"]) / 419) ** 0.5
    assert accuracy["ci95"] == pytest.approx([accuracy["value"] - half, accuracy["value"] + half], abs=0.006)


def test_people_of_faireval_as_two_files_have_them_and_a_stored_review(tmp_path: Path) -> None:
    """LLMBar took over the 66 of FairEval's labels that are no ties, with some of the pairs turned round."""
    pairs = load_pairs(SHARED / "faireval/faireval.jsonl.gz")
    reviews = {
        str(row["question_id"]): row["score"]
        for row in lines("vicuna/gpt4_reviews.jsonl.gz")
        if Path(row["review_file"]).stem == "review_gpt35_vicuna-13b"
    }
    rows = []
    for pair in pairs:
        one, other = reviews[pair.question.id]
        rows.append(
            a_list(
                pair.question.id,
                str(pair.question.task),
                (pair.first, pair.second),
                [int(one < other), int(other < one)],
            )
        )
    again = {}
    for row in lines("llmbar/llmbar.jsonl.gz"):
        if row["subset"] == "faireval":
            (pair,) = (each for each in pairs if each.question.instruction.strip() == row["input"].strip())
            turned = row["output_1"].strip() != pair.first.strip()
            again[pair.question.id] = [1, 0] if (row["label"] == 1) == turned else [0, 1]
    raters: Raters = {"faireval": {pair.question.id: PREFERS[pair.label] for pair in pairs}, "llmbar": again}
    found = audited(tmp_path, rows, raters)
    assert found["raters"] == {"faireval": 80, "llmbar": 66}
    same = found["comparisons"][PEOPLE]
    assert (same["same_verdict"]["value"], same["kendall_tau"]["value"], same["top1"]["lists"]) == (1, 1, 66)
    assert found["comparisons"]["ranking with faireval"]["same_verdict"]["value"] == 0.525
    for name, orders in raters.items():
        assert_equal(found["comparisons"][f"ranking with {name}"], counted(triples(rows, orders)))


def test_people_of_autoj_beside_judges_that_only_look(tmp_path: Path) -> None:
    """A judge of length agrees with people, and of that nothing is left without length; a judge of lines has some."""
    labels = {0: "first", 1: "second", 2: "tie"}
    data = lines("rank_data/autoj_pairwise_human_1392.jsonl.gz")
    people = {str(number): PREFERS[labels[row["label"]]] for number, row in enumerate(data)}

    def judged(look: Any) -> list[Ranking]:
        rows = []
        for number, row in enumerate(data):
            texts = [row[name] if row[name].strip() else "-" for name in ("response 1", "response 2")]
            one, other = map(look, texts)
            rows.append(a_list(str(number), row["scenario"], texts, [int(one < other), int(other < one)]))
        return rows

    rows = judged(len)
    found = audited(tmp_path, rows, {"people": people})
    figures = found["comparisons"]["ranking with people"]
    assert (figures["pairs"], figures["decided_pairs"], len(found["categories"])) == (1392, 1019, 58)
    assert figures["tau_without_length"]["value"] is None
    assert_equal(figures, counted(triples(rows, people)))
    rows = judged(lambda text: text.count("\n"))
    assert_equal(
        audited(tmp_path, rows, {"people": people})["comparisons"]["ranking with people"],
        counted(triples(rows, people)),
    )
