"""Scores of responses: what the head of a sequence classification model says at the last token of each.

Sequences are read by the same routes as for log-probabilities, so a prompt may be read once for all its responses. The
end token is a target and never an input (see `packing`), so the last token that is read is the last one of the text,
which is where transformers looks for the score of a padded sequence.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch

from tunalm.training.encoding import Group
from tunalm.training.heads import unwrapped
from tunalm.training.objective import SequenceValues
from tunalm.training.routes import Route
from tunalm.training.step import lay_out


@dataclass(frozen=True)
class Scores(SequenceValues):
    """Of R sequences, in fp32; they stand where log-probabilities do, so that the same steps train on them."""

    @property
    def means(self) -> torch.Tensor:
        """[R], the scores: unlike a log-probability, a score is not divided by the length."""
        return self.sums

    @property
    def last(self) -> None:
        """A score knows of no last token."""


def sequence_scores(model: Any, groups: Sequence[Group], route: Route, pad_id: int) -> SequenceValues:
    """Score the targets of some groups, within `step.reading`; arguments as for `step.sequence_logprobs`."""
    inner = unwrapped(model)
    batch, inputs = lay_out(inner, groups, route, pad_id)
    last_places = batch.kept[batch.sources[batch.target_lengths.cumsum(0) - 1]]
    with _answering(inner, last_places):
        scores = model(**inputs, use_cache=False).logits[0]
    return Scores(scores, batch.target_lengths, scores)


@contextmanager
def _answering(model: Any, places: torch.Tensor) -> Iterator[None]:
    """Let the head of a model answer hidden states [B, T, H] with the scores [R] of these places.

    The model then picks one token of each row, so the scores are handed to it at every token: [B, T, R]. They are
    computed in fp32, under autocast too: neighbouring bfloat16 numbers are too far apart to rank by.

    Args:
        model: with a linear head `score`.
        places: [R], in the flattened rows.
    """
    head = model.score
    score_of = head.forward

    def forward(hidden: torch.Tensor) -> torch.Tensor:
        rows = hidden.reshape(-1, hidden.shape[-1])[places]
        with torch.autocast(rows.device.type, enabled=False):
            scores = score_of(rows.float())[:, 0]
        return torch.as_tensor(scores).expand(*hidden.shape[:2], -1)

    head.forward = forward
    try:
        yield
    finally:
        del head.forward
