"""The training sequences of a few rows as readable tokens with the loss mask, from the very encoding that trains."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from tunalm.data.prompts import PromptEncoder
from tunalm.records import Ranking
from tunalm.training.encoding import encode_row


@dataclass(frozen=True)
class Preview:
    """One sequence: a prompt with one response, or with the reference; tokens as text."""

    row_id: str
    label: str
    read: list[str]
    learned: list[str]


def preview(rows: Sequence[Ranking], encoder: PromptEncoder, max_length: int) -> Iterator[Preview]:
    """Show every ranked response and the reference of every row as they are trained on.

    A row whose prompt leaves no room for a response is shown as what is dropped: its prompt alone.
    """

    def texts(ids: list[int]) -> list[str]:
        return [str(encoder.tokenizer.decode([token])) for token in ids]

    for row in rows:
        group = encode_row(row, encoder, max_length)
        if group is None:
            prompt = encoder.prompt_ids(row.messages())
            yield Preview(row.id, f"dropped, its prompt has {len(prompt)} tokens", texts(prompt), [])
            continue
        for target in group.targets:
            label = "reference" if target.number is None else f"response {target.number}, rank {target.rank}"
            label += "" if target.ended else ", cut"
            yield Preview(row.id, label, texts(group.prompt), texts(target.tokens))
