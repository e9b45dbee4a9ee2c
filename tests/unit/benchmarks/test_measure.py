"""How benchmarks measure."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import torch

from benchmarks.measure import Spread, interleaved, peak_memory, ratios, show, write_json

MEGABYTE = 1 << 20


def test_rounds_rotate_and_the_warm_up_does_not_count() -> None:
    order: list[str] = []
    ticks = iter(range(100))

    def clock(run: Callable[[], object]) -> float:
        run()
        return next(ticks)

    variants = {name: (lambda name=name: order.append(name)) for name in ("a", "b", "c")}
    seconds = interleaved(variants, 2, clock=clock)
    assert "".join(order) == "abcbcacab"
    assert seconds == {"a": [5, 7], "b": [3, 8], "c": [4, 6]}


def test_ratios_are_taken_round_by_round() -> None:
    assert ratios([2, 9, 10], [1, 3, 10]) == Spread(median=2, low=1, high=3)


def holding(megabytes: int) -> Callable[[], object]:
    """Needs memory for a moment, beside some that it keeps."""
    kept = torch.ones(20 * MEGABYTE // 4)
    return lambda: (torch.ones(megabytes * MEGABYTE // 4), kept)[1]


def test_peak_memory_is_what_comes_and_goes() -> None:
    assert abs(peak_memory(holding, 64) / MEGABYTE - 64) < 4


def test_tables_have_every_cell_and_files_name_the_device(tmp_path: Path, capsys: object) -> None:
    show("A table", ["setting", "seconds"], [["tiny", "1.5"]], ["A note."])
    write_json(tmp_path / "deep" / "out.json", "name", "cpu", [{"seconds": 1.5}])
    printed = capsys.readouterr().out  # type: ignore[attr-defined]
    assert all(text in printed for text in ("A table", "setting", "seconds", "tiny", "1.5", "A note."))
    written = json.loads((tmp_path / "deep" / "out.json").read_text())
    assert written["results"] == [{"seconds": 1.5}]
    assert written["machine"]["device"]
