"""`tunalm study score`: points, win rates and agreement of raters, from the saved orders and the key.

Place i of N systems earns N + 1 - i points (6 - i of five, section 8); systems that share places share the mean of
their points, those with the same answer included. Points are averaged over the raters of a question, then over all
questions. A judge's ranks of the same answers earn points in the same way.
"""

from __future__ import annotations

import csv
import io
from collections import defaultdict
from collections.abc import Sequence
from itertools import combinations
from pathlib import Path
from statistics import fmean, median

from scipy.stats import rankdata

from tunalm.errors import DataError
from tunalm.measures.means import mean_interval
from tunalm.measures.ranks import kendall_w
from tunalm.records import Ranking, StudyScores, StudySystem, StudyWins
from tunalm.store import write_json, write_rows, write_text
from tunalm.study.book import Book, Save
from tunalm.study.design import read_key
from tunalm.study.records import StudyKey, StudyRating

RESAMPLES = 2000
SEED = 0
FORMULA = ("=", "+", "-", "@", "\t", "\r")
"""How a cell begins that a spreadsheet would run."""


def score(folder: Path, judged: Sequence[Ranking] = ()) -> StudyScores:
    """Score a study; it writes `scores.json`, `ratings.jsonl` and `ratings.csv` beside it.

    Unfinished pages are counted and left out; failed attention checks are counted and their raters stay in.

    Args:
        folder: of the study.
        judged: its `answers.jsonl` as a judge has ranked it. Lists in which a system has no rank are left out.

    Raises:
        StoreError, DataError: the folder holds no study or no key, or nobody has finished a question; or no list of
            the judge ranks every system on a question that people have rated.
    """
    book, key = Book(folder / "study.sqlite"), read_key(folder)
    saves = {f"{rater}/{number}": save for (rater, number), save in book.latest().items()}
    ratings = [rating for name, save in saves.items() for rating in _ratings(key, name, save)]
    if not ratings:
        raise DataError(folder, found="no finished question", expected="one", fix="Wait for the raters.")
    scores = _scores(key, ratings, saves)
    if judged:
        points = _judged_points(folder, key, ratings, judged)
        scores.judged = len(points)
        for number, system in enumerate(scores.systems):
            system.judge_points = fmean(own[number] for own in points)
    write_rows(folder / "ratings.jsonl", ratings)
    write_text(folder / "ratings.csv", _as_csv(ratings))
    write_json(folder / "scores.json", scores.model_dump())
    return scores


def _judged_points(
    folder: Path, key: StudyKey, ratings: Sequence[StudyRating], judged: Sequence[Ranking]
) -> list[list[float]]:
    """Points of the systems by a judge, on each question that people have rated."""
    rated = {rating.question for rating in ratings}
    points = []
    for row in judged:
        ranks = {response.model: response.rank for response in row.responses if response.rank is not None}
        if row.id in rated and ranks.keys() >= set(key.systems):
            points.append([len(key.systems) + 1 - place for place in rankdata([ranks[name] for name in key.systems])])
    if not points:
        raise DataError(
            folder,
            found="no question that people have rated and on which the judge ranks every system",
            expected="the lists of answers.jsonl with a judge's ranks",
            fix="Rank them with `tunalm rank responses=STUDY/answers.jsonl`.",
        )
    return points


def _finished(key: StudyKey, name: str, save: Save) -> bool:
    item = key.items[name]
    return save.submitted and len(save.places) == len(item.check or item.letters)


def _ratings(key: StudyKey, name: str, save: Save) -> list[StudyRating]:
    """One row for each system of a finished question."""
    item = key.items[name]
    if item.check is not None or not _finished(key, name, save):
        return []
    shown = [(letter, system) for letter, systems in item.letters.items() for system in systems]
    places = rankdata([save.places[letter] for letter, _ in shown], method="average")
    return [
        StudyRating(
            question=item.question,
            category=item.category,
            position=letter,
            system=system,
            place=float(place),
            rater=save.rater,
            seconds=round(save.seconds, 1),
            comment=save.comment,
        )
        for (letter, system), place in zip(shown, places, strict=True)
    ]


def _scores(key: StudyKey, ratings: Sequence[StudyRating], saves: dict[str, Save]) -> StudyScores:
    places: defaultdict[str, defaultdict[str, dict[str, float]]] = defaultdict(lambda: defaultdict(dict))
    for rating in ratings:
        places[rating.question][rating.rater][rating.system] = rating.place
    most = len(key.systems) + 1
    points = {
        name: [fmean(most - own[name] for own in raters.values()) for raters in places.values()] for name in key.systems
    }
    checks = [(name, item) for name, item in key.items.items() if item.check is not None]
    passed = [name for name, item in checks if name in saves and dict(saves[name].places) == item.check]
    answered = [name for name, _ in checks if name in saves and saves[name].submitted]
    asked = [name for name, item in key.items.items() if item.check is None]
    finished = [name for name in asked if name in saves and _finished(key, name, saves[name])]
    shared = [_orders(key, raters) for raters in places.values() if len(raters) > 1]
    agreements = [value for orders in shared if (value := kendall_w(orders)) is not None]
    return StudyScores(
        systems=[
            StudySystem(name=name, points=fmean(values), interval=mean_interval(values, RESAMPLES, SEED))
            for name, values in points.items()
        ],
        wins=[_wins(one, other, places) for one, other in combinations(key.systems, 2)],
        questions=len(places),
        ratings=len(finished),
        unfinished=len(asked) - len(finished),
        checks_passed=len(passed),
        checks_answered=len(answered),
        alpha=_alpha(key, places),
        kendall_w=fmean(agreements) if agreements else None,
        median_seconds=median(saves[name].seconds for name in finished),
    )


def _orders(key: StudyKey, raters: dict[str, dict[str, float]]) -> list[list[float]]:
    """Places by rater, in the order of the systems."""
    return [[own[name] for name in key.systems] for own in raters.values()]


def _wins(one: str, other: str, places: dict[str, defaultdict[str, dict[str, float]]]) -> StudyWins:
    """How often one system stands above another, over all ratings."""
    signs = [own[other] - own[one] for raters in places.values() for own in raters.values()]
    won, lost = sum(sign > 0 for sign in signs), sum(sign < 0 for sign in signs)
    return StudyWins(system=one, against=other, wins=won, ties=len(signs) - won - lost, losses=lost)


def _alpha(key: StudyKey, places: dict[str, defaultdict[str, dict[str, float]]]) -> float | None:
    """Krippendorff's alpha, ordinal, over the places of all (question, system) pairs; None without two raters."""
    import krippendorff
    import numpy as np

    names = sorted({rater for raters in places.values() for rater in raters})
    data = np.array(
        [
            [raters[rater][name] if rater in raters else np.nan for raters in places.values() for name in key.systems]
            for rater in names
        ]
    )
    several = np.sum(~np.isnan(data), axis=0) > 1
    if not several.any() or len(np.unique(data[:, several][~np.isnan(data[:, several])])) < 2:
        return None
    return float(krippendorff.alpha(reliability_data=data[:, several], level_of_measurement="ordinal"))


def _as_csv(ratings: Sequence[StudyRating]) -> str:
    """Rows for a spreadsheet, in which no cell is a formula."""
    names = ["question", "position", "system", "place", "rater", "seconds"]
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(names)
    for rating in ratings:
        writer.writerow([_inert(getattr(rating, name)) for name in names])
    return text.getvalue()


def _inert(value: object) -> object:
    return f"'{value}" if isinstance(value, str) and value.startswith(FORMULA) else value
