"""What a plan says of stages that rank with an engine."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tunalm.calls.prices import Price, Prices
from tunalm.pipeline.folder import RunFolder
from tunalm.pipeline.planning import estimate
from tunalm.pipeline.planning.figures import Amount, StageEstimate
from tunalm.pipeline.planning.stages import UNKNOWN_RANKER, WORST_CASE
from tunalm.pipeline.resolving import resolve
from tunalm.pipeline.running import run_recipe
from tunalm.recipe.loading import build_recipe
from tunalm.records import Ranking, Response
from tunalm.store import write_rows

SERVER = {"base_url": "https://api.example.com/v1", "model": "large", "protocol": "completions"}
PRICES = Prices((Price(host="api.example.com", model="large", prompt=1, completion=1000),))
LISTS = 5


def planned(tmp_path: Path, **knobs: Any) -> StageEstimate:
    recipe, folder = build_recipe(recipe_of(tmp_path, **knobs)), RunFolder(tmp_path / "run")
    (stage,) = estimate(recipe, resolve(recipe, folder), folder, PRICES).stages
    return stage


def recipe_of(tmp_path: Path, **knobs: Any) -> dict[str, Any]:
    texts = ["b a", "a b", "a b"]  # one text twice: two requests
    rows = [
        Ranking(
            id=str(number),
            instruction=f"a b {number}",
            reference="b",
            responses=[Response(text=text) for text in texts],
        )
        for number in range(LISTS)
    ]
    alone = Ranking(id="alone", instruction="a", responses=[Response(text="a")])
    write_rows(tmp_path / "r.jsonl", [*rows, alone])
    return {"name": "x", "stages": {"ranked": {"kind": "rank", "responses": str(tmp_path / "r.jsonl"), **knobs}}}


def test_every_different_response_is_scored_by_a_call_that_reads_it(tmp_path: Path) -> None:
    (asked,) = planned(tmp_path, by="likelihood", engine=SERVER).asked
    assert asked.calls == Amount(2 * LISTS, 2 * LISTS)
    assert asked.completion_tokens == Amount(2 * LISTS, 2 * LISTS)  # servers write one token and drop it
    assert asked.cost is not None
    assert asked.cost.expected == pytest.approx((asked.prompt_tokens.expected + 1000 * 2 * LISTS) / 1e6)
    (with_reference,) = planned(tmp_path, by="likelihood", engine=SERVER, rank_reference=True).asked
    assert with_reference.calls.expected == 3 * LISTS


def test_stored_log_probabilities_take_no_call(tmp_path: Path) -> None:
    assert planned(tmp_path, by="likelihood").asked == ()


def test_what_the_ledger_has_is_not_counted_again(tmp_path: Path) -> None:
    knobs: dict[str, Any] = {"by": "likelihood", "engine": {"kind": "scripted"}}
    run_recipe(build_recipe(recipe_of(tmp_path, **knobs)), tmp_path / "run")
    (asked,) = planned(tmp_path, **knobs, length_penalty=2.0).asked
    assert (asked.requested, asked.answered, asked.calls) == (2 * LISTS, 2 * LISTS, Amount(0, 0))


def test_a_fallback_counts_every_list_and_says_so(tmp_path: Path) -> None:
    judge = {"engine": {**SERVER, "protocol": "chat"}, "canaries": 0}
    (tmp_path / "mine.py").write_text("def ranker(settings, context): ...\n")
    custom = {"by": f"{tmp_path}/mine.py:ranker"}
    (alone,) = planned(tmp_path, by="judge", **judge).asked
    both = planned(tmp_path, **custom, fallback="judge", **judge)
    assert both.asked == (alone,)
    assert alone.calls.expected == 2 * LISTS  # two orders of two different texts
    assert WORST_CASE in both.notes
    assert planned(tmp_path, **custom).notes == (UNKNOWN_RANKER,)


def test_each_judge_of_a_pool_is_asked_about_its_share_of_the_pairs(tmp_path: Path) -> None:
    judges = [{"engine": {**SERVER, "model": model}, "style": "brief"} for model in ("large", "other")]
    asked = planned(tmp_path, by="simulated", pool=judges, max_new_tokens=5).asked
    assert sum(asking.calls.expected for asking in asked) == sum(asking.requested for asking in asked) == 3 * LISTS
    assert len({asking.who for asking in asked}) == 2
    assert [asking.cost is None for asking in asked] == [False, True]
