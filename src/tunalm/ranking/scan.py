"""How the order of Eq. 3 and the length of what it prefers change with the length penalty beta.

A small beta prefers short responses, a large one long ones; where the order depends much on beta, the ranking says more
about length than about what the teacher finds likely.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean

from tunalm.data.lists import load_lists
from tunalm.errors import DataError
from tunalm.measures.equation3 import LengthUnit, Likelihood
from tunalm.measures.means import known_mean
from tunalm.measures.ranks import kendall_tau, top1_agrees
from tunalm.progress import tracked
from tunalm.ranking.base import assign_ranks
from tunalm.ranking.likelihood import kept_likelihoods, list_scores, stored_likelihoods
from tunalm.records import Ranking

FILES = ("rankings.jsonl", "responses.jsonl")
"""What is read of the folder of a stage."""
Ranks = list[int | None]
Known = tuple[Ranking, dict[int, Likelihood]]
"""A list, and how likely its responses are, by their place."""


@dataclass(frozen=True)
class Beta:
    """What one length penalty makes of all lists."""

    beta: float
    characters_by_rank: list[float]
    """Mean length of the responses at each rank, best first."""
    tokens_by_rank: list[float]
    tau: float | None
    """Kendall's tau with the order at the beta that is compared with, mean over the lists where it is defined."""
    top1_changed: float
    """Share of the lists whose best response is another one."""
    length_correlation: float | None
    """Kendall's tau of the order with that by length (longest first), likewise: above 0, longer is better."""


@dataclass(frozen=True)
class Scan:
    """A table by beta."""

    responses: str
    length_unit: LengthUnit
    compared_with: float
    lists: int
    skipped: int
    """Lists that an earlier ranking failed, or with fewer than two responses whose log-probability is known."""
    betas: list[Beta]


def scan(
    source: Path,
    betas: Sequence[float],
    *,
    compared_with: float = 1.3,
    unit: LengthUnit = "tokens",
    rows: slice = slice(None),
) -> Scan:
    """Rank lists by Eq. 3 at several length penalties; nothing is asked and nothing is written.

    Args:
        source: rows of a stage that samples or ranks, or its folder. What an engine said when they were ranked is
            taken before what was kept when they were sampled.
        betas: length penalties.
        compared_with: the one whose order the others are compared with.
        unit: of the length in Eq. 3.
        rows: which lists.

    Raises:
        DataError: the rows cannot be read, or lack log-probabilities.
    """
    path = next((source / name for name in FILES if (source / name).is_file()), source)
    lists = [_likelihoods(row, path) for row in load_lists(path)[rows]]
    able = [(row, known) for row, known in lists if len(known) > 1]
    if not able:
        raise DataError(path, found="no list with two responses", fix="Sample with num_responses: 2.")

    def ranks(beta: float) -> list[Ranks]:
        return [assign_ranks(list_scores(row, known, beta, unit, str(path))) for row, known in able]

    by_length = [_ranks_by_length(row, known, unit) for row, known in able]
    reference = ranks(compared_with)
    table = []
    for beta in tracked(betas, "ranking"):
        table.append(_at(beta, able, ranks(beta), reference, by_length))
    return Scan(str(path), unit, compared_with, len(able), len(lists) - len(able), table)


def _likelihoods(row: Ranking, path: Path) -> Known:
    if row.failure is not None or sum(each.is_usable for each in row.responses) < 2:
        return row, {}
    kept = kept_likelihoods(row)
    return row, stored_likelihoods(row, str(path)) if kept is None else kept


def _ranks_by_length(row: Ranking, known: dict[int, Likelihood], unit: LengthUnit) -> Ranks:
    """Longest first."""
    lengths: list[float | None] = [None] * len(row.responses)
    for place, likelihood in known.items():
        lengths[place] = likelihood.num_tokens if unit == "tokens" else len(row.responses[place].text)
    return assign_ranks(lengths)


def _at(
    beta: float, lists: Sequence[Known], ranks: Sequence[Ranks], reference: Sequence[Ranks], by_length: Sequence[Ranks]
) -> Beta:
    characters: defaultdict[int, list[int]] = defaultdict(list)
    tokens: defaultdict[int, list[int]] = defaultdict(list)
    for (row, known), own in zip(lists, ranks, strict=True):
        for place, likelihood in known.items():
            characters[own[place] or 0].append(len(row.responses[place].text))
            tokens[own[place] or 0].append(likelihood.num_tokens)
    return Beta(
        beta,
        characters_by_rank=[fmean(characters[rank]) for rank in sorted(characters)],
        tokens_by_rank=[fmean(tokens[rank]) for rank in sorted(tokens)],
        tau=known_mean(list(map(kendall_tau, ranks, reference))),
        top1_changed=1 - fmean(map(top1_agrees, ranks, reference)),
        length_correlation=known_mean(list(map(kendall_tau, ranks, by_length))),
    )
