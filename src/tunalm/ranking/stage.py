"""Ranking as a function from lists to the same lists with ranks, and as the stage around it."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from itertools import chain, combinations
from pathlib import Path
from statistics import fmean
from typing import Any

from tunalm.calls.context import Calls, StageContext
from tunalm.data.lists import load_lists
from tunalm.engines.base import Request
from tunalm.errors import DataError
from tunalm.measures.means import known_mean, rounded
from tunalm.measures.ranks import length_bias, length_tau
from tunalm.progress import console
from tunalm.ranking import simulated
from tunalm.ranking.base import REASONS_SHOWN, Ranker, unranked
from tunalm.ranking.combining import open_ranker
from tunalm.ranking.judge.degenerate import find_degenerate
from tunalm.ranking.judge.questions import inquiries, request_for
from tunalm.ranking.likelihood import score_requests, with_reference
from tunalm.ranking.verifier import Function
from tunalm.recipe import Rank, Served
from tunalm.records import Ranking
from tunalm.store import Summary, write_rows

TOO_FEW = "fewer than two responses"
LEFT_OUT = "the ranker left this list out"


def run(settings: Rank, context: StageContext) -> Summary:
    """The stage: read the lists of `settings.responses`, `rank`, write `rankings.jsonl` in the order of the input.

    Raises:
        DataError: as `rank`; or no list is left after `settings.rows`.
        EngineError: the judge or the teacher cannot be asked.
    """
    path = Path(settings.responses)
    lists = load_lists(path)
    rows = lists[settings.select()]
    if lists and not rows:
        raise DataError(path, found=f"none of its {len(lists)} lists in rows '{settings.rows}'", fix="Correct rows.")
    ranker = open_ranker(settings, context.calls)
    result = rank_by(rows, ranker, path)
    write_rows(context.folder / "rankings.jsonl", result)
    figures = describe(result)
    if (warning := length_bias(figures["length_tau"])) is not None:
        console().print(f"      {warning}", markup=False, soft_wrap=True)
    return Summary.of([row.failure for row in result], {"by": ranker.name, **figures, **ranker.figures()})


def rank(rows: Sequence[Ranking], settings: Rank, calls: Calls, *, function: Function | None = None) -> list[Ranking]:
    """Put the responses of every list in order.

    Args:
        rows: lists; `settings.responses` is not read. What an earlier ranking wrote in them is left out.
        settings: of the stage.
        calls: reach the judge or the teacher, and keep what they answer.
        function: ranks in place of what `settings.by` names.

    Returns:
        The lists in their order, each with ranks (0 is best, equal is a tie, None takes no part) or with a `failure`.

    Raises:
        DataError: no lists, two with the same id, none with two responses, or lists without what the ranker needs.
        EngineError: the judge or the teacher cannot be asked.
    """
    return rank_by(rows, open_ranker(settings, calls, function), "responses")


def requests(settings: Rank, rows: Sequence[Ranking]) -> list[Request]:
    """What a judge or a teacher is asked about some lists; with a fallback, as if it were asked about all of them."""
    rows = [row for row in rows if sum(each.is_usable for each in row.responses) > 1]
    if settings.by == "judge" or settings.fallback is not None:
        structured = isinstance(settings.engine, Served)
        asked = [each for inquiry in inquiries(rows, settings, find_degenerate(rows)) for each in inquiry.asked]
        return [request_for(question, settings, structured) for question in asked]
    if settings.by == "simulated":
        return [request for own in simulated.requests(rows, settings).values() for request in own]
    if settings.by == "likelihood" and settings.engine is not None:
        lists = [with_reference(row) for row in rows] if settings.rank_reference else rows
        return [*{request.key: request for row in lists for request in score_requests(row).values()}.values()]
    return []


def rank_by(rows: Sequence[Ranking], ranker: Ranker, where: object) -> list[Ranking]:
    """Put the responses of every list in order, by a ranker that is open; `where` names the lists in errors.

    Raises:
        DataError: as `rank`.
    """
    _check_lists(rows, where)
    cleared = [unranked(row) for row in rows]
    able = [row for row in cleared if sum(each.is_usable for each in row.responses) >= 2]
    reasons = {row.id: TOO_FEW for row in cleared} | {row.id: LEFT_OUT for row in able}
    ranked = {row.id: row.with_dense_ranks() for row in ranker.rank(able)}
    return [ranked[row.id] if row.id in ranked else unranked(row, reasons[row.id]) for row in cleared]


def _check_lists(rows: Sequence[Ranking], where: object) -> None:
    if not rows:
        raise DataError(where, found="no rows", fix="Run the stage that samples responses.")
    name, count = Counter(row.id for row in rows).most_common(1)[0]
    if count > 1:
        raise DataError(where, found=f"{count} rows with the id '{name}'", fix="Give each row an id of its own.")
    if all(len(row.responses) < 2 for row in rows):
        fix = "Sample with num_responses: 2 or more (the paper takes 4)."
        raise DataError(where, found="lists of one response, which leave nothing to choose", fix=fix)


def describe(rows: Sequence[Ranking]) -> dict[str, Any]:
    """Figures of a ranking that tell whether it can teach anything.

    Returns:
        tied_pairs: share of the pairs of ranked responses that have the same rank.
        all_tied_lists: lists in which no response is better than another.
        unranked_responses: failed or empty ones, in lists that are ranked.
        length_tau: Kendall's tau of rank and length in characters, mean over the lists; above 0, longer is better.
        mean_characters_by_rank: length of the responses at each rank (as Table 4 of the paper, to see a length bias).
        failures: the commonest reasons for lists without ranks.
    """
    lists = [[(each.rank, len(each.text)) for each in row.responses] for row in rows if row.failure is None]
    ranks = [[rank for rank, _ in each if rank is not None] for each in lists]
    lengths: defaultdict[int, list[int]] = defaultdict(list)
    for rank, length in chain.from_iterable(lists):
        if rank is not None:
            lengths[rank].append(length)
    failures = Counter(row.failure for row in rows if row.failure is not None)
    return {
        "tied_pairs": known_mean([one == other for own in ranks for one, other in combinations(own, 2)], 4),
        "all_tied_lists": sum(len(set(own)) == 1 for own in ranks),
        "unranked_responses": sum(rank is None for rank, _ in chain.from_iterable(lists)),
        "length_tau": rounded(length_tau(([rank for rank, _ in own], [size for _, size in own]) for own in lists), 4),
        "mean_characters_by_rank": {str(rank): round(fmean(lengths[rank]), 1) for rank in sorted(lengths)},
        "failures": dict(failures.most_common(REASONS_SHOWN)),
    }
