"""Data in the shape of the published benchmarks, with questions of our own."""

from __future__ import annotations

import json
from pathlib import Path

NLI = "task190_snli_classification"


def lmentry(folder: Path, *sets: str) -> Path:
    """Sets of four questions about the word `anna`."""
    metadata = {"word": "anna", "answer": "a", "distractor": "otto", "word1": "a", "word2": "otto", "template_id": 0}
    examples = {str(number): {"input": f"Q{number}\nA:", "metadata": metadata} for number in range(4)}
    folder.mkdir(exist_ok=True)
    for name in sets:
        (folder / f"{name}.json").write_text(json.dumps({"examples": examples}), encoding="utf-8")
    return folder


def superni(folder: Path) -> Path:
    """One task with one row."""
    folder.mkdir(exist_ok=True)
    row = {"id": "r1", "input": "Is it?", "output": ["Yes", "It is"]}
    task = {"task": NLI, "definition": "Say yes.", "positive_examples": [], "instances": [row]}
    (folder / "tasks.jsonl").write_text(json.dumps(task), encoding="utf-8")
    return folder
