"""A model of a few thousand weights, and instructions for it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.tiny import save_tiny_model


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a random Llama with two layers and a chat template."""
    return save_tiny_model(tmp_path_factory.mktemp("tiny-model"))


@pytest.fixture
def instructions(tmp_path: Path) -> Path:
    """Twelve Alpaca rows."""
    path = tmp_path / "instructions.jsonl"
    rows = [{"instruction": f"Say the number {n}.", "input": "", "output": f"The number is {n}."} for n in range(12)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


@pytest.fixture
def ranked_lists(tmp_path: Path) -> Path:
    """Ten lists of three ranked responses, with references."""
    path = tmp_path / "lists.jsonl"
    responses = [{"text": "Yes, sure.", "rank": 0}, {"text": "No.", "rank": 1}, {"text": "Perhaps so.", "rank": 2}]
    rows = [
        {"id": str(n), "instruction": f"Say {n}.", "reference": f"It is {n}.", "responses": responses}
        for n in range(10)
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path
