"""Lists out of files, and the orders that one or several raters give to the same lists."""

from __future__ import annotations

import csv
import math
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from scipy.stats import rankdata

from tunalm.data.files import existing_file
from tunalm.data.lists import stream_lists
from tunalm.errors import DataError
from tunalm.records import Ranking

Orders = dict[str, dict[int, float]]
"""What one rater says: ranks by the id of the list and the position of the response; a lower rank is better."""
COLUMNS = {"id": ("id", "question"), "position": ("system", "position"), "rank": ("rank", "place")}
"""Names that a column of a table may have; the first one that it has counts."""


@dataclass(frozen=True)
class Matched:
    """One list that others have ranked too; the responses are those that all of them rank."""

    row: Ranking
    """As the first file has it."""
    places: list[int]
    """Positions in `row.responses`."""
    ranks: list[int]
    """By the first file."""
    raters: Mapping[str, list[float]]
    """By each rater who ranked the list."""

    @property
    def others(self) -> list[float]:
        """The order of all raters together: the mean of their ranks, in which tied responses share their places."""
        if len(self.raters) == 1:
            return next(iter(self.raters.values()))
        return [float(mean) for mean in rankdata(list(self.raters.values()), axis=1).mean(axis=0)]


@dataclass(frozen=True)
class Matching:
    """The lists that the first file and the raters have in common, and what is in the file alone."""

    lists: list[Matched]
    lists_alone: int
    """Lists that no rater has ranked."""
    responses_alone: int
    """Ranked responses, in lists in common, that some rater has not ranked."""


def read_lists(path: Path) -> list[Ranking]:
    """Read a file of lists.

    Raises:
        DataError: it cannot be read, or no list in it has ranks.
    """
    rows = list(stream_lists(path))
    if not any(map(is_ranked, rows)):
        reasons = Counter(row.failure or "no two responses with a rank" for row in rows)
        reason = reasons.most_common(1)[0][0] if rows else "no list at all"
        raise DataError(path, found=f"no ranked list ({reason})", fix="Rank them first, with `tunalm rank`.")
    return rows


def read_raters(paths: Sequence[Path], rows: Sequence[Ranking]) -> dict[str, Orders]:
    """Read the orders of other raters, by their names: files of lists, or tables that people can fill in.

    Args:
        paths: each file of lists is one rater, with the name of the file (its whole path, if another has that name).
            A CSV table has the columns `id` (or `question`, of the list), `position` (of the response in the list,
            from 0) or `system` (its model), `rank` (or `place`; numbers, the smallest is the best, empty is not
            ranked), and `rater` if it has several.
        rows: the lists that tables are about.

    Raises:
        DataError: a file cannot be read, a line of a table is wrong (it is named), or two raters have one name.
    """
    found: dict[str, Orders] = {}
    for path in paths:
        if path.suffix.lower() == ".csv":
            raters = _read_table(existing_file(path), {row.id: row for row in rows})
        else:
            others = {row.id: row for row in read_lists(path) if is_ranked(row)}
            name = str(path) if path.stem in found else path.stem
            raters = {name: {row.id: _order(row, others[row.id]) for row in rows if row.id in others}}
        if twice := found.keys() & raters.keys():
            raise DataError(path, found=f"a second rater '{min(twice)}'", fix="Rename the file, or the rater in it.")
        found |= raters
    return found


def is_ranked(row: Ranking) -> bool:
    """Whether a list has an order: it did not fail, and at least two of its responses have ranks."""
    return row.failure is None and sum(response.rank is not None for response in row.responses) > 1


def match(rows: Sequence[Ranking], raters: Mapping[str, Orders], where: object) -> Matching:
    """Put the orders of raters beside lists.

    Raises:
        DataError: no list has two responses that it and a rater rank.
    """
    ranked = [row for row in rows if is_ranked(row)]
    lists = [found for row in ranked if len((found := _match(row, raters)).places) > 1]
    if not lists:
        nothing = "no list (by id) has two responses (by text) that all rank"
        raise DataError(where, found=nothing, fix="Compare rankings of one file of responses.")
    alone = sum(sum(each.rank is not None for each in both.row.responses) - len(both.places) for both in lists)
    return Matching(lists, len(ranked) - len(lists), alone)


def _match(row: Ranking, raters: Mapping[str, Orders]) -> Matched:
    ranks = {place: each.rank for place, each in enumerate(row.responses) if each.rank is not None}
    common = {name: orders[row.id].keys() & ranks.keys() for name, orders in raters.items() if row.id in orders}
    saying = {name: places for name, places in common.items() if len(places) > 1}
    places = sorted(set.intersection(*map(set, saying.values()))) if saying else []
    orders = {name: [float(raters[name][row.id][place]) for place in places] for name in saying}
    return Matched(row, places, [ranks[place] for place in places], orders)


def _order(row: Ranking, other: Ranking) -> dict[int, float]:
    """Ranks that another file gives to the responses of a list, by their texts; equal texts in their order."""
    waiting: defaultdict[str, list[int | None]] = defaultdict(list)
    for response in reversed(other.responses):
        waiting[response.text].append(response.rank)
    found = {place: waiting[each.text].pop() for place, each in enumerate(row.responses) if waiting[each.text]}
    return {place: rank for place, rank in found.items() if rank is not None}


def _read_table(path: Path, rows: Mapping[str, Ranking]) -> dict[str, Orders]:
    raters: defaultdict[str, Orders] = defaultdict(lambda: defaultdict(dict))
    try:
        with open(path, encoding="utf-8-sig", newline="") as file:
            table = csv.DictReader(file)
            header = table.fieldnames or ()
            names = {
                wanted: next((name for name in known if name in header), None) for wanted, known in COLUMNS.items()
            }
            if missing := sorted(wanted for wanted, name in names.items() if name is None):
                raise _bad_line(path, 1, f"no column {', '.join(missing)}")
            for line in table:
                if None in line:
                    raise _bad_line(path, table.line_num, "more cells than the header has")
                name, position, rank = _read_line(line, names, rows, path, table.line_num)
                if rank is not None:
                    order = raters[line.get("rater") or path.stem][name]
                    if position in order:
                        raise _bad_line(path, table.line_num, f"position {position} of list {name!r} a second time")
                    order[position] = rank
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise _bad_line(path, 1, f"a file that cannot be read ({error})") from error
    return {name: dict(orders) for name, orders in raters.items()}


def _read_line(
    line: Mapping[str, str], names: Mapping[str, str | None], rows: Mapping[str, Ranking], path: Path, number: int
) -> tuple[str, int, float | None]:
    """Id of the list, position of the response, and its rank, of one line of a table."""
    texts = {wanted: str(line[name or ""] or "").strip() for wanted, name in names.items()}
    row = rows.get(texts["id"])
    if row is None:
        raise _bad_line(path, number, f"id {texts['id']!r}, which is not in the file of lists")
    if names["position"] == "system":
        positions = [place for place, each in enumerate(row.responses) if each.model == texts["position"]]
        if len(positions) != 1:
            raise _bad_line(path, number, f"{len(positions)} responses by {texts['position']!r} in list {row.id!r}")
        texts["position"] = str(positions[0])
    try:
        position, rank = int(texts["position"]), float(texts["rank"]) if texts["rank"] else None
        if rank is not None and not math.isfinite(rank):
            raise ValueError("a rank is a finite number")
    except ValueError as error:
        raise _bad_line(path, number, f"position {texts['position']!r} and rank {texts['rank']!r}") from error
    if position not in range(len(row.responses)):
        raise _bad_line(path, number, f"position {position} in a list of {len(row.responses)} responses")
    return row.id, position, rank


def _bad_line(path: Path, number: int, found: str) -> DataError:
    return DataError(
        f"{path}:{number}",
        found=found,
        expected="a table with the columns id, position and rank, one line per response, positions from 0",
        fix="Correct the line.",
    )
