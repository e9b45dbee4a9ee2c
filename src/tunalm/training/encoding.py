"""Ranked rows -> token ids: the rules for what is learned, what is cut and what is left out.

The prompt is encoded once per row and every response apart from it; each response ends with the template's end token.
A response that does not fit is cut on the right and then has no end token, for the model must not learn to stop in the
middle of a sentence. An instruction that leaves no room for a single token of a response is dropped.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from tunalm.data.prompts import PromptEncoder
from tunalm.errors import DataError
from tunalm.progress import progress
from tunalm.records import Ranking
from tunalm.training.losses import Convention

PROGRESS_STEP = 64


@dataclass(frozen=True)
class Target:
    """One response as the model learns it."""

    tokens: list[int]
    number: int | None
    """Place among the responses of the row, from 0; None for the reference."""
    rank: int | None
    """None for the reference, which is imitated and not ranked."""
    ended: bool
    """Whether the last token is the end token; not so when the response was cut."""
    start_logprob: float = 0.0
    """log p(response | prompt) under the model that training starts from, where the loss looks at it."""


@dataclass(frozen=True)
class Group:
    """A row as token ids: the prompt with all that may follow it."""

    id: str
    prompt: list[int]
    targets: list[Target]
    weight: float = 1.0
    """Of the list's ranking loss."""

    @property
    def num_tokens(self) -> int:
        """Tokens of the prompt, counted once, and of all targets."""
        return len(self.prompt) + sum(len(target.tokens) for target in self.targets)


@dataclass(frozen=True)
class Encoded:
    """What a training run learns from, and the ids of the rows that have a part in the counts."""

    groups: list[Group]
    dropped: list[str]
    """Rows whose prompt fills `max_length`."""
    cut: list[str]
    """Rows in which at least one response was cut."""
    unranked: list[str]
    """Rows without two responses of different rank: they train the reference alone."""
    idle: list[str]
    """Rows left out because they have neither a pair to rank nor a reference to imitate."""


def encode_row(row: Ranking, encoder: PromptEncoder, max_length: int) -> Group | None:
    """Encode a prompt with all its usable responses, the reference last; None when the prompt leaves no room.

    A response that failed or has no rank takes no part.
    """
    prompt = encoder.prompt_ids(row.messages())
    room = max_length - len(prompt)
    if room < 1:
        return None
    targets = [
        _target(encoder.response_ids(response.text), room, number, response.rank)
        for number, response in enumerate(row.responses)
        if response.rank is not None and response.failure is None
    ]
    if row.reference is not None:
        targets.append(_target(encoder.response_ids(row.reference), room))
    return Group(row.id, prompt, targets, 1.0 if row.weight is None else row.weight)


def _target(tokens: list[int], room: int, number: int | None = None, rank: int | None = None) -> Target:
    return Target(tokens[:room], number, rank, ended=len(tokens) <= room)


def encode_rows(
    rows: Sequence[Ranking],
    encoder: PromptEncoder,
    *,
    max_length: int,
    mle_weight: float = 1.0,
    convention: Convention = "paper",
) -> Encoded:
    """Encode all rows for training.

    Args:
        rows: lists of any length; a row without responses trains its reference alone (Eq. 2).
        encoder: of the model that is trained.
        max_length: tokens of prompt and response together.
        mle_weight: lambda of Eq. 6; at 0 the paper's loss never looks at a reference, so it is left out.
        convention: of the loss; with `lmops` the reference is one of the ranked responses and ties are broken.

    Raises:
        DataError: nothing is left to train on.
    """
    encoded = Encoded([], [], [], [], [])
    with progress("tokenising", len(rows)) as advance:
        for number, row in enumerate(rows, start=1):
            group = encode_row(row, encoder, max_length)
            if group is None:
                encoded.dropped.append(row.id)
            else:
                _sort_in(encoded, group, _useful(group, mle_weight, convention), is_list=bool(row.responses))
            if number % PROGRESS_STEP == 0:
                advance(PROGRESS_STEP)
    if not encoded.groups:
        raise DataError(
            "the training rows",
            found=f"no usable row among {len(rows)} ({len(encoded.dropped)} fill max_length with their prompt, "
            f"{len(encoded.idle)} have nothing to learn from)",
            expected="at least one row to train on",
            fix="Raise max_length, or check the ranks and references of the rows.",
        )
    return encoded


def _useful(group: Group, mle_weight: float, convention: Convention) -> list[Target]:
    """The targets that the loss looks at: responses that make a pair, and the reference."""
    ranked = [target for target in group.targets if target.rank is not None]
    references = [target for target in group.targets if target.rank is None]
    if convention == "lmops":
        return group.targets if len(group.targets) > 1 or mle_weight > 0 else []
    has_pairs = len({target.rank for target in ranked}) > 1 and group.weight > 0
    return (ranked if has_pairs else []) + (references if mle_weight > 0 else [])


def _sort_in(encoded: Encoded, group: Group, useful: list[Target], is_list: bool) -> None:
    """Keep of a group what the loss looks at, and note what it does not."""
    if is_list and all(target.rank is None for target in useful):
        encoded.unranked.append(group.id)
    if not useful:
        encoded.idle.append(group.id)
        return
    if not all(target.ended for target in useful):
        encoded.cut.append(group.id)
    encoded.groups.append(replace(group, targets=useful))
