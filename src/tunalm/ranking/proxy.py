"""Ranking by a proxy: a small model that has learned from a judge gives every response a score (section 3).

The score is read at the last token of the text, as in training (stage `kind: proxy`). Scores are the strengths of a
Plackett-Luce model, so the softmax over a list is the probability of each response to be the best; that of the one
ranked first is the confidence of the list.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

from tunalm.calls.context import Calls
from tunalm.progress import progress
from tunalm.ranking.base import unranked, with_scores
from tunalm.recipe import Rank
from tunalm.records import Ranking

LISTS_AT_ONCE = 64
"""Lists whose responses are sorted by length together, so that little is padded."""


class ProxyRanker:
    """Ranks by the scores of a sequence classification model with one label.

    Args:
        settings: `model` is a folder or hub id.
        calls: say whether the model may run code of its own.

    Raises:
        ModelError: the model cannot be loaded, or was not trained to score; later, a score that is not a number.
    """

    def __init__(self, settings: Rank, calls: Calls) -> None:
        from tunalm.engines.huggingface.proxies import ProxyScorer

        source = settings.model or ""
        self._scorer = ProxyScorer(
            source, settings.template, settings.template_args, trust_remote_code=calls.trust_remote_code
        )
        self._confidences: list[float] = []
        self.name = f"proxy {Path(source).parent.name if Path(source).name == 'model' else Path(source).name}"

    def rank(self, rows: Sequence[Ranking]) -> list[Ranking]:
        """Score and rank all lists; see `Ranker`. A list whose instruction leaves no room for a response fails."""
        ranked: list[Ranking] = []
        with progress("scoring by the proxy", len(rows)) as advance:
            for start in range(0, len(rows), LISTS_AT_ONCE):
                part = rows[start : start + LISTS_AT_ONCE]
                ranked += map(self._ranked, part, self._score(part))
                advance(len(part))
        return ranked

    def figures(self) -> dict[str, Any]:
        """The mean confidence, and how many responses are read at most."""
        mean = round(fmean(self._confidences), 4) if self._confidences else None
        return {"mean_confidence": mean, "proxy_reads_tokens": self._scorer.max_length}

    def _ranked(self, row: Ranking, texts: dict[str, float]) -> Ranking:
        if any(map(math.isnan, texts.values())):
            return unranked(row, f"the instruction fills the {self._scorer.max_length} tokens that the proxy reads")
        scores = [texts[response.text] if response.is_usable else None for response in row.responses]
        sure = confidence(scores)
        self._confidences.append(sure)
        return with_scores(row, scores, self.name, {"confidence": round(sure, 6)})

    def _score(self, rows: Sequence[Ranking]) -> list[dict[str, float]]:
        """Scores of the different texts of each list; NaN where the instruction leaves no room."""
        texts = [dict.fromkeys(each.text for each in row.responses if each.is_usable) for row in rows]
        asked = [row.messages() for row, distinct in zip(rows, texts, strict=True) for _ in distinct]
        scores = iter(self._scorer.score(asked, [text for distinct in texts for text in distinct]).tolist())
        return [{text: next(scores) for text in distinct} for distinct in texts]


def confidence(scores: Sequence[float | None]) -> float:
    """Probability, 0-1, that a response ranked first is the best, if scores are Plackett-Luce strengths."""
    known = [score for score in scores if score is not None]
    best = max(known)
    strengths = [math.exp(score - best) for score in known]
    return known.count(best) / sum(strengths)
