"""The whole of what is promised about orders of events and their timing."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.unit.calls import test_ledger_orders as ledger
from tests.unit.engines.test_every_timing import every_timing
from tests.unit.pipeline import test_folder_orders as folder


@pytest.mark.soak
@pytest.mark.timeout(7200)
@pytest.mark.parametrize(
    ("look_at", "count"),
    [(ledger.every_order, 5000), (folder.every_order, 5000), (every_timing, 10_000)],
    ids=["orders of the ledger", "orders of a run folder", "timings of calls"],
)
def test_many(look_at: Callable[[int], None], count: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TUNALM_QUIET", "1")
    look_at(count)
    print(f"{count} looked at")
