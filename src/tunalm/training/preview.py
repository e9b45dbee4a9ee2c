"""The training sequences of a few rows as readable tokens with the loss mask, from the very encoding that trains."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from tunalm.data.prompts import PromptEncoder
from tunalm.records import Ranking
from tunalm.training.encoding import encode_row


@dataclass(frozen=True)
class PreviewToken:
    """One token as text."""

    text: str
    trained: bool
    """Whether the model learns to write it; it only reads the others."""


@dataclass(frozen=True)
class Preview:
    """One sequence: a prompt with one response, or with the reference."""

    row_id: str
    label: str
    tokens: list[PreviewToken]


def preview(rows: Sequence[Ranking], encoder: PromptEncoder, max_length: int) -> Iterator[Preview]:
    """Show every ranked response and the reference of every row as they are trained on.

    A row whose prompt leaves no room for a response is shown as what is dropped: its prompt alone.
    """
    for row in rows:
        group = encode_row(row, encoder, max_length)
        if group is None:
            prompt = encoder.prompt_ids(row.messages())
            yield Preview(row.id, f"dropped, its prompt has {len(prompt)} tokens", _tokens(encoder, prompt, False))
            continue
        prompt_tokens = _tokens(encoder, group.prompt, False)
        for target in group.targets:
            label = "reference" if target.number is None else f"response {target.number}, rank {target.rank}"
            yield Preview(
                row.id,
                label if target.ended else f"{label}, cut",
                prompt_tokens + _tokens(encoder, target.tokens, True),
            )


def _tokens(encoder: PromptEncoder, ids: list[int], trained: bool) -> list[PreviewToken]:
    return [PreviewToken(str(encoder.tokenizer.decode([token])), trained) for token in ids]
