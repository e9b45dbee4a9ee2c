"""Instructions with references: how much of its words, in the same order, an answer shares with the reference."""

from __future__ import annotations

from tunalm.data import load, require_references
from tunalm.measures.rouge import rouge_l
from tunalm.recipe import BenchmarkSettings
from tunalm.records import Instruction, Prediction


class ReferenceBenchmark:
    """ROUGE-L F1 with the reference; with several, the best of them counts."""

    metric = "rougeL"

    def __init__(self, settings: BenchmarkSettings) -> None:
        self._data = settings.instructions
        self._tokenizer = settings.rouge_tokenizer

    def rows(self) -> list[Instruction]:
        """The instructions, all of which have a reference."""
        rows = load(self._data)
        require_references(rows, self._data.source)
        return rows

    def score(self, prediction: Prediction) -> float:
        """The largest ROUGE-L F1 with one of the references."""
        return max(
            rouge_l(prediction.prediction, reference, tokenizer=self._tokenizer) for reference in prediction.references
        )
