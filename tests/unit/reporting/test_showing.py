"""`tunalm show`: what is told of lists, answers, ledgers and runs, on a terminal and on a page."""

from __future__ import annotations

import os
import re
import shutil
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import yaml
from rich.console import Console, RenderableType

from tests.unit.reporting.conftest import HOSTILE
from tunalm.calls.ledger import address, open_ledger
from tunalm.engines.base import Completion, Request
from tunalm.errors import DataError, RecipeError
from tunalm.pipeline.folder import RunFolder
from tunalm.records import Ranking, Response, StageState
from tunalm.reporting.run import Run
from tunalm.reporting.showing import browse, ledger_table, print_items, read_items, select, stages_table, write_items
from tunalm.store import write_rows

CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")


def shown(print_it: Callable[[Console], None], *, colours: bool = False) -> str:
    screen = Console(width=140, force_terminal=colours, color_system="standard" if colours else None, highlight=False)
    with screen.capture() as capture:
        print_it(screen)
    return capture.get()


def printed(what: RenderableType) -> str:
    return shown(lambda screen: screen.print(what))


def a_list(name: str, texts: list[str], scores: list[float], **more: object) -> Ranking:
    pairs = enumerate(zip(texts, scores, strict=True))
    made = [Response(text=text, rank=rank, score=score) for rank, (text, score) in pairs]
    return Ranking.model_validate({"id": name, "instruction": "Go.", "responses": made, **more})


@pytest.fixture
def lists(tmp_path: Path) -> Path:
    """Three lists: a clear one, a close one, and one that failed."""
    failed = Ranking(id="failed", instruction="Go.", failure="no JSON", responses=[Response(text="a")])
    rows = [
        a_list("clear", ["the red house", "a red house"], [9, 1]),
        a_list("close", ["b", "c"], [5, 4.5]),
        failed,
    ]
    write_rows(tmp_path / "rankings.jsonl", rows)
    return tmp_path / "rankings.jsonl"


def test_lists_are_sorted_by_margin_and_filtered(lists: Path) -> None:
    items = read_items(lists)
    assert [item.margin for item in items] == [8, 0.5, None]
    close_first = select(items, failed=False, order="margin", limit=None)
    assert [item.id for item in close_first] == ["close", "clear", "failed"]
    assert [item.id for item in select(items, failed=True, order="file", limit=None)] == ["failed"]
    assert len(select(items, failed=False, order="file", limit=2)) == 2
    with pytest.raises(RecipeError, match="without scores"):
        select(items[2:], failed=False, order="margin", limit=None)


def test_words_that_differ_from_the_best_response_are_marked(lists: Path) -> None:
    first = read_items(lists)[0]
    assert first.marked(first.candidates[0]) == [("the red house", False)]
    assert first.marked(first.candidates[1]) == [("a ", True), ("red house", False)]
    text = shown(lambda screen: print_items([first], screen), colours=True)
    assert re.search(r"\x1b\[1;4m\s*a\s*\x1b\[0m", text)


def test_answers_stand_together_with_their_scores(read_only_run: Run) -> None:
    items = read_items(read_only_run.path / "scores" / "rows.jsonl")
    assert len(items) == 12
    assert [each.facts[0] for each in items[0].candidates] == ["base", HOSTILE, "tuna"]
    assert items[0].margin == 1.0


def test_nothing_that_others_wrote_reaches_the_terminal_as_a_command(read_only_run: Run) -> None:
    items = read_items(read_only_run.path / "by_checker" / "rankings.jsonl")
    items += read_items(read_only_run.path / "scores" / "predictions.jsonl")
    text = shown(lambda screen: print_items(items, screen)) + printed(stages_table(read_only_run))
    assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]", text)
    assert "<script>" in text


def test_pages_are_turned_by_keys(lists: Path) -> None:
    for pressed, last in (("\n\n\n", "3/3"), ("\nbq", "1/3"), ("bq", "1/3"), ("q", "1/3"), ("\n\x03", "2/3")):
        keys = iter(pressed)
        text = shown(lambda screen, keys=keys: browse(read_items(lists), screen, lambda: next(keys)))  # type: ignore[misc]
        assert re.findall(r"\d/3", text)[-1] == last
        assert next(keys, "") == ""


def test_what_cannot_be_shown_is_said(tmp_path: Path, read_only_run: Run) -> None:
    with pytest.raises(DataError, match="predictions, a ledger"):
        read_items(read_only_run.path / "tuna" / "metrics.jsonl")
    with pytest.raises(DataError, match="no such file"):
        read_items(tmp_path / "absent.jsonl")


def test_a_ledger_is_told_by_engine_and_by_request(tmp_path: Path) -> None:
    path = tmp_path / "ledger.sqlite"
    asked = {name: Request(key=name, messages=[], max_new_tokens=4) for name in ("good", "bad", "lost")}
    place = {name: address("judge", request) for name, request in asked.items()}
    with open_ledger(path, "judge") as ledger:
        ledger.file(
            {place["good"]: Completion(key="good", text="Yes."), place["bad"]: Completion(key="bad", failure="no")}
        )
        call = ledger.send({place["lost"]: "lost"}, 0.5, None)
        assert call is not None
        ledger.lose(call, "no reply")
    items = read_items(path)
    assert [(item.id, item.failed) for item in items] == [("good", False), ("bad", True), ("lost", True)]
    assert items[2].candidates[0].failure == "unknown: no reply"
    assert "$0.50" in printed(ledger_table(path))


def test_a_run_in_progress_tells_how_far_it_is(read_only_run: Run) -> None:
    states = {**read_only_run.states, "tuna": StageState(status="running", kind="train"), "scores": StageState()}
    failing = StageState(status="done", requested=4, ok=3, failed=1, seconds=1.0, details={"failures": {"cut": 1}})
    run = Run(read_only_run.path, read_only_run.recipe, states | {"own": failing})
    text = " ".join(printed(stages_table(run)).split())
    assert "step 4, loss 2.000" in text
    assert "2 of 4 stages are done" in text
    assert "own: 1 x cut" in text
    assert "not run" in text
    assert "by_checker" not in printed(stages_table(run, failed=True))


def test_a_run_is_in_progress_as_long_as_its_process_lives(tmp_path: Path) -> None:
    run = RunFolder(tmp_path)
    assert not run.in_progress()
    with run.lock():
        assert run.in_progress()
    child = os.fork()
    if child == 0:
        os._exit(0)
    os.waitpid(child, 0)
    (tmp_path / ".lock").write_text(f"process {child} on {socket.gethostname()}", encoding="utf-8")
    assert not run.in_progress()
    (tmp_path / ".lock").write_text("process 1 on another machine", encoding="utf-8")
    assert run.in_progress()


def test_a_page_allows_its_own_script_and_nothing_else(read_only_run: Run, tmp_path: Path) -> None:
    items = read_items(read_only_run.path / "by_checker" / "rankings.jsonl")
    write_items(tmp_path / "page.html", f"lists {HOSTILE}", items)
    text = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert re.search(r"default-src 'none'; style-src 'unsafe-inline'; script-src 'sha256-[\w+/]{43}='", text)
    assert text.count("<script>") == 1
    assert "<img" not in text
    assert "{{" not in text.replace("{{ 7*7 }}", "")


@pytest.fixture
def browser() -> Iterator[object]:
    playwright = pytest.importorskip("playwright.sync_api")
    if CHROMIUM is None:
        pytest.skip("no Chromium on this machine")
    with playwright.sync_playwright() as driver:
        made = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield made
        made.close()


def test_the_page_filters_and_sorts_in_a_browser(browser: object, lists: Path, tmp_path: Path) -> None:
    write_items(tmp_path / "page.html", "lists", read_items(lists))
    page = browser.new_page()  # type: ignore[attr-defined]
    problems: list[str] = []
    page.on("console", lambda message: problems.append(message.text))
    page.on("dialog", lambda dialog: problems.append(dialog.message))
    page.goto((tmp_path / "page.html").as_uri())

    def ids() -> list[str]:
        script = "all => all.map(one => one.textContent.split(' ')[0].trim())"
        seen: list[str] = page.eval_on_selector_all("article:not([hidden]) > .soft:first-child", script)
        return seen

    assert ids() == ["clear", "close", "failed"]
    page.select_option("#order", "margin")
    assert ids() == ["close", "clear", "failed"]
    page.select_option("#order", "margin-down")
    assert ids() == ["clear", "close", "failed"]
    page.fill("#words", "HOUSE red")
    assert (ids(), page.text_content("#count")) == (["clear"], "1 of 3")
    page.fill("#words", "")
    page.check("#failed")
    assert ids() == ["failed"]
    assert problems == []


def test_the_command_shows_runs_stages_and_files(
    read_only_run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from tests.unit.cli.test_commands import typed

    run = tmp_path / "run"
    shutil.copytree(read_only_run.path, run)
    (run / "config.yaml").write_text(yaml.safe_dump(read_only_run.recipe.model_dump(mode="json")), encoding="utf-8")
    assert typed(f"show {run} --follow", monkeypatch) == 0
    assert "No process works in this folder" in capsys.readouterr().out.replace("\n", " ")
    assert typed(f"show {run / 'by_checker'} --html {tmp_path / 'page.html'}", monkeypatch) == 0
    assert "(5 of 5)" in capsys.readouterr().out
    assert typed(f"show {run / 'scores' / 'results.json'}", monkeypatch) == 0
    assert "checkable: success" in capsys.readouterr().out
    wrong = {
        f"{run} --sort margin": "a whole run",
        f"{run / 'tuna'}": "without rows",
        f"{run / 'own'} --follow": "no folder of a run",
    }
    for words, said in wrong.items():
        assert typed(f"show {words}", monkeypatch) == 2
        assert said in capsys.readouterr().err
