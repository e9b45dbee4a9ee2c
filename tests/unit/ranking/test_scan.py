"""What a scan over the length penalty shows."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
from typer.testing import CliRunner

from tunalm.cli.app import app
from tunalm.errors import DataError, RecipeError
from tunalm.ranking.scan import scan
from tunalm.records import Ranking, Response
from tunalm.store import write_rows


def drawn(text: str, logprob: float | None, num_tokens: int | None) -> Response:
    return Response(text=text, logprob=logprob, num_tokens=num_tokens)


@pytest.fixture
def responses(tmp_path: Path) -> Path:
    """Two lists in which a long response overtakes a short one between beta 1 and 1.3, one that no beta changes."""
    path = tmp_path / "responses.jsonl"
    turning = [drawn("abcd", -4.0, 4), drawn("abcdefgh", -9.0, 8)]
    firm = [drawn("abcd", -1.0, 4), drawn("abcdefgh", -99.0, 8)]
    failed = [drawn("abcd", -1.0, 4), Response(text="", failure="HTTP 500")]
    lists = {"a": turning, "b": turning, "c": firm, "d": failed}
    rows = [Ranking(id=name, instruction="Go on.", responses=responses) for name, responses in lists.items()]
    write_rows(path, rows)
    return path


def test_order_and_length_by_beta(responses: Path) -> None:
    found = scan(responses, [1.0, 1.3])
    assert (found.lists, found.skipped, found.compared_with, found.length_unit) == (3, 1, 1.3, "tokens")
    one, paper = found.betas
    assert one.characters_by_rank == [4, 8]
    assert one.tokens_by_rank == [4, 8]
    assert paper.characters_by_rank == pytest.approx([(8 + 8 + 4) / 3, (4 + 4 + 8) / 3])
    assert one.tau == pytest.approx((-1 - 1 + 1) / 3)
    assert one.top1_changed == pytest.approx(2 / 3)
    assert one.length_correlation == -1
    assert (paper.tau, paper.top1_changed) == (1, 0)
    assert paper.length_correlation == pytest.approx(1 / 3)
    one, paper = scan(responses, [1.0, 1.3], compared_with=1.0).betas
    assert (one.tau, one.top1_changed) == (1, 0)
    assert paper.top1_changed == pytest.approx(2 / 3)


def test_characters_are_another_length(tmp_path: Path) -> None:
    rows = [Ranking(id="a", instruction="Go on.", responses=[drawn("ab", -2.0, 8), drawn("abcdef", -2.5, 2)])]
    write_rows(tmp_path / "rows.jsonl", rows)
    assert scan(tmp_path / "rows.jsonl", [2.0], unit="tokens").betas[0].characters_by_rank == [2, 6]
    assert scan(tmp_path / "rows.jsonl", [2.0], unit="characters").betas[0].characters_by_rank == [6, 2]


def test_what_an_engine_said_counts_before_what_was_kept(tmp_path: Path) -> None:
    said = {"scored_by": "x", "logprobs": [-9.0, -1.0, None], "num_tokens": [4, 4, None]}
    texts = [drawn("good", -1.0, 4), drawn("worse one", -9.0, 4), drawn("not scored", -1.0, 1)]
    write_rows(tmp_path / "rankings.jsonl", [Ranking(id="a", instruction="Go.", responses=texts, judgement=said)])
    assert scan(tmp_path, [1.0]).betas[0].characters_by_rank == [9, 4]  # the folder of a stage will do


def test_lists_that_a_ranking_failed_are_left_out(tmp_path: Path) -> None:
    good = Ranking(id="a", instruction="Go.", responses=[drawn("ab", -1.0, 2), drawn("abcd", -3.0, 4)])
    failed = Ranking(id="b", instruction="Go.", responses=[drawn("x", None, None)] * 2, failure="HTTP 500")
    short = Ranking(id="c", instruction="Go.", responses=[drawn("x", None, None)])
    write_rows(tmp_path / "rankings.jsonl", [failed, good, short])
    found = scan(tmp_path, [1.0])
    assert (found.lists, found.skipped) == (1, 2)


def test_an_order_without_differences_has_no_tau(tmp_path: Path) -> None:
    same = [drawn("ab", -1.0, 2), drawn("ba", -1.0, 2)]
    write_rows(tmp_path / "rows.jsonl", [Ranking(id="a", instruction="Go on.", responses=same)])
    (row,) = scan(tmp_path / "rows.jsonl", [1.0]).betas
    assert (row.tau, row.top1_changed, row.length_correlation) == (None, 0, None)


def test_rows_that_cannot_be_scanned_are_named(tmp_path: Path) -> None:
    write_rows(tmp_path / "r.jsonl", [Ranking(id="a", instruction="Go.", responses=[drawn("x", None, 1)] * 2)])
    with pytest.raises(DataError, match="row 'a', response 0: found no log-probability"):
        scan(tmp_path / "r.jsonl", [1.0])
    write_rows(tmp_path / "r.jsonl", [Ranking(id="a", instruction="Go.", responses=[drawn("x", -1.0, 1)])])
    with pytest.raises(DataError, match="no list with two responses"):
        scan(tmp_path / "r.jsonl", [1.0])


def invoke(*words: str) -> str:
    result = CliRunner().invoke(app, ["rank", *words], env={"COLUMNS": "140"}, catch_exceptions=False)
    assert result.exit_code == 0
    return result.stdout


def test_the_command_prints_a_table_and_writes_nothing(responses: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(responses.parent)
    shown = invoke("--scan-beta", "1.3,1", "--responses", str(responses))
    lines = [line.replace("\u2502", " ").split() for line in shown.splitlines()]
    assert ["1", "4", "8", "4", "8", "-0.33", "66.7%", "-1.00"] in lines
    assert "compared with beta = 1.3" in " ".join(shown.split())
    assert [path.name for path in responses.parent.iterdir()] == ["responses.jsonl"]


def test_the_command_writes_numbers_and_a_figure_if_asked(responses: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    invoke("--scan-beta", "0,1", "--responses", str(responses), "--out", str(out), "--length_penalty", "1")
    found = json.loads((out / "beta_scan.json").read_text(encoding="utf-8"))
    assert [row["beta"] for row in found["betas"]] == [0, 1]
    assert found["compared_with"] == 1
    assert math.isclose(found["betas"][1]["tau"], 1)
    assert (out / "beta_scan.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (["--scan-beta", "1,x"], "'1,x'"),
        (["--scan-beta", "-1"], "'-1'"),
        (["--scan-beta", "nan"], "'nan'"),
        (["--scan-beta", "11"], "from 0 to 10"),
        (["--out", "folder"], "belongs to --scan-beta"),
        (["--limit", "2", "by=likelihood"], "Use rows=:2"),
        (["--scan-beta", "1", "by=verifier"], "by: likelihood"),
        (["--scan-beta", "1", "engine={kind: scripted}"], "then scan the rankings.jsonl"),
    ],
    ids=["word", "negative", "nan", "huge", "no scan", "limit", "verifier", "engine"],
)
def test_a_scan_that_makes_no_sense_is_refused(responses: Path, words: list[str], complaint: str) -> None:
    with pytest.raises(RecipeError, match=complaint):
        CliRunner().invoke(app, ["rank", *words, f"responses={responses}"], catch_exceptions=False)
