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
from typing import TYPE_CHECKING, Any

from tunalm.calls.context import Calls
from tunalm.data.prompts import PromptEncoder
from tunalm.progress import progress
from tunalm.ranking.base import unranked, with_scores
from tunalm.recipe import Rank
from tunalm.records import Ranking

if TYPE_CHECKING:
    import torch

LISTS_AT_ONCE = 64
"""Lists whose responses are sorted by length together, so that little is padded."""
TOKENS_AT_ONCE = {"cpu": 4096, "cuda": 32768}
"""Of a forward pass, padding included, by device."""


class ProxyRanker:
    """Ranks by the scores of a sequence classification model with one label.

    Args:
        settings: `model` is a folder or hub id.
        calls: say whether the model may run code of its own.

    Raises:
        ModelError: the model cannot be loaded, or was not trained to score.
    """

    def __init__(self, settings: Rank, calls: Calls) -> None:
        from tunalm.engines.huggingface import device, load_scorer, load_tokenizer

        source, remote = settings.model or "", calls.trust_remote_code
        tokenizer = load_tokenizer(source, trust_remote_code=remote)
        self._model = load_scorer(source, trained=True, trust_remote_code=remote).to(device()).eval()
        self._encoder = PromptEncoder(tokenizer, settings.template, source, settings.template_args)
        positions = getattr(self._model.config.get_text_config(), "max_position_embeddings", None)
        self._max_length = min(tokenizer.model_max_length, positions or tokenizer.model_max_length)
        self._confidences: list[float] = []
        self.name = f"proxy {Path(source).parent.name if Path(source).name == 'model' else Path(source).name}"

    def rank(self, rows: Sequence[Ranking]) -> list[Ranking]:
        """Score and rank all lists; see `Ranker`. A list whose instruction leaves no room for a response fails."""
        scores: dict[str, dict[str, float]] = {}
        with progress("scoring by the proxy", len(rows)) as advance:
            for start in range(0, len(rows), LISTS_AT_ONCE):
                part = rows[start : start + LISTS_AT_ONCE]
                scores |= self._score(part)
                advance(len(part))
        return [self._ranked(row, scores[row.id]) for row in rows]

    def figures(self) -> dict[str, Any]:
        """The mean confidence, and how many responses are read at most."""
        mean = round(fmean(self._confidences), 4) if self._confidences else None
        return {"mean_confidence": mean, "proxy_reads_tokens": self._max_length}

    def _ranked(self, row: Ranking, texts: dict[str, float]) -> Ranking:
        if not texts:
            return unranked(row, f"the instruction fills the {self._max_length} tokens that the proxy reads")
        scores = [texts[response.text] if response.is_usable else None for response in row.responses]
        sure = confidence(scores)
        self._confidences.append(sure)
        return with_scores(row, scores, self.name, {"confidence": round(sure, 6)})

    def _score(self, rows: Sequence[Ranking]) -> dict[str, dict[str, float]]:
        """Scores of the different texts of each list, by its id; none where the instruction leaves no room."""
        sequences: list[tuple[str, str, list[int]]] = []
        for row in rows:
            prompt = self._encoder.prompt_ids(row.messages())
            room = self._max_length - len(prompt)
            for text in dict.fromkeys(response.text for response in row.responses if response.is_usable):
                if room > 0:
                    # As in training: cut with the end token in place, which is then not read.
                    sequences.append((row.id, text, prompt + self._encoder.response_ids(text)[:room][:-1]))
        sequences.sort(key=lambda sequence: len(sequence[2]))
        found: dict[str, dict[str, float]] = {row.id: {} for row in rows}
        for batch in _batches(sequences, TOKENS_AT_ONCE[self._model.device.type]):
            scores = _scores(self._model, [tokens for _, _, tokens in batch], self._encoder.end_id)
            for (row_id, text, _), score in zip(batch, scores.tolist(), strict=True):
                found[row_id][text] = score
        return found


def confidence(scores: Sequence[float | None]) -> float:
    """Probability, 0-1, that a response ranked first is the best, if scores are Plackett-Luce strengths."""
    known = [score for score in scores if score is not None]
    best = max(known)
    strengths = [math.exp(score - best) for score in known]
    return known.count(best) / sum(strengths)


def _scores(model: Any, sequences: Sequence[Sequence[int]], pad_id: int) -> torch.Tensor:
    """Scores [R] of sequences at their last token, in fp32."""
    import torch

    from tunalm.engines.huggingface import fast_bf16

    lengths = torch.tensor([len(tokens) for tokens in sequences])
    width = int(lengths.max())
    ids = torch.tensor([[*tokens, *[pad_id] * (width - len(tokens))] for tokens in sequences])
    mask = (torch.arange(width) < lengths[:, None]).long()
    place = model.device
    with torch.no_grad():
        with torch.autocast(place.type, torch.bfloat16, enabled=place.type == "cuda" and fast_bf16()):
            hidden = model.base_model(ids.to(place), attention_mask=mask.to(place), use_cache=False).last_hidden_state
        last = hidden[torch.arange(len(sequences)), (lengths - 1).to(place)]
        scores: torch.Tensor = model.score(last.float())[:, 0]
    return scores


def _batches(sequences: Sequence[tuple[str, str, list[int]]], budget: int) -> list[list[tuple[str, str, list[int]]]]:
    """Cut sequences, shortest first, into batches whose padded size fits a budget, or that are one sequence."""
    batches: list[list[tuple[str, str, list[int]]]] = []
    for sequence in sequences:
        if batches and (len(batches[-1]) + 1) * len(sequence[2]) <= budget:
            batches[-1].append(sequence)
        else:
            batches.append([sequence])
    return batches
