"""Points, wins and agreement, against numbers worked out by hand."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest

from tests.unit.study.conftest import SYSTEMS
from tunalm.cli.study import score as score_command
from tunalm.errors import DataError
from tunalm.records import Ranking, StudyScores
from tunalm.store import read_rows, write_rows
from tunalm.study.book import Book, Save
from tunalm.study.design import read_key
from tunalm.study.records import StudyRating
from tunalm.study.scoring import score

BEST_LAST = {"base": 3, "sft": 2, "tuna": 1}


def rate(study: Path, rater: str, places: dict[str, int], *, submitted: bool = True, checks_right: bool = True) -> None:
    """Let a rater give each system its place on every page; letters shared by two systems get the better place."""
    book, key = Book(study / "study.sqlite"), read_key(study)
    for name, item in key.items.items():
        if not name.startswith(f"{rater}/"):
            continue
        if item.check is not None:
            chosen = item.check if checks_right else dict.fromkeys(item.check, 1)
        else:
            chosen = {letter: min(places[system] for system in systems) for letter, systems in item.letters.items()}
        book.save(Save(rater, int(name.rpartition("/")[2]), chosen, "", 10.0, submitted))


def test_points_are_n_plus_one_minus_the_place_and_ties_share(study: Path) -> None:
    rate(study, "rater-1", BEST_LAST)
    rate(study, "rater-2", {"base": 1, "sft": 1, "tuna": 1})
    found = score(study)
    points = {system.name: system.points for system in found.systems}
    # rater-1: tuna 3, sft 2, base 1, but on q0 tuna and sft share an answer, so they earn 2.5 each; rater-2: 2 each.
    assert points == pytest.approx({"tuna": (2.5 * 3 + 2.25) / 4, "sft": (2 * 3 + 2.25) / 4, "base": 1.5})
    wins = {(each.system, each.against): (each.wins, each.ties, each.losses) for each in found.wins}
    assert wins["base", "tuna"] == (0, 4, 4)
    assert wins["sft", "tuna"] == (0, 5, 3)
    assert (found.ratings, found.unfinished, found.questions) == (8, 0, 4)
    assert found.kendall_w is None or 0 <= found.kendall_w <= 1


def test_raters_who_agree_have_an_alpha_of_one_and_opposites_a_negative_one(study: Path) -> None:
    rate(study, "rater-1", BEST_LAST)
    rate(study, "rater-2", BEST_LAST)
    assert score(study).alpha == pytest.approx(1)
    assert score(study).kendall_w == pytest.approx(1)
    rate(study, "rater-2", {"base": 1, "sft": 2, "tuna": 3})
    opposite = score(study).alpha
    assert opposite is not None
    assert opposite < 0


def test_what_is_unfinished_is_counted_and_left_out(study: Path) -> None:
    rate(study, "rater-1", BEST_LAST)
    rate(study, "rater-2", BEST_LAST, submitted=False)
    found = score(study)
    assert (found.ratings, found.unfinished, found.alpha) == (4, 4, None)


def test_attention_checks_are_counted_and_nobody_is_dropped(study: Path) -> None:
    rate(study, "rater-1", BEST_LAST)
    rate(study, "rater-2", BEST_LAST, checks_right=False)
    found = score(study)
    assert (found.checks_passed, found.checks_answered, found.ratings) == (1, 2, 8)
    assert all(
        system in SYSTEMS for system in (each.system for each in read_rows(study / "ratings.jsonl", StudyRating))
    )


def test_a_study_that_nobody_has_finished_is_an_error(study: Path) -> None:
    with pytest.raises(DataError, match="no finished question"):
        score(study)


def test_no_cell_of_the_table_is_a_formula(study: Path) -> None:
    path = study / "key.json"
    path.write_text(path.read_text(encoding="utf-8").replace('"tuna"', '"=tuna()"'), encoding="utf-8")
    rate(study, "rater-1", {"base": 3, "sft": 2, "=tuna()": 1})
    score(study)
    with open(study / "ratings.csv", encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == ["question", "position", "system", "place", "rater", "seconds"]
    assert {row["system"] for row in rows} == {"base", "sft", "'=tuna()"}


def test_a_judges_places_stand_beside_those_of_people(study: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """People have tuna above sft above base and equal answers share a place; the judge has the reverse."""
    rate(study, "rater-1", BEST_LAST)
    rate(study, "rater-2", BEST_LAST)
    lists = read_rows(study / "answers.jsonl", Ranking)
    assert [(row.task, [each.model for each in row.responses]) for row in lists] == [("generic", list(SYSTEMS))] * 4
    for row in lists:
        for rank, response in enumerate(row.responses):
            response.rank = rank
    lists[3].responses[0].rank = None  # left out of the judge's points, and of the agreement as a response
    judged = study.parent / "judged.jsonl"
    write_rows(judged, lists)
    score_command(study, judged)
    scores = StudyScores.model_validate_json((study / "scores.json").read_text(encoding="utf-8"))
    assert {each.name: each.judge_points for each in scores.systems} == {"base": 3, "sft": 2, "tuna": 1}
    assert scores.judged == 3
    audit = json.loads((study / "audit" / "audit.json").read_text(encoding="utf-8"))["agreement"]
    assert (audit["raters"], audit["responses_alone"]) == ({"rater-1": 4, "rater-2": 4}, 0)
    comparisons = audit["comparisons"]
    assert comparisons["raters with each other"]["kendall_tau"]["value"] == 1
    # On q0 sft and tuna share a place, so 2 pairs are turned round of 3; on q3 one pair of one; else 3 of 3.
    tau = comparisons["ranking with their mean order"]["kendall_tau"]["value"]
    assert tau == pytest.approx((-2 / 6**0.5 - 1 - 1 - 1) / 4, abs=1e-4)
    assert "The judge ranks all systems on 3 of the questions." in " ".join(capsys.readouterr().out.split())
    write_rows(judged, lists[3:])
    with pytest.raises(DataError, match="no question that people have rated"):
        score_command(study, judged)
