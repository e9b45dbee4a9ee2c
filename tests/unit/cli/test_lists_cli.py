"""`tunalm audit` and `tunalm convert` as typed."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path

import pytest

from tunalm.cli.app import main
from tunalm.data.lists import stream_lists
from tunalm.records import Ranking, Response
from tunalm.store import write_rows


@pytest.fixture
def lists(tmp_path: Path) -> Path:
    rows = [
        Ranking(
            id=str(number),
            instruction="Go.",
            reference="r",
            responses=[
                Response(text=text, rank=rank, score=2.0 - rank) for rank, text in enumerate(["yy", "x", "zzz"])
            ],
        )
        for number in range(3)
    ]
    write_rows(tmp_path / "lists.jsonl", rows)
    return tmp_path / "lists.jsonl"


def tunalm(monkeypatch: pytest.MonkeyPatch, *words: object) -> int:
    monkeypatch.setattr(sys, "argv", ["tunalm", *map(str, words)])
    monkeypatch.setattr(sys, "stdout", sys.stdout)
    monkeypatch.setattr(sys, "stderr", sys.stderr)
    with pytest.raises(SystemExit) as ended:
        main()
    return int(ended.value.code or 0)


def test_an_audit_prints_a_table_and_writes_a_folder(
    lists: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    out = lists.parent / "out"
    assert tunalm(monkeypatch, "audit", lists, lists, "--out", out) == 0
    shown = capsys.readouterr().out
    assert "Kendall's tau-b" in shown
    assert str(out / "audit.html") in shown.replace("\n", "")
    found = json.loads((out / "audit.json").read_text(encoding="utf-8"))["agreement"]["comparisons"]
    assert [each["kendall_tau"]["value"] for each in found.values()] == [1]


RANKED = '{"id": "a", "instruction": "x", "responses": [{"text": "a", "rank": 0}, {"text": "b", "rank": RANK}]}'


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("", "no rows"),
        ("{}\n", "no fields"),
        ("rubbish", "not JSON"),
        ('{"id": "a", "instruction": "x", "responses": []}\n', ""),
        *((RANKED.replace("RANK", rank), "bad.jsonl:1: found responses.1.rank") for rank in ("-1", "1" + "0" * 30)),
    ],
)
def test_an_audit_of_anything_else_is_one_line(
    tmp_path: Path, content: str, said: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "bad.jsonl"
    path.write_text(content, encoding="utf-8")
    for words, why in (([path], said), ([path, path], said), ([tmp_path / "absent.jsonl"], "no such file")):
        assert tunalm(monkeypatch, "audit", *words) == 2
        shown = capsys.readouterr()
        assert shown.out == ""
        (line,) = shown.err.splitlines()
        assert why in line


@pytest.mark.parametrize("ending", [".jsonl", ".json", ".parquet"])
@pytest.mark.parametrize(("to", "rows"), [("trl-pairs", 9), ("trl-tpo", 9), ("nemo-rl", 9)])
def test_lists_are_converted_and_counted(
    lists: Path,
    ending: str,
    to: str,
    rows: int,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    target = lists.parent / f"out{ending}"
    assert tunalm(monkeypatch, "convert", lists, target, "--to", to, "--pairs", "all") == 0
    assert f"3 lists, {rows} rows" in capsys.readouterr().out.replace("\n", "")
    assert target.stat().st_size


def test_lists_of_others_become_ours_and_go_on(lists: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    completions = [{"response": text, "model": text, "overall_score": score} for text, score in (("a", 1), ("b", 9.5))]
    source = lists.parent / "feedback.json"
    source.write_text(json.dumps([{"instruction": "Go.", "completions": completions}]), encoding="utf-8")
    ours = lists.parent / "ours.jsonl"
    assert tunalm(monkeypatch, "convert", source, ours, "--to", "tunalm", "--from", "ultrafeedback") == 0
    assert [[response.rank for response in row.responses] for row in stream_lists(ours)] == [[1, 0]]
    assert tunalm(monkeypatch, "convert", ours, lists.parent / "pairs.jsonl", "--to", "trl-pairs") == 0
    (pair,) = (lists.parent / "pairs.jsonl").read_text(encoding="utf-8").splitlines()
    assert json.loads(pair)["chosen"] == [{"role": "assistant", "content": "b"}]


@pytest.mark.parametrize(
    ("name", "words", "said"),
    [
        ("out.csv", "--to trl-pairs", "ends in '.csv'"),
        ("out.parquet", "--to tunalm", "'.parquet' for lists of tunalm"),
        ("out.jsonl", "--to trl-pairs --from nectar", "3 rows that are wrong"),
        ("out.jsonl", "--to tunalm --pairs all", "--pairs all for whole lists"),
        ("lists.jsonl", "--to trl-pairs", "the file that is read"),
        ("out.jsonl", "--to trl-pairs", "3 lists, 3 tied pairs"),
    ],
)
def test_what_cannot_be_converted_is_one_line_and_no_file(
    lists: Path, name: str, words: str, said: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    if "tied" in said:
        lists.write_text(re.sub(r'"rank": ?\d', '"rank": 0', lists.read_text(encoding="utf-8")), encoding="utf-8")
    before = lists.read_bytes()
    target = lists.parent / name
    assert tunalm(monkeypatch, "convert", lists, target, *words.split()) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert said in line
    assert sorted(lists.parent.iterdir()) == [lists]
    assert lists.read_bytes() == before


def test_a_model_of_which_there_is_no_response_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    made = [Response(text=name, rank=rank, model=name) for rank, name in enumerate(["gpt-4", "llama"])]
    write_rows(tmp_path / "lists.jsonl", [Ranking(id="a", instruction="Go.", responses=made)])
    assert tunalm(monkeypatch, "audit", tmp_path / "lists.jsonl", "--own", "gpt4") == 2
    assert "Did you mean 'gpt-4'?" in capsys.readouterr().err
    assert tunalm(monkeypatch, "audit", tmp_path / "lists.jsonl", "--own", "gpt-4") == 0
