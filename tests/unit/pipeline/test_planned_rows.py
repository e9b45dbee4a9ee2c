"""A plan counts a sample: what it finds is near to what all rows would give, and says how near."""

from __future__ import annotations

import json
from pathlib import Path
from random import Random
from typing import Any

import pytest

from tunalm.calls.prices import load_prices
from tunalm.pipeline.folder import RunFolder
from tunalm.pipeline.planning import estimate
from tunalm.pipeline.planning import rows as planned_rows
from tunalm.pipeline.planning.figures import RecipePlan, total_of
from tunalm.pipeline.planning.rows import MOST_ROWS, lists_of, sampled
from tunalm.pipeline.resolving import resolve
from tunalm.recipe.loading import build_recipe
from tunalm.records import Instruction

MANY = 8 * MOST_ROWS
SERVER = {"base_url": "http://127.0.0.1:9/v1", "model": "m"}


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Rows whose lengths differ as much as those of real instructions."""
    dice = Random(7)
    lines = []
    for number in range(MANY):
        asked, answered = (round(dice.lognormvariate(mean, 0.9)) + 1 for mean in (2.5, 3.5))
        words = [
            dice.choice(["river", "it", "a", "understanding", "12", "of", "colour"]) for _ in range(asked + answered)
        ]
        row = {"instruction": f"{number} " + " ".join(words[:asked]), "output": " ".join(words[asked:])}
        lines.append(json.dumps(row) + "\n")
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(lines), encoding="utf-8")
    return path


def plan(data: Path, folder: Path) -> RecipePlan:
    stages: dict[str, Any] = {
        "own": {"kind": "sample", "engine": SERVER, "data": str(data), "num_responses": 2},
        "judged": {"kind": "rank", "by": "judge", "responses": "own", "engine": SERVER, "rows": f":{MANY // 2}"},
        "tuned": {"kind": "train", "start": "owner/name", "rankings": {"source": "judged", "rows": "-400:"}},
    }
    recipe, run = build_recipe({"name": "x", "stages": stages}), RunFolder(folder)
    return estimate(recipe, resolve(recipe, run), run, load_prices(None))


def test_a_sample_finds_what_all_rows_give_within_three_percent(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    few = plan(data, tmp_path / "run")
    monkeypatch.setattr(planned_rows.sampled, "__defaults__", (MANY,))
    whole = plan(data, tmp_path / "run")
    for stage, full in zip(few.stages, whole.stages, strict=True):
        for some, every in zip(stage.asked, full.asked, strict=True):
            assert some.requested == pytest.approx(every.requested, rel=0.01)
            for field in ("calls", "prompt_tokens", "completion_tokens"):
                found, known = getattr(some, field), getattr(every, field)
                assert found.expected == pytest.approx(known.expected, rel=0.03)
                assert known.error == 0
        if full.training:
            assert stage.training is not None
            assert stage.training.tokens == pytest.approx(full.training.tokens, rel=0.03)
    assert 0 < few.total.prompt_tokens.error < 0.05 * few.total.prompt_tokens.expected


def test_the_interval_holds_the_truth_about_nineteen_times_in_twenty() -> None:
    held = 0
    for seed in range(200):
        dice = Random(seed)
        sizes = [dice.lognormvariate(3, 1) for _ in range(3000)]
        values = [size * dice.uniform(0.7, 1.3) for size in sizes]
        few = sampled(range(3000), sizes.__getitem__, 100)
        found = total_of([values[place] for place in few.rows], few.weight, len(few.rows))
        held += abs(found.expected - sum(values)) <= found.error
    assert held >= 180


def test_few_rows_are_counted_as_they_are() -> None:
    assert sampled([3, 1, 2], float).rows == [3, 1, 2]
    assert total_of([1, 2, 3], 1, 3).error == 0


def test_a_part_of_lists_has_a_sample_of_its_own() -> None:
    rows = [Instruction(id=str(number), instruction="a" * number) for number in range(1, MANY)]
    part = lists_of(rows).part(slice(10))
    assert [row.id for row in part.sample.rows] == [str(number) for number in range(1, 11)]
    assert part.longest.id == "10"
    assert lists_of(rows).part(slice(None, None)).sample.weight == pytest.approx((MANY - 1) / MOST_ROWS)
