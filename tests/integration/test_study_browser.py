"""A study in a real browser: one rater by keyboard alone, one without script, the server killed in between."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import pytest

from tunalm.records import Prediction
from tunalm.store import write_rows
from tunalm.study import design
from tunalm.study.book import Book
from tunalm.study.design import Plan, read_key
from tunalm.study.scoring import score

pytest.importorskip("uvicorn")
playwright = pytest.importorskip("playwright.sync_api")
CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine")

SYSTEMS = ("alpaca", "ppo_sim", "tuna")
PAYLOADS = (
    "<script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    "</div></article><svg onload=alert(1)>",
    "javascript:alert(1) \" onfocus=alert(1) autofocus='",
    "{{ 7 * 7 }} {% raw %} </textarea><iframe src=//example.org>",
)
PREFERENCE = {"tuna": 1, "alpaca": 2, "ppo_sim": 3}


@pytest.fixture
def study(tmp_path: Path) -> Path:
    """A study of three systems and five questions in which everything that is shown is hostile."""
    rows = [
        Prediction(
            id=f"q{number}",
            benchmark="vicuna",
            model=system,
            instruction=f"Question {number} {payload}",
            prediction=f"{payload} by {'xyz'[SYSTEMS.index(system)]}",
        )
        for system in SYSTEMS
        for number, payload in enumerate(PAYLOADS)
    ]
    write_rows(tmp_path / "predictions.jsonl", rows)
    plan = Plan(SYSTEMS, raters=2, checks=0, seed=3)
    design.make(design.read_answers(tmp_path / "predictions.jsonl", plan, "vicuna"), plan, tmp_path / "study")
    return tmp_path / "study"


@contextmanager
def served(study: Path, port: int) -> Iterator[subprocess.Popen[bytes]]:
    command = [sys.executable, "-m", "tunalm", "study", "serve", str(study), "--port", str(port)]
    server = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    try:
        for _ in range(600):
            try:
                urlopen(f"http://127.0.0.1:{port}/static/study.css")
                break
            except OSError:
                time.sleep(0.1)
        yield server
    finally:
        server.kill()
        server.wait()


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


@contextmanager
def browser() -> Iterator[Any]:
    with playwright.sync_playwright() as driver:
        chromium = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])
        try:
            yield chromium
        finally:
            chromium.close()


def new_page(chromium: Any, **options: Any) -> Any:
    page = chromium.new_context(**options).new_page()
    page.set_default_timeout(30_000)

    def inert(dialog: Any) -> None:
        raise AssertionError(f"a payload ran: {dialog.message}")

    page.on("dialog", inert)
    return page


def links(study: Path) -> dict[str, str]:
    return dict(line.split(" ") for line in (study / "links.txt").read_text(encoding="utf-8").splitlines())


def chosen(study: Path, rater: str, number: int) -> dict[str, int]:
    """Places by letter, as somebody who knows the systems would give them."""
    letters = read_key(study).items[f"{rater}/{number}"].letters
    return {letter: PREFERENCE[systems[0]] for letter, systems in letters.items()}


def tab_to(page: Any, selector: str) -> None:
    """Press Tab until something is in focus, as somebody without a mouse does."""
    for _ in range(30):
        page.keyboard.press("Tab")
        if page.evaluate("selector => document.activeElement.matches(selector)", selector):
            return
    raise AssertionError(f"Tab never reaches {selector}")


def rate_by_keyboard(page: Any, study: Path, number: int) -> None:
    page.locator(".scripted").wait_for()  # the script is there
    tab_to(page, "article")
    for letter, place in sorted(chosen(study, "rater-1", number).items()):
        assert page.evaluate("document.activeElement.dataset.letter") == letter
        page.keyboard.press(str(place))
        page.keyboard.press("ArrowRight")
    page.get_by_text("Saved", exact=True).wait_for()


def rate_without_script(page: Any, study: Path, number: int) -> None:
    for letter, place in chosen(study, "rater-2", number).items():
        page.select_option(f"select[name=place-{letter}]", str(place))
    page.fill("textarea", PAYLOADS[number])


def go_on(page: Any) -> None:
    tab_to(page, "button")
    page.keyboard.press("Enter")


def test_two_raters_and_a_killed_server_give_the_table_worked_out_by_hand(study: Path) -> None:
    port = free_port()
    with browser() as chromium:
        first, second = new_page(chromium), new_page(chromium, java_script_enabled=False)
        with served(study, port) as server:
            for rater, page in (("rater-1", first), ("rater-2", second)):
                page.goto(f"http://127.0.0.1:{port}{links(study)[rater]}")
            go_on(first)
            second.get_by_role("button", name="I agree and start").click()
            for number in range(2):
                first.get_by_text(f"Question {number + 1} of 5").wait_for()
                rate_by_keyboard(first, study, number)
                go_on(first)
                rate_without_script(second, study, number)
                second.get_by_role("button", name="Save and go on").click()
            first.get_by_text("Question 3 of 5").wait_for()
            rate_by_keyboard(first, study, 2)
            os.kill(server.pid, signal.SIGKILL)
        assert dict(Book(study / "study.sqlite").latest()["rater-1", 2].places) == chosen(study, "rater-1", 2)
        with served(study, port):
            for rater, page, rate in (("rater-1", first, rate_by_keyboard), ("rater-2", second, rate_without_script)):
                page.goto(f"http://127.0.0.1:{port}{links(study)[rater]}")
                for number in range(2, 5):
                    page.get_by_text(f"Question {number + 1} of 5").wait_for()
                    rate(page, study, number)
                    go_on(page)
                page.get_by_text("All 5 questions are finished").wait_for()
            second.go_back()  # to the last question, where the comment is shown again
            assert second.input_value("textarea") == PAYLOADS[4]
            assert second.locator("iframe, img, svg").count() == 0
    found = score(study)
    assert {system.name: system.points for system in found.systems} == {"tuna": 3.0, "alpaca": 2.0, "ppo_sim": 1.0}
    assert (found.ratings, found.unfinished, found.alpha, found.kendall_w) == (10, 0, 1.0, 1.0)


def test_an_answer_can_be_dragged_to_its_place(study: Path) -> None:
    port = free_port()
    with served(study, port), browser() as chromium:
        page = new_page(chromium)
        page.goto(f"http://127.0.0.1:{port}{links(study)['rater-1']}")
        page.get_by_role("button", name="I agree and start").click()
        page.locator(".scripted").wait_for()
        page.drag_and_drop("article[data-letter=C] h2", "article[data-letter=A] h2")
        page.get_by_text("Saved", exact=True).wait_for()
        assert dict(Book(study / "study.sqlite").latest()["rater-1", 0].places) == {"C": 1, "A": 2, "B": 3}


@pytest.mark.parametrize("width", [390, 820, 1440])
def test_no_width_needs_sideways_scrolling(study: Path, width: int) -> None:
    port = free_port()
    with served(study, port), browser() as chromium:
        page = new_page(chromium, viewport={"width": width, "height": 900})
        page.goto(f"http://127.0.0.1:{port}{links(study)['rater-1']}")
        page.get_by_role("button", name="I agree and start").click()
        page.get_by_text("Question 1 of 5").wait_for()
        assert page.evaluate("document.documentElement.scrollWidth <= document.documentElement.clientWidth")
        if folder := os.environ.get("TUNALM_SCREENSHOTS"):
            page.screenshot(path=f"{folder}/study-{width}.png")


def test_a_free_port_is_found_and_told_and_a_taken_one_is_an_error(study: Path) -> None:
    command = [sys.executable, "-m", "tunalm", "study", "serve", str(study), "--port"]
    server = subprocess.Popen([*command, "0"], stdout=subprocess.PIPE, text=True)
    try:
        assert server.stdout is not None
        told = (line.partition("rater-1: ")[2].strip() for line in server.stdout)
        link = next(filter(None, told))
        assert b"I agree" in urlopen(link).read()
        taken = subprocess.run(
            [*command, link.split(":")[2].split("/")[0]], capture_output=True, text=True, check=False
        )
        assert (taken.returncode, "cannot be had" in taken.stderr) == (2, True)
    finally:
        server.kill()
        server.wait()
