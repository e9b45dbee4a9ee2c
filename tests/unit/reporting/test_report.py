"""report.html: complete, self-contained, inert, and written from whatever is there."""

from __future__ import annotations

import json
import re
import shutil
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree

import pytest

from tests.unit.reporting.conftest import HOSTILE, result
from tunalm.recipe import Recipe
from tunalm.records import EvaluationKnobs, EvaluationResults, ModelResults, Ranking, Response, StageState
from tunalm.reporting.report import write_report
from tunalm.reporting.run import Run
from tunalm.reporting.runs import run_view
from tunalm.reporting.stages import stage_view
from tunalm.store import write_json, write_rows

VOID = {"meta", "img", "br", "input", "link", "hr", "path", "rect"}


class Page(HTMLParser):
    """Elements, text and addresses of a page; notes tags that do not close."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.open: list[str] = []
        self.crossed: list[str] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        if not self.open or self.open.pop() != tag:
            self.crossed.append(tag)

    def handle_data(self, data: str) -> None:
        self.text += data if self.open[-1:] != ["style"] else ""


def page_of(run: Run) -> Page:
    write_report(run)
    return Page((run.path / "report.html").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def page(read_only_run: Run) -> Page:
    return page_of(read_only_run)


@pytest.fixture
def plain_run(fake_run: Run) -> Run:
    """The run without what takes time to draw."""
    (fake_run.path / "tuna" / "metrics.jsonl").unlink()
    (fake_run.path / "own" / "responses.jsonl").unlink()
    return fake_run


def test_every_part_is_there_in_the_order_of_reading(page: Page) -> None:
    text = page.text.partition("How it was run")[2]
    parts = [
        "Under each number its 95 % bootstrap interval",
        "base answers 20.0 % right",
        "Every pair of models",
        "By task",
        "Answers side by side",
        "Pipeline",
        "requested",
        "responses drawn again",
        "mean characters",
        "Loss and its parts",
        "How it was run",
        "tunalm run recipe.yaml",
        "abc123",
        "max_rouge_l: 0.8",
    ]
    places = [text.find(part) for part in parts]
    assert -1 not in places
    assert places == sorted(places)


def test_training_sampling_and_results_are_drawn(page: Page) -> None:
    figures = [attributes["aria-label"] or "" for tag, attributes in page.tags if tag == "svg"]
    assert sum(label.startswith("checkable:") for label in figures) == 1
    assert sum(label.startswith("tuna:") for label in figures) == 8
    assert sum(label.startswith("own:") for label in figures) == 2


def test_training_by_ppo_has_its_own_curves(plain_run: Run) -> None:
    names = ("reward", "kl", "entropy", "policy_loss", "value_loss", "clip_fraction", "without_end", "response_tokens")
    lines = [json.dumps({"step": step} | dict.fromkeys(names, step / 10)) for step in (1, 2)]
    (plain_run.path / "tuna" / "metrics.jsonl").write_text("\n".join(lines), encoding="utf-8")
    ppo = {"kind": "rl", "method": "ppo", "start": "embedded:smollm2", "reward": "x/proxy", "data": "checkable:train"}
    stage = Recipe.model_validate({"name": "x", "stages": {"tuna": ppo}}).stages["tuna"]
    view = stage_view(plain_run.path / "tuna", "tuna", stage, StageState())
    drawn = {drawing.caption.split()[0]: drawing.svg for drawing in view.figures}
    assert list(drawn) == ["Length", "Reward", "Divergence", "Entropy", "Loss", "Tokens"]
    assert {"policy", "value"} <= {text.strip() for text in ElementTree.fromstring(drawn["Loss"]).itertext()}


def test_the_page_is_well_formed_executes_nothing_and_fetches_nothing(page: Page) -> None:
    assert (page.open, page.crossed) == ([], [])
    names = {tag for tag, _ in page.tags}
    assert names.isdisjoint({"script", "img", "image", "iframe", "link", "object", "embed", "form", "foreignobject"})
    for _, attributes in page.tags:
        assert not any(name.startswith("on") for name in attributes)
        for name in ("href", "xlink:href", "src", "action"):
            assert (attributes.get(name) or "#").startswith("#")
        assert "url(" not in (attributes.get("style") or "").replace("url(#", "")
    policies = [item["content"] for tag, item in page.tags if item.get("http-equiv") == "Content-Security-Policy"]
    assert policies == ["default-src 'none'; style-src 'unsafe-inline'; img-src data:"]


def test_foreign_text_is_shown_as_it_is(page: Page) -> None:
    assert HOSTILE.startswith("<script>alert(1)</script>")
    assert page.text.count("<script>alert(1)</script>") > 20
    assert "{{ 7*7 }}" in page.text
    assert {"\x1b", "\u202e"}.isdisjoint(page.text)
    assert "\N{SYMBOL FOR ESCAPE}[31m" in page.text


def test_long_texts_are_cut_and_a_lone_surrogate_is_no_obstacle(plain_run: Run) -> None:
    plain_run.states["own"].details = {"reason": "x" * 5000}
    plain_run.recipe.description = "\ud800 alone"
    text = page_of(plain_run).text
    assert "(4,400 more characters)" in text
    assert "x" * 601 not in text
    assert "? alone" in text


def test_the_same_run_gives_the_same_bytes(fake_run: Run, read_only_run: Run, page: Page) -> None:
    page_of(fake_run)
    written = fake_run.path / "report.html"
    assert written.read_bytes() == (read_only_run.path / "report.html").read_bytes()


@pytest.mark.parametrize("size", range(5))
def test_what_has_not_run_is_left_out(fake_run: Run, size: int) -> None:
    for name in list(fake_run.states)[size:]:
        shutil.rmtree(fake_run.path / name)
    run = Run(fake_run.path, fake_run.recipe, dict(list(fake_run.states.items())[:size]))
    (fake_run.path / "manifest.json").unlink()
    text = page_of(run).text
    assert text.count("has not finished") == 4 - size
    assert ("Loss and its parts" in text) == (size >= 3)
    assert ("Every pair of models" in text) == (size == 4)


@pytest.mark.parametrize("content", ["", "not json", "[1, 2]", '{"schema_version": 99}', '{"step": "x"}\n\x00\n'])
def test_damaged_files_are_left_out(fake_run: Run, content: str) -> None:
    for path in fake_run.path.rglob("*.json*"):
        path.write_text(content, encoding="utf-8")
    page = page_of(fake_run)
    assert "svg" not in [tag for tag, _ in page.tags]
    assert "How it was run" in page.text


def test_an_empty_recipe_has_a_report_too(tmp_path: Path) -> None:
    write_report(Run(tmp_path, Recipe.model_construct(name="nothing", stages={})))
    assert "nothing" in (tmp_path / "report.html").read_text(encoding="utf-8")


def test_calls_and_costs_have_a_table_of_their_own(plain_run: Run) -> None:
    counts = {"answered": 12, "from_ledger": 34, "unknown": 5, "calls": 17, "prompt_tokens": 123_456, "unpriced": 0}
    paid = counts | {"cached_tokens": 96, "completion_tokens": 7, "reasoning_tokens": 3, "cost": 1.25}
    calls = {"endpoint https://api.example.com/v1 <b>": paid, "other": paid | {"cost": None}, "damaged": {"calls": 1}}
    plain_run.states["own"].details = {"calls": calls}
    page_of(plain_run)
    html = (plain_run.path / "report.html").read_text(encoding="utf-8")
    table = re.sub(r"\s*<[^>]*>\s*", "|", html.partition("Calls and costs")[2].partition("</table>")[0])
    numbers = "12||34||5||17||123,456||96||7||3|"
    assert f"endpoint https://api.example.com/v1 &lt;b&gt;||{numbers}|$1.25" in table
    assert f"other||{numbers}|unknown" in table
    assert "damaged" not in table


def test_failed_rows_and_edited_products_stand_above_the_results(plain_run: Run) -> None:
    state = plain_run.states["own"]
    state.ok, state.failed, state.unknown, state.edited = 1, 2, 1, ["responses.jsonl"]
    text = page_of(plain_run).text
    assert -1 < text.find("The stage own: 2 failed and 1 unknown of 4.") < text.find("base answers")
    assert "The stage own: responses.jsonl was edited by hand" in text
    assert "done, edited by hand" in text


def test_side_by_side_answers_need_a_clear_difference(page: Page, plain_run: Run) -> None:
    assert "of held-4" in page.text
    assert "of held-5" not in page.text
    path = plain_run.path / "scores" / "rows.jsonl"
    path.write_text(path.read_text(encoding="utf-8").replace('"score":1.0', '"score":0.0'), encoding="utf-8")
    text = page_of(plain_run).text
    assert "Answers side by side" not in text
    assert "Calls and costs" not in text, "no stage has called anybody"


def test_an_unknown_metric_is_reported_by_its_name(plain_run: Run) -> None:
    found = EvaluationResults(
        baseline="base",
        models={"base": ModelResults(identity="x", results={"new": result(41.0, metric="kappa", ci95=None)})},
        comparisons=[],
        settings=EvaluationKnobs(bootstrap_samples=100, seed=0, max_new_tokens=8),
    )
    write_json(plain_run.path / "scores" / "results.json", found.model_dump(mode="json"))
    assert "base has a kappa of 41.0." in page_of(plain_run).text


@pytest.mark.parametrize(("best", "said"), [("long", "longer responses rank higher"), ("short", "shorter"), ("", "")])
def test_ranks_that_go_with_length_are_warned_of(plain_run: Run, best: str, said: str) -> None:
    lengths = {"long": [40, 30, 20], "short": [2, 4, 6], "": [20, 40, 20]}[best]
    responses = [Response(text="x" * length, rank=rank) for rank, length in enumerate(lengths)]
    rows = [Ranking(id=str(number), instruction="Say.", responses=responses) for number in range(3)]
    write_rows(plain_run.path / "by_checker" / "rankings.jsonl", rows)
    text = page_of(plain_run).text
    assert ("its ranks go with length" in text) == bool(said)
    assert said in text


def test_stages_say_what_they_read_and_a_template_called_like_a_stage_is_not_read(tmp_path: Path) -> None:
    sft = {"kind": "sft", "model": "embedded:smollm2", "data": "checkable:train", "template": "alpaca"}
    sample = {"kind": "sample", "engine": {"model": "alpaca"}, "data": "checkable:train"}
    run = Run(tmp_path, Recipe.model_validate({"name": "x", "stages": {"alpaca": sft, "other": sft, "own": sample}}))
    reads = {row[0].text: row[2].text for row in run_view("x", run).counts.rows}
    assert reads == {"alpaca": "", "other": "", "own": "alpaca"}
