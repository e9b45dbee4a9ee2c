"""The benchmark of evaluation: one table of what it compares, with results that are equal."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks.evaluation import scoring
from benchmarks.evaluation.__main__ import main
from benchmarks.evaluation.comparison import compare


def test_one_table_is_made(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scoring, "ROWS", 20)
    assert main(["--parts", "scoring", "--rounds", "2", "--json", str(tmp_path / "made.json")]) == 0
    written = json.loads((tmp_path / "made.json").read_text(encoding="utf-8"))["results"]
    assert len(written) == 1 + len(scoring.WORDS_OF_ANSWER)
    assert all(each["rows"] == each["equal"] == 20 and each["speedup"]["low"] > 0 for each in written)
    assert capsys.readouterr().out.count("20 of 20") == len(written)


@pytest.mark.parametrize("arguments", [["--parts", "scorin"], ["--rounds", "0"]])
def test_wrong_arguments_are_refused(arguments: list[str]) -> None:
    with pytest.raises(SystemExit):
        main(arguments)


def test_results_that_differ_are_counted() -> None:
    found = compare("it", "that", lambda: [1, 2, 3], lambda: [1, 2, 4], rounds=1, wanted=2.0)
    assert (found.equal, found.rows) == (2, 3)
    assert "2 of 3" in found.row()
