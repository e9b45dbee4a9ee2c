"""Score answers that any program has saved, as Super-NaturalInstructions does: ROUGE-L and exact match.

    python examples/score_saved_predictions.py                    # writes a small file of predictions and scores it
    python examples/score_saved_predictions.py PREDICTIONS.jsonl

The same from the command line: tunalm score superni --predictions P.jsonl --output results.json --rows rows.jsonl
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from tunalm import score_superni

SAVED = [
    {"id": "1", "task_id": "task1", "references": ["Paris"], "prediction": "paris."},
    {"id": "2", "task_id": "task1", "references": ["the Nile", "Nile"], "prediction": "It is the Nile."},
    {"id": "3", "task_id": "task2", "references": ["positive"], "prediction": "negative"},
]


def saved_predictions() -> Path:
    """What another program would leave behind."""
    path = Path("runs/score_saved_predictions/predictions.jsonl")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in SAVED), encoding="utf-8")
    return path


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("predictions", type=Path, nargs="?", help="rows {id, task_id, references, prediction}")
    totals, rows = score_superni(parser.parse_args().predictions or saved_predictions())
    for row in rows:
        print(f"{row['task_id']}/{row['id']}: ROUGE-L {100 * row['rougeL']:.1f}, exact match {row['exact_match']:.0f}")
    found = totals["results"]["superni"]
    print(f"all: ROUGE-L {found['rougeL']:.1f}, exact match {found['exact_match']:.1f}")


if __name__ == "__main__":
    main()
