"""A pool of judges that stands for people: who is asked, in which order, and whose label turns."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from tunalm.calls.context import Calls
from tunalm.ranking.simulated import duels_of, request_of, verdict
from tunalm.ranking.stage import rank
from tunalm.recipe import Rank
from tunalm.records import Ranking, Response

ALWAYS_FIRST = {"kind": "scripted", "replies": ["1"]}


def row(number: int, *texts: str) -> Ranking:
    return Ranking(id=str(number), instruction=f"Ask {number}", responses=[Response(text=text) for text in texts])


def settings(judges: int = 3, **knobs: object) -> Rank:
    pool = [{"engine": ALWAYS_FIRST, "style": style} for style in ("plain", "strict", "brief")[:judges]]
    return Rank.model_validate({"by": "simulated", "responses": "own", "pool": pool, **knobs})


ROWS = [row(number, "one", "two") for number in range(400)]


def test_judges_orders_and_flips_are_drawn_by_seed() -> None:
    duels = [duel for each in ROWS for duel in duels_of(each, settings())]
    assert duels == [duel for each in ROWS for duel in duels_of(each, settings())]
    assert duels != [duel for each in ROWS for duel in duels_of(each, settings(seed=1))]
    assert all(100 < count < 170 for count in Counter(duel.judge for duel in duels).values())
    assert 150 < sum(duel.first == 0 for duel in duels) < 250
    assert 70 < sum(duel.flipped for duel in duels) < 130


def test_a_label_is_the_judges_unless_it_is_flipped(tmp_path: Path) -> None:
    asked = settings()
    ranked = rank(ROWS[:60], asked, Calls(tmp_path / "ledger.sqlite"))
    for each in ranked:
        (duel,) = duels_of(each, asked)
        winner = duel.second if duel.flipped else duel.first
        assert each.responses[winner].rank == 0
        assert each.responses[1 - winner].rank == 1


def test_without_flips_and_with_every_pair_the_wins_are_the_scores(tmp_path: Path) -> None:
    (ranked,) = rank([row(0, "one", "two", "three", "four")], settings(flip=0), Calls(tmp_path / "ledger.sqlite"))
    assert sum(response.score or 0 for response in ranked.responses) == 6


def test_a_second_run_asks_nothing(tmp_path: Path) -> None:
    calls = Calls(tmp_path / "ledger.sqlite")
    first = rank(ROWS[:20], settings(), calls)
    before = (tmp_path / "ledger.sqlite").read_bytes()
    assert rank(ROWS[:20], settings(), calls) == first
    assert (tmp_path / "ledger.sqlite").read_bytes() == before


@pytest.mark.parametrize(
    ("reply", "expected"),
    [("1", 1), ("Response 2.", 2), ("**2**", 2), ("1 or 2", None), ("neither", None), ("12", None), ("", None)],
)
def test_a_verdict_is_one_number_and_nothing_is_guessed(reply: str, expected: int | None) -> None:
    assert verdict(reply) == expected


def test_a_judge_that_names_nothing_fails_the_list(tmp_path: Path) -> None:
    pool = [{"engine": {"kind": "scripted", "replies": ["hm"]}}]
    (ranked,) = rank([ROWS[0]], settings(pool=pool), Calls(tmp_path / "ledger.sqlite"))
    assert ranked.failure is not None
    assert "neither" in ranked.failure
    assert all(response.rank is None for response in ranked.responses)


def test_what_is_the_same_for_all_pairs_stands_first() -> None:
    (one,), (other,) = (duels_of(each, settings(judges=1)) for each in ROWS[:2])
    first, second = (request_of(duel, settings(judges=1)).messages for duel in (one, other))
    assert first[0] == second[0]
    assert first[1] != second[1]
