"""A ranking stage whose judge answers by a rule."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.judges import RuleEngine
from tunalm import ranking
from tunalm.calls import context
from tunalm.calls.context import StageContext
from tunalm.recipe import Rank
from tunalm.records import Ranking
from tunalm.store import Summary, read_rows, write_rows


@pytest.fixture
def rank(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., tuple[Summary, list[Ranking]]]:
    """Runs the stage on some lists: one order and no canaries, if nothing else is said."""

    def run(engine: RuleEngine, *rows: Ranking, **changes: Any) -> tuple[Summary, list[Ranking]]:
        monkeypatch.setattr(context, "open_engine", lambda settings, trust_remote_code: engine)
        write_rows(tmp_path / "responses.jsonl", rows)
        knobs = {"engine": {"base_url": "https://h/v1", "model": "wise"}, "num_orders": 1, "canaries": 0} | changes
        settings = Rank.model_validate({"by": "judge", "responses": str(tmp_path / "responses.jsonl"), **knobs})
        summary = ranking.run(settings, StageContext(tmp_path, tmp_path / "ledger.sqlite"))
        return summary, read_rows(tmp_path / "rankings.jsonl", Ranking)

    return run
