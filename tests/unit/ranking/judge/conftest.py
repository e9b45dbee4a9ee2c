"""A ranking stage whose judge answers by a rule."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.judges import RuleEngine, judging
from tunalm import ranking
from tunalm.calls import context
from tunalm.calls.context import StageContext
from tunalm.records import Ranking
from tunalm.store import Summary, read_rows, write_rows


@pytest.fixture
def rank(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., tuple[Summary, list[Ranking]]]:
    """Runs the stage on some lists: one order and no canaries, if nothing else is said."""

    def run(engine: RuleEngine, *rows: Ranking, **changes: Any) -> tuple[Summary, list[Ranking]]:
        monkeypatch.setattr(context, "open_engine", lambda settings, trust_remote_code: engine)
        write_rows(tmp_path / "responses.jsonl", rows)
        knobs = {"num_orders": 1, "canaries": 0, "responses": str(tmp_path / "responses.jsonl")} | changes
        summary = ranking.run(judging(**knobs), StageContext(tmp_path, tmp_path / "ledger.sqlite"))
        return summary, read_rows(tmp_path / "rankings.jsonl", Ranking)

    return run
