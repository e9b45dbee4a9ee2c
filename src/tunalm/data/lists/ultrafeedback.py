"""UltraFeedback (openbmb/UltraFeedback): four completions per instruction, each with scores of its own."""

from __future__ import annotations

from typing import Any

from pydantic import FiniteFloat

from tunalm.data.lists.base import Candidate, RankedShape, dense_ranks
from tunalm.data.shapes import NotBlank


class Completion(Candidate):
    """One response."""

    response: str
    model: str = ""
    overall_score: FiniteFloat | None = None


class UltraFeedback(RankedShape):
    """A row, ranked by `overall_score`; a completion without one has no rank."""

    pattern = "an UltraFeedback row {instruction, completions: [{response, model, overall_score}]}"

    instruction: NotBlank
    completions: list[Completion]

    def fields(self) -> dict[str, Any]:
        """See `Shape`."""
        scores = [each.overall_score for each in self.completions]
        ranks = dense_ranks([None if score is None else -score for score in scores])
        responses = [
            each.to_response(each.response, model=each.model, score=each.overall_score, rank=rank)
            for each, rank in zip(self.completions, ranks, strict=True)
        ]
        return {"instruction": self.instruction, "responses": responses}
