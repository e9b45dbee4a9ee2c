"""Ranking: lists of responses in, the same lists with ranks out.

`likelihood` is the paper's probabilistic ranking (section 2.2), `judge` its contextual ranking (section 2.3), and
`verifier` ranks by a program where one can tell right from wrong.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from itertools import combinations
from pathlib import Path
from statistics import fmean
from typing import Any

from tunalm.calls.context import StageContext
from tunalm.errors import DataError
from tunalm.ranking.base import is_usable, unranked
from tunalm.ranking.combining import open_ranker
from tunalm.recipe import Rank
from tunalm.records import Ranking
from tunalm.store import Summary, read_rows, write_rows

TOO_FEW = "fewer than two responses"
REASONS_SHOWN = 5


def run(settings: Rank, context: StageContext) -> Summary:
    """Rank the lists of `settings.responses` into `rankings.jsonl`, in the order of the input.

    What a judge has answered is kept in the run's ledger, so a second call goes on from there.

    Raises:
        DataError: no rows, also after `settings.rows`; two rows with the same id; lists of one response; or rows
            without what the ranker needs.
        EngineError: the judge cannot be asked.
    """
    lists = read_lists(Path(settings.responses))
    rows = [unranked(row) for row in lists[settings.select()]]
    if not rows:
        raise DataError(
            settings.responses,
            found=f"none of its {len(lists)} lists in rows '{settings.rows}'",
            expected="some to rank",
            fix="Correct rows.",
        )
    ranker = open_ranker(settings, context)
    able = [row for row in rows if sum(map(is_usable, row.responses)) >= 2]
    ranked = {row.id: row for row in ranker.rank(able)}
    result = [ranked[row.id] if row.id in ranked else unranked(row, TOO_FEW) for row in rows]
    write_rows(context.folder / "rankings.jsonl", result)
    return Summary.of([row.failure for row in result], {"by": ranker.name, **describe(result), **ranker.figures()})


def read_lists(path: Path) -> list[Ranking]:
    """Read lists of responses.

    Raises:
        DataError: there are none, two have the same id, or no list has a second response.
    """
    rows = read_rows(path, Ranking)
    if not rows:
        raise DataError(path, found="no rows", expected="lists of responses", fix="Run the stage that samples them.")
    name, count = Counter(row.id for row in rows).most_common(1)[0]
    if count > 1:
        raise DataError(
            path, found=f"{count} rows with the id '{name}'", expected="ids that differ", fix="Rename or remove rows."
        )
    if all(len(row.responses) < 2 for row in rows):
        raise DataError(
            path,
            found="lists of one response",
            expected="at least two responses to choose between",
            fix="Sample with num_responses: 2 or more (the paper takes 4).",
        )
    return rows


def describe(rows: Sequence[Ranking]) -> dict[str, Any]:
    """Figures of a ranking that tell whether it can teach anything.

    Returns:
        tied_pairs: share of the pairs of ranked responses that have the same rank.
        all_tied_lists: lists in which no response is better than another.
        unranked_responses: failed or empty ones, in lists that are ranked.
        mean_characters_by_rank: length of the responses at each rank (as Table 4 of the paper, to see a length bias).
        contradicted_rankings: lists whose judge stated an order that its own marks do not give.
        failures: the commonest reasons for lists without ranks.
    """
    pairs = tied = all_tied = skipped = 0
    lengths: defaultdict[int, list[int]] = defaultdict(list)
    for row in (row for row in rows if row.failure is None):
        ranks = [response.rank for response in row.responses if response.rank is not None]
        for first, second in combinations(ranks, 2):
            pairs += 1
            tied += first == second
        all_tied += len(set(ranks)) == 1
        skipped += len(row.responses) - len(ranks)
        for response in row.responses:
            if response.rank is not None:
                lengths[response.rank].append(len(response.text))
    failures = Counter(row.failure for row in rows if row.failure is not None)
    return {
        "tied_pairs": round(tied / pairs, 4) if pairs else None,
        "all_tied_lists": all_tied,
        "unranked_responses": skipped,
        "mean_characters_by_rank": {str(rank): round(fmean(lengths[rank]), 1) for rank in sorted(lengths)},
        "contradicted_rankings": sum((row.judgement or {}).get("ranking_agrees") is False for row in rows),
        "failures": dict(failures.most_common(REASONS_SHOWN)),
    }
