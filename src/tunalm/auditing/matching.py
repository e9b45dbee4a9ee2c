"""Lists out of files, and the lists of two files side by side."""

from __future__ import annotations

import csv
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tunalm.data.files import existing_file
from tunalm.data.lists import stream_rankings
from tunalm.errors import DataError
from tunalm.records import Ranking

CSV_FIELDS = ("id", "position", "rank")


@dataclass(frozen=True)
class Matched:
    """One list of which two files have an order; the responses are those that both hold."""

    row: Ranking
    """As the first file has it."""
    places: list[int]
    """Positions in `row.responses`."""
    ranks: list[int]
    """By the first file."""
    others: list[int]
    """By the other."""


@dataclass(frozen=True)
class Matching:
    """The lists that two files have in common, and what is in one alone."""

    lists: list[Matched]
    lists_alone: int
    """Lists of the first file that the other has not ranked."""
    responses_alone: int
    """Ranked responses, in lists of both files, that are in the first one alone."""


def read_lists(path: Path) -> list[Ranking]:
    """Read a file of lists.

    Raises:
        DataError: it cannot be read, or no list in it has ranks.
    """
    rows = list(stream_rankings(existing_file(str(path))))
    return _with_ranks(path, rows)


def read_other(path: Path, rows: Sequence[Ranking]) -> list[Ranking]:
    """Read the orders of somebody else: a file of lists, or a table that people can fill in.

    Args:
        path: lists, or CSV with the columns `id` (of the list), `position` (of the response in the list, from 0) and
            `rank` (the smallest is the best; empty is not ranked).
        rows: the lists that a table is about.

    Raises:
        DataError: the file cannot be read, or a line of the table is wrong; it is named.
    """
    if path.suffix.lower() != ".csv":
        return read_lists(path)
    ranks = _read_table(existing_file(str(path)), {row.id: len(row.responses) for row in rows})
    return _with_ranks(path, [_reranked(row, ranks[row.id]) for row in rows if row.id in ranks])


def is_ranked(row: Ranking) -> bool:
    """Whether a list has an order: it did not fail, and at least two of its responses have ranks."""
    return row.failure is None and sum(response.rank is not None for response in row.responses) > 1


def match(rows: Sequence[Ranking], others: Sequence[Ranking], where: object) -> Matching:
    """Put the lists of two files side by side, by id and by the texts of the responses.

    A text that stands in a list several times is matched in the order of its occurrence.

    Raises:
        DataError: the files have no ranked list in common.
    """
    known = {row.id: row for row in others if is_ranked(row)}
    ranked = [row for row in rows if is_ranked(row)]
    found = [_match(row, known[row.id]) for row in ranked if row.id in known]
    lists = [each for each in found if len(each.places) > 1]
    if not lists:
        raise DataError(
            where,
            found="no list of two responses that both files rank",
            expected="lists with the same ids and responses with the same texts",
            fix="Compare two rankings of one file of responses.",
        )
    alone = sum(sum(each.rank is not None for each in both.row.responses) - len(both.places) for both in lists)
    return Matching(lists, len(ranked) - len(lists), alone)


def _match(row: Ranking, other: Ranking) -> Matched:
    waiting: defaultdict[str, list[int | None]] = defaultdict(list)
    for response in reversed(other.responses):
        waiting[response.text].append(response.rank)
    pairs = [
        (place, response.rank, waiting[response.text].pop())
        for place, response in enumerate(row.responses)
        if waiting[response.text]
    ]
    kept = [
        (place, rank, rank_there) for place, rank, rank_there in pairs if rank is not None and rank_there is not None
    ]
    return Matched(row, [place for place, _, _ in kept], [rank for _, rank, _ in kept], [there for _, _, there in kept])


def _with_ranks(path: Path, rows: list[Ranking]) -> list[Ranking]:
    if not any(map(is_ranked, rows)):
        reasons = Counter(row.failure or "no two responses with a rank" for row in rows)
        raise DataError(
            path,
            found=f"no ranked list ({reasons.most_common(1)[0][0] if rows else 'no list at all'})",
            expected="lists whose responses have ranks",
            fix="Rank them first, with `tunalm rank`.",
        )
    return rows


def _read_table(path: Path, sizes: dict[str, int]) -> dict[str, dict[int, int]]:
    ranks: defaultdict[str, dict[int, int]] = defaultdict(dict)
    try:
        with open(path, encoding="utf-8-sig", newline="") as file:
            table = csv.DictReader(file)
            if missing := set(CSV_FIELDS) - set(table.fieldnames or ()):
                raise _bad_line(path, 1, f"no column {', '.join(sorted(missing))}")
            for line in table:
                _read_line(line, sizes, ranks, path, table.line_num)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise _bad_line(path, 1, f"a file that cannot be read ({error})") from error
    return dict(ranks)


def _read_line(
    line: dict[str, Any], sizes: dict[str, int], ranks: dict[str, dict[int, int]], path: Path, number: int
) -> None:
    name, texts = str(line["id"]), [str(line[field] or "").strip() for field in CSV_FIELDS[1:]]
    if name not in sizes:
        raise _bad_line(path, number, f"id {name!r}, which is not in the file of lists")
    if not texts[1]:
        return
    try:
        position, rank = map(int, texts)
    except ValueError as error:
        raise _bad_line(path, number, f"position {texts[0]!r} and rank {texts[1]!r}") from error
    if position not in range(sizes[name]):
        raise _bad_line(path, number, f"position {position} in a list of {sizes[name]} responses")
    if position in ranks[name]:
        raise _bad_line(path, number, f"position {position} of list {name!r} a second time")
    ranks[name][position] = rank


def _bad_line(path: Path, number: int, found: str) -> DataError:
    return DataError(
        f"{path}:{number}",
        found=found,
        expected=f"a table with the columns {', '.join(CSV_FIELDS)}, one line per response, positions from 0",
        fix="Correct the line.",
    )


def _reranked(row: Ranking, ranks: dict[int, int]) -> Ranking:
    """The same list with the ranks of a table, and nothing else that a ranker wrote."""
    responses = [
        response.model_copy(update={"rank": ranks.get(place), "score": None})
        for place, response in enumerate(row.responses)
    ]
    cleared = {"ranked_by": None, "judgement": None, "failure": None, "weight": None}
    return row.model_copy(update={"responses": responses, **cleared})
