"""What a dry run says before anything is run."""

from __future__ import annotations

import json
from pathlib import Path

from tunalm.estimate import TEMPLATE_TOKENS, estimate
from tunalm.loading import build_recipe
from tunalm.pipeline import plan
from tunalm.store import RunFolder

ROWS = 5
TEXT = "x" * 40  # ten tokens
PROMPT = TEMPLATE_TOKENS + 10


def test_generations_are_counted_and_tokens_estimated(tmp_path: Path) -> None:
    data = tmp_path / "rows.jsonl"
    row = json.dumps({"instruction": TEXT, "output": TEXT})
    data.write_text(f"{row}\n" * ROWS, encoding="utf-8")
    tree = {
        "name": "small",
        "stages": {
            "sft": {"kind": "sft", "model": "owner/name", "data": str(data), "epochs": 2},
            "own": {"kind": "sample", "engine": "sft", "data": str(data), "num_responses": 3, "max_new_tokens": 7},
            "judged": {"kind": "rank", "by": "judge", "responses": "own", "engine": "sft", "max_new_tokens": 100},
            "tuna": {"kind": "train", "start": "sft", "rankings": "judged"},
            "scores": {
                "kind": "evaluate",
                "models": ["sft", "tuna"],
                "benchmarks": [{"name": "reference", "data": {"source": str(data), "limit": 2}}],
                "max_new_tokens": 9,
            },
        },
    }
    recipe = build_recipe(tree)
    lines = {line.stage: line for line in estimate(recipe, plan(recipe, RunFolder(tmp_path / "run")))}
    assert lines["sft"].training_tokens == 2 * ROWS * (PROMPT + 10)
    assert (lines["own"].generations, lines["own"].generated_tokens) == (ROWS * 3, ROWS * 3 * 7)
    assert (lines["judged"].generations, lines["judged"].generated_tokens) == (ROWS, ROWS * 100)
    assert lines["tuna"].training_tokens == ROWS * (PROMPT + 10 + 3 * 7)
    assert (lines["scores"].generations, lines["scores"].generated_tokens) == (2 * 2, 2 * 2 * 9)
    assert {line.state for line in lines.values()} == {"to run"}
