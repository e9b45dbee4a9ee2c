"""Ranked rows -> token ids: the rules for what is learned, what is cut and what is left out.

The prompt is encoded once per row and every response apart from it; each response ends with the template's end token.
A response that does not fit is cut on the right and then has no end token, for the model must not learn to stop in the
middle of a sentence. An instruction that leaves no room for a single token of a response is dropped. Empty text is not
learned: an empty reference is none, and an empty response has no rank. Which rows take part does not depend on lambda
or on the margin, so that all values of a sweep see the same batches.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from math import isfinite
from typing import Literal

from tunalm.data.prompts import PromptEncoder
from tunalm.engines.reasoning import split_thoughts
from tunalm.errors import DataError, ModelError
from tunalm.progress import progress
from tunalm.records import Ranking, Response
from tunalm.training.losses import Convention

PROGRESS_STEP = 64
Imitate = Literal["reference", "best", "reference_or_best"]
MarginFrom = Literal["rank", "score"]


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
    place: float | None = None
    """How far below the best of its list the margin puts it, where that is not its rank."""
    imitable: bool = True
    """Whether it may be imitated as the best of its list."""
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

    @property
    def has_pairs(self) -> bool:
        """Whether a response ranks above another."""
        return len({target.rank for target in self.targets if target.rank is not None}) > 1

    def imitated(self, what: Imitate | None) -> int | None:
        """Which of the targets L_MLE imitates: the reference, the first of the best responses, or the one in place of
        the other where it is missing; None if there is none, or if the best is not good enough."""
        numbered = list(enumerate(self.targets))
        reference = next((number for number, target in numbered if target.rank is None), None)
        ranked = [(target.rank, number) for number, target in numbered if target.rank is not None and target.imitable]
        best = min(ranked)[1] if ranked else None
        match what:
            case "reference":
                return reference
            case "best":
                return best
            case "reference_or_best":
                return best if reference is None else reference
            case None:
                return None


@dataclass(frozen=True)
class Encoded:
    """What a training run learns from, and the ids of the rows that have a part in the counts."""

    groups: list[Group]
    dropped: list[str]
    """Rows whose prompt fills `max_length`."""
    cut: list[str]
    """Rows in which at least one response was cut."""
    unranked: list[str]
    """Lists without two responses of different rank: they are imitated and not ranked, or left out on demand."""
    idle: list[str]
    """Rows left out: they have neither a pair to rank nor anything to imitate, or are tied and not wanted."""


def encode_row(
    row: Ranking,
    encoder: PromptEncoder,
    max_length: int,
    margin_from: MarginFrom = "rank",
    *,
    min_imitated_score: float | None = None,
    keep_reasoning: bool = False,
) -> Group | None:
    """Encode a prompt with all its usable responses, the reference last; None when the prompt leaves no room.

    A response that failed, is empty or has no rank takes no part. Ranks are made dense: 10, 70, 70 are 0, 1, 1.
    Thoughts, in the text or beside it, are left out unless they are to be kept.

    Raises:
        DataError: scores are asked for, and they are missing or contradict the ranks.
    """
    prompt = encoder.prompt_ids(row.messages())
    room = max_length - len(prompt)
    if room < 1:
        return None

    def learned(text: str, reasoning: str | None = None) -> list[int]:
        """Token ids; none of an empty text, or of one that ends inside its thoughts."""
        split = split_thoughts(text)
        answer, thoughts = split.answer or "", split.reasoning or reasoning
        return encoder.response_ids(answer, thoughts if keep_reasoning else None) if answer.strip() else []

    ranked = [
        (number, response, response.rank, tokens)
        for number, response in enumerate(row.responses)
        if response.rank is not None and response.failure is None
        if (tokens := learned(response.text, response.reasoning))
    ]
    dense = {rank: place for place, rank in enumerate(sorted({rank for _, _, rank, _ in ranked}))}
    places: Sequence[float | None] = [None] * len(ranked)
    if margin_from == "score":
        places = _gaps_of_scores(row.id, [response for _, response, _, _ in ranked])
    good = [True] * len(ranked)
    if min_imitated_score is not None:
        good = [score >= min_imitated_score for score in _scores(row.id, [response for _, response, _, _ in ranked])]
    targets = [
        Target(tokens[:room], number, dense[rank], ended=len(tokens) <= room, place=place, imitable=imitable)
        for (number, _, rank, tokens), place, imitable in zip(ranked, places, good, strict=True)
    ]
    if reference := learned(row.reference or ""):
        targets.append(Target(reference[:room], None, None, ended=len(reference) <= room))
    return Group(row.id, prompt, targets, 1.0 if row.weight is None else row.weight)


def _scores(row_id: str, ranked: Sequence[Response]) -> list[float]:
    """The score of every ranked response."""
    scores = [response.score for response in ranked if response.score is not None and isfinite(response.score)]
    if len(scores) < len(ranked):
        raise DataError(
            f"row {row_id}",
            found="a ranked response without a score, which margin_from=score and min_imitated_score read",
            fix="Leave them out, or rank with something that gives scores.",
        )
    return scores


def _gaps_of_scores(row_id: str, ranked: Sequence[Response]) -> list[float]:
    """How far each score is below the best one of its list."""
    scores = _scores(row_id, ranked)
    order = sorted((response.rank or 0, -score) for response, score in zip(ranked, scores, strict=True))
    if any(above[0] < below[0] and above[1] > below[1] for above, below in pairwise(order)):
        raise DataError(
            f"row {row_id}",
            found="a response with a higher score and a lower place than another",
            fix="Set margin_from=rank, or mend the ranks.",
        )
    return [max(scores) - score for score in scores]


def encode_rows(
    rows: Sequence[Ranking],
    encoder: PromptEncoder,
    *,
    max_length: int,
    imitate: Imitate | None = "reference",
    keep_ties: bool = True,
    margin_from: MarginFrom = "rank",
    min_imitated_score: float | None = None,
    keep_reasoning: bool = False,
    convention: Convention = "paper",
    rank: bool = True,
) -> Encoded:
    """Encode all rows for training.

    Args:
        rows: lists of any length; a row without responses trains its reference alone (Eq. 2).
        encoder: of the model that is trained.
        max_length: tokens of prompt and response together.
        imitate: what L_MLE imitates (see `Group.imitated`); what the loss never looks at is left out.
        keep_ties: whether lists without a pair are kept for what they have to imitate.
        margin_from: `score` sets the places of responses by their scores.
        min_imitated_score: the best response of a list is imitated only if its score is not below this.
        keep_reasoning: whether thoughts are learned, too.
        convention: of the loss; with `lmops` the reference is one of the ranked responses and ties are broken.
        rank: whether there is a ranking loss; without it only what is imitated is kept.

    Raises:
        DataError: nothing is left to train on.
        ModelError: the template refuses rows; the first is named.
    """
    encoded = Encoded([], [], [], [], [])
    refused: dict[str, ModelError] = {}
    with progress("tokenising", len(rows)) as advance:
        for number, row in enumerate(rows, start=1):
            try:
                group = encode_row(
                    row,
                    encoder,
                    max_length,
                    margin_from,
                    min_imitated_score=min_imitated_score,
                    keep_reasoning=keep_reasoning,
                )
            except ModelError as error:
                refused[row.id] = error
                continue
            if group is None:
                encoded.dropped.append(row.id)
            else:
                useful = group.targets if convention == "lmops" else _useful(group, imitate, rank)
                _sort_in(encoded, group, useful, bool(row.responses) and convention == "paper", keep_ties)
            if number % PROGRESS_STEP == 0:
                advance(PROGRESS_STEP)
    if refused:
        name, first = next(iter(refused.items()))
        found = f"{len(refused)} of {len(rows)} rows, the first '{name}', with {first.found}"
        raise ModelError(first.where, found=found, fix=first.fix) from first
    if not encoded.groups:
        raise DataError(
            "the training rows",
            found=f"no usable row among {len(rows)} ({len(encoded.dropped)} fill max_length with their prompt, "
            f"{len(encoded.idle)} have nothing to learn from)",
            fix="Raise max_length, or check the ranks and references of the rows.",
        )
    return encoded


def _useful(group: Group, imitate: Imitate | None, rank: bool) -> list[Target]:
    """The targets that the loss looks at: responses that make a pair, and what is imitated."""
    imitated = group.imitated(imitate)
    ranked = rank and group.has_pairs and group.weight > 0
    return [
        target
        for number, target in enumerate(group.targets)
        if number == imitated or (ranked and target.rank is not None)
    ]


def _sort_in(encoded: Encoded, group: Group, useful: list[Target], is_list: bool, keep_ties: bool) -> None:
    """Keep of a group what the loss looks at, and note what it does not."""
    tied = is_list and not (group.has_pairs and group.weight > 0)
    if tied:
        encoded.unranked.append(group.id)
    if not useful or (tied and not keep_ties):
        encoded.idle.append(group.id)
        return
    if not all(target.ended for target in useful):
        encoded.cut.append(group.id)
    encoded.groups.append(replace(group, targets=useful))
