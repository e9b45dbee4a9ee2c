"""Judgements that others have published, audited as rankings."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from tunalm.auditing import audit
from tunalm.auditing.matching import match, read_raters
from tunalm.evaluation.judge_check.pairs import load_pairs
from tunalm.records import Ranking, Response

SHARED = Path(__file__).parents[2].parent / "shared" / "data"
RANKS = {"first": (0, 1), "tie": (0, 0), "second": (1, 0)}

pytestmark = pytest.mark.skipif(not SHARED.is_dir(), reason="the public files are not beside the repository")


def lines(name: str) -> list[dict[str, Any]]:
    with gzip.open(SHARED / name, "rt", encoding="utf-8") as file:
        return [json.loads(line) for line in file]


def ranked_by(scores: list[float]) -> list[int]:
    return [sum(other > score for other in scores) for score in scores]


@pytest.mark.parametrize(("prompts", "lists", "survival"), [("vicuna", 80, 0.675), ("koala", 180, 0.817)])
def test_verdicts_of_gpt4_survive_the_swap_as_published(prompts: str, lists: int, survival: float) -> None:
    rows = []
    for number, row in enumerate(lines("rank_data/gpt4_reviews_both_orders_cherry_vs_alpaca.jsonl.gz")):
        if row["dataset"] == prompts:
            given, swapped = json.loads(row["scores"]), json.loads(row["scores_reverse"])
            orders = [
                {"shown": [0, 1], "scores": {"0": given[0], "1": given[1]}},
                {"shown": [1, 0], "scores": {"1": swapped[0], "0": swapped[1]}},
            ]
            responses = [
                Response(text=row[f"Answer{place + 1}"], rank=rank) for place, rank in enumerate(ranked_by(given))
            ]
            rows.append(
                Ranking(
                    id=str(number),
                    instruction=row.get("prompt") or prompts,
                    responses=responses,
                    judgement={"orders": orders},
                )
            )
    found = audit(rows)["positions"]
    assert found["lists_in_several_orders"] == lists
    assert found["survival"]["value"] == pytest.approx(survival, abs=5e-4)
    low, high = found["survival"]["ci95"]
    assert low < survival < high


def test_people_agree_with_stored_reviews_as_published(tmp_path: Path) -> None:
    """People's verdicts come in as a table, as they would be filled in."""
    reviews = {
        str(row["question_id"]): row["score"]
        for row in lines("vicuna/gpt4_reviews.jsonl.gz")
        if Path(row["review_file"]).stem == "review_gpt35_vicuna-13b"
    }
    pairs = load_pairs(SHARED / "faireval" / "faireval.jsonl.gz")
    rows = [
        Ranking(
            id=pair.question.id,
            instruction=pair.question.instruction,
            responses=[
                Response(text=text, rank=rank)
                for text, rank in zip((pair.first, pair.second), ranked_by(reviews[pair.question.id]), strict=True)
            ],
        )
        for pair in pairs
    ]
    table = [f"{pair.question.id},{place},{rank}" for pair in pairs for place, rank in enumerate(RANKS[pair.label])]
    path = tmp_path / "people.csv"
    path.write_text("\n".join(["id,position,rank", *table]), encoding="utf-8")
    found = audit(rows, match(rows, read_raters([path], rows), path))["agreement"]["comparisons"]["ranking with people"]
    assert (found["pairs"], found["decided_pairs"]) == (80, 66)
    assert found["same_verdict"]["value"] == 0.525
    assert found["kappa"]["value"] == pytest.approx(0.23, abs=0.005)
