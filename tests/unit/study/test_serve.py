"""The pages of a study, without a browser: consent, saving, secrets and hostile text."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest

pytest.importorskip("starlette")
from starlette.testclient import TestClient

from tunalm.study.book import Book
from tunalm.study.design import read_key
from tunalm.study.serve import make_app

Visit = Callable[[str], tuple[TestClient, str]]


@pytest.fixture
def visit(study: Path) -> Visit:
    """A browser at the study and the address of a rater who has agreed."""
    tokens = dict(line.split(" ") for line in (study / "links.txt").read_text(encoding="utf-8").splitlines())

    def start(rater: str) -> tuple[TestClient, str]:
        client = TestClient(make_app(study))
        client.post(tokens[rater])
        return client, tokens[rater]

    return start


def places(study: Path, rater: str, number: int) -> dict[str, str]:
    page = Book(study / "study.sqlite").page(rater, number)
    assert page is not None
    return {f"place-{letter}": str(place + 1) for place, letter in enumerate(page.answers)}


def test_nobody_sees_a_question_before_the_consent(study: Path) -> None:
    address = (study / "links.txt").read_text(encoding="utf-8").split()[1]
    client = TestClient(make_app(study))
    assert "I agree" in client.get(f"{address}/1").text
    assert client.post(f"{address}/1", data={"action": "next"}).status_code == 404
    assert "Question 1 of 5" in client.post(address).text


def test_an_unknown_token_and_number_lead_nowhere(study: Path, visit: Visit) -> None:
    client, address = visit("rater-1")
    assert client.get("/r/guess").status_code == client.get(f"{address}/99").status_code == 404
    assert client.get("/r/guess/1").status_code == client.get("/static/key.json").status_code == 404


def test_a_page_without_script_goes_on_only_when_it_is_complete(study: Path, visit: Visit) -> None:
    client, address = visit("rater-1")
    client.get(f"{address}/1")
    incomplete = client.post(f"{address}/1", data={"place-A": "1", "comment": "half", "action": "next"})
    assert incomplete.status_code == 422
    assert "Give every answer a place" in incomplete.text
    assert ">half</textarea>" in client.get(f"{address}/1").text
    for number in range(5):
        page = client.post(f"{address}/{number + 1}", data={**places(study, "rater-1", number), "action": "next"})
    assert "All 5 questions are finished" in page.text


def test_every_change_is_kept_and_a_finished_page_stays_finished(study: Path, visit: Visit) -> None:
    client, address = visit("rater-1")
    complete = places(study, "rater-1", 0)
    client.post(f"{address}/1", data={**complete, "action": "next", "seconds": "12.5"})
    reply = client.post(f"{address}/1", data={**complete, "comment": "later", "action": "keep", "seconds": "20"})
    assert reply.json() == {"saved": True, "complete": True}
    state = Book(study / "study.sqlite").latest()["rater-1", 0]
    assert (state.submitted, state.comment, state.seconds) == (True, "later", 20.0)
    with sqlite3.connect(study / "study.sqlite") as link:
        assert link.execute("SELECT count(*) FROM saves").fetchone() == (2,)


@pytest.mark.parametrize("seconds", ["nan", "-5", "1e99", "soon", ""])
def test_a_strange_time_is_not_believed(study: Path, visit: Visit, seconds: str) -> None:
    client, address = visit("rater-1")
    client.get(f"{address}/1")
    client.post(f"{address}/1", data={**places(study, "rater-1", 0), "seconds": seconds, "action": "keep"})
    assert 0 <= Book(study / "study.sqlite").latest()["rater-1", 0].seconds <= 4 * 3600


@pytest.mark.parametrize("place", ["0", "4", "-1", "1.5", "1; DROP TABLE saves"])
def test_a_place_that_does_not_exist_is_no_place(study: Path, visit: Visit, place: str) -> None:
    client, address = visit("rater-1")
    client.post(f"{address}/1", data={**places(study, "rater-1", 0), "place-A": place, "action": "next"})
    state = Book(study / "study.sqlite").latest()["rater-1", 0]
    assert "A" not in state.places
    assert not state.submitted


def test_raters_see_their_own_answers_only(study: Path, visit: Visit) -> None:
    client, address = visit("rater-1")
    client.post(f"{address}/1", data={"comment": "of the first rater", "action": "keep"})
    other, elsewhere = visit("rater-2")
    assert "of the first rater" not in other.get(f"{elsewhere}/1").text


def test_pages_carry_no_names_and_allow_no_foreign_script(study: Path, visit: Visit) -> None:
    client, address = visit("rater-1")
    page = client.get(f"{address}/1")
    policy = page.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert page.headers["referrer-policy"] == "no-referrer"
    assert "set-cookie" not in page.headers
    for name in read_key(study).systems:
        assert f">{name}<" not in page.text


def test_a_comment_is_inert(study: Path, visit: Visit) -> None:
    client, address = visit("rater-1")
    client.post(f"{address}/1", data={"comment": "</textarea><script>alert(1)</script>", "action": "keep"})
    text = client.get(f"{address}/1").text
    assert "<script>alert" not in text
    assert "&lt;script&gt;" in text


def test_a_form_of_any_size_is_not_read(study: Path, visit: Visit) -> None:
    client, address = visit("rater-1")
    assert client.post(f"{address}/1", data={"comment": "x" * 100_000, "action": "keep"}).status_code == 413


def test_two_tabs_overwrite_nothing(study: Path, visit: Visit) -> None:
    client, address = visit("rater-1")
    for comment in ("first tab", "second tab", "first tab again"):
        client.post(f"{address}/1", data={"comment": comment, "action": "keep"})
    with sqlite3.connect(study / "study.sqlite") as link:
        kept = [comment for (comment,) in link.execute("SELECT comment FROM saves ORDER BY id")]
    assert kept == ["first tab", "second tab", "first tab again"]
