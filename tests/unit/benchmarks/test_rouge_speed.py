from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks import rouge

SMALL = rouge.Setting("small", 10, 50, 4, 1.0)


@pytest.fixture(autouse=True)
def _small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rouge, "SETTINGS", (SMALL,))
    monkeypatch.setattr(rouge, "PAIRS", 30)
    monkeypatch.setattr(rouge, "EDGES", ("", "a", "the cats", "the cat's", "naïve café"))


def test_a_table_is_made(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert rouge.main(["--rounds", "2", "--json", str(tmp_path / "made.json")]) == 0
    assert "0 of 55 scores differ" in capsys.readouterr().out
    (result,) = json.loads((tmp_path / "made.json").read_text(encoding="utf-8"))["results"]
    assert result["reached"] is True
    assert result["speedup"]["low"] <= result["speedup"]["median"] <= result["speedup"]["high"]


def test_a_wrong_score_is_not_timed(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr("tunalm.measures.rouge.rouge_l", lambda a, b: 0.5)
    assert rouge.main(["--rounds", "1"]) == 1
    assert "scores differ" in capsys.readouterr().err


def test_every_text_of_a_list_is_compared_with_every_other() -> None:
    pairs = rouge.pairs_of(SMALL)
    assert len(pairs) == 30
    assert len({text for pair in pairs[:6] for text in pair}) == 4
    assert all(len(text.split()) == 10 for pair in pairs for text in pair)
