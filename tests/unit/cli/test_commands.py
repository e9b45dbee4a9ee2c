"""The commands as a newcomer meets them: groups, examples that can be typed, completion, first recipes."""

from __future__ import annotations

import json
import shlex
import sys
from pathlib import Path

import pytest
from typer.main import get_command
from typer.testing import CliRunner

from tunalm import __version__
from tunalm.cli.app import COMMANDS, app, main
from tunalm.records import Ranking, Response
from tunalm.store import write_rows

EXAMPLES = [example for commands in COMMANDS.values() for _, examples in commands.values() for example in examples]
PLAIN = {"COLUMNS": "80", "TERM": "dumb", "NO_COLOR": "1"}


def typed(command: str, monkeypatch: pytest.MonkeyPatch) -> int:
    monkeypatch.setattr(sys, "argv", ["tunalm", *shlex.split(command.replace("\\\n", " "))])
    with pytest.raises(SystemExit) as stopped:
        main()
    return int(stopped.value.code or 0)


def completions(words: str, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    environment = {"_TUNALM_COMPLETE": "complete_bash", "COMP_WORDS": f"tunalm {words}"}
    number = len(words.split(" "))
    shown = CliRunner().invoke(app, [], prog_name="tunalm", env={**environment, "COMP_CWORD": str(number)})
    return shown.output.split()


def test_every_command_stands_in_a_group_of_the_help() -> None:
    shown = CliRunner().invoke(app, ["--help"], prog_name="tunalm", env=PLAIN).output
    assert [group for group in COMMANDS if f"─ {group} ─" in shown] == list(COMMANDS)
    assert "─ Commands ─" not in shown


@pytest.mark.parametrize("example", EXAMPLES)
def test_an_example_of_the_help_is_shown_as_it_is_typed(example: str) -> None:
    command = example.split()[0]
    shown = CliRunner().invoke(app, [command, "--help"], prog_name="tunalm", env=PLAIN).output
    lines = [line.strip() for line in shown.splitlines()]
    assert all(line.strip() in lines for line in f"tunalm {example}".splitlines())


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """What the examples name."""
    monkeypatch.chdir(tmp_path)
    rows = [{"instruction": f"Say {number}.", "output": str(number)} for number in range(4)]
    Path("alpaca.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    tasks = [
        {"instruction": f"Do {yes}.", "instances": [{"input": "", "output": "x"}], "is_classification": yes}
        for yes in (True, False)
    ]
    Path("seed_tasks.jsonl").write_text("".join(json.dumps(row) + "\n" for row in tasks), encoding="utf-8")
    both = [
        Response(text=text, rank=rank, score=-rank, logprob=-1.0, num_tokens=2)
        for rank, text in enumerate(("a b", "c d e"))
    ]
    lists = [Ranking(id=str(number), instruction="Go.", reference="x", responses=both) for number in range(4)]
    for name in ("responses.jsonl", "rankings.jsonl"):
        write_rows(Path(name), lists)
    return tmp_path


@pytest.mark.parametrize("example", EXAMPLES)
def test_an_example_of_the_help_can_be_parsed_and_those_that_cost_nothing_run(
    example: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    command, *words = shlex.split(example.replace("\\\n", " "))
    made = get_command(app).commands[command]  # type: ignore[attr-defined]
    with made.make_context(command, list(words)):
        pass
    stage = command in COMMANDS["Stages, one at a time"]
    if "runs/" in "".join(words):
        return
    if command in ("recipes", "init", "plan", "show", "convert", "schema") or stage:
        assert typed(f"{example}{' --dry-run' if stage else ''}", monkeypatch) == 0


def test_shells_complete_recipes_inputs_knobs_and_values(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("quick.yaml").write_text("name: quick\n", encoding="utf-8")
    assert completions("run qui", monkeypatch) == ["quickstart", "quick.yaml"]
    assert completions("plan tuna b", monkeypatch) == ["base="]
    assert completions("init tuna ", monkeypatch) == ["base=", "instructions=", "teacher=", "judge=", "template="]
    assert "stages.tuna.margin=" in completions("run quickstart stages.tuna.m", monkeypatch)
    assert completions("run quickstart stages.t", monkeypatch) == ["stages.tuna."]
    assert "by=judge" in completions("rank by", monkeypatch)
    assert completions("sample logp", monkeypatch) == ["logprobs=", "logprobs=true", "logprobs=false"]
    assert completions("run nothing.yaml b", monkeypatch) == []


def test_the_version_can_be_asked_for(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert typed("--version", monkeypatch) == 0
    assert capsys.readouterr().out == f"tunalm {__version__}\n"


def test_a_recipe_is_copied_without_questions_where_nobody_can_answer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert typed("init tuna base=owner/name", monkeypatch) == 0
    assert "instructions, teacher, judge" in capsys.readouterr().out
    assert typed("run tuna", monkeypatch) == 2
    shown = capsys.readouterr().err
    assert "recipe: tuna.yaml" in shown
    assert "no value for the input 'instructions'" in shown


def test_recipes_are_listed_with_what_they_need(monkeypatch: pytest.MonkeyPatch) -> None:
    shown = CliRunner().invoke(app, ["recipes"], env={**PLAIN, "COLUMNS": "200"}).output
    line = next(line for line in shown.splitlines() if line.split()[:1] == ["tuna"])
    assert line.split()[-4:] == ["base", "instructions", "teacher", "judge"]
