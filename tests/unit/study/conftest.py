"""A run with the answers of three systems to four questions, and a study made from it."""

from __future__ import annotations

from pathlib import Path

import pytest

from tunalm.records import Prediction
from tunalm.store import write_rows
from tunalm.study import design
from tunalm.study.design import Plan

SYSTEMS = ("base", "sft", "tuna")
QUESTIONS = 4


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """`sft` and `tuna` give the same answer to question 0."""
    rows = [
        Prediction(
            id=f"q{number}",
            benchmark="vicuna",
            model=system,
            instruction=f"Question number {number}?",
            prediction="the same" if number == 0 and system != "base" else f"{system} answers {number}",
            task="generic",
        )
        for system in SYSTEMS
        for number in range(QUESTIONS)
    ]
    write_rows(tmp_path / "run" / "scores" / "predictions.jsonl", rows)
    return tmp_path / "run"


@pytest.fixture
def plan() -> Plan:
    return Plan(SYSTEMS, raters=2, checks=1, seed=7)


@pytest.fixture
def study(run: Path, plan: Plan, tmp_path: Path) -> Path:
    folder = tmp_path / "study"
    design.make(design.read_answers(run, plan, "vicuna"), plan, folder)
    return folder
