"""What a user gets wrong ends in one line and exit code 2, whatever it is."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

import pytest
from tokenizers import Tokenizer

from tunalm.cli.app import main

LISTS = [{"text": "Yes.", "rank": 0}, {"text": "No.", "rank": 1}]


def tunalm(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, *words: object) -> str:
    """Type a command that must be refused; returns the one line that it prints."""
    monkeypatch.setattr(sys, "argv", ["tunalm", "--quiet", *map(str, words)])
    with pytest.raises(SystemExit) as stopped:
        main()
    shown = capsys.readouterr()
    assert stopped.value.code == 2
    assert "Traceback" not in shown.err
    lines = shown.err.strip().splitlines()
    assert len(lines) == 1, shown.err
    return lines[0]


@pytest.fixture
def refused(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path):  # type: ignore[no-untyped-def]
    monkeypatch.chdir(tmp_path)
    return lambda *words: tunalm(capsys, monkeypatch, *words)


def write(path: Path, *rows: object) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def test_an_unknown_key(refused, tmp_path: Path, tiny_model: Path, instructions: Path) -> None:  # type: ignore[no-untyped-def]
    line = refused("sft", f"model={tiny_model}", f"data={instructions}", "learning_rat=1")
    assert "learning_rat" in line
    assert "Did you mean 'learning_rate'?" in line


def test_a_stage_that_names_a_missing_stage(refused, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    recipe = tmp_path / "r.yaml"
    recipe.write_text("name: r\nstages:\n  a: {kind: rank, by: verifier, responses: nowhere}\n", encoding="utf-8")
    line = refused("run", recipe)
    assert "stages.a.responses" in line
    assert "nowhere" in line


def test_a_model_path_that_does_not_exist(refused, instructions: Path) -> None:  # type: ignore[no-untyped-def]
    assert "./nowhere" in refused("sft", "model=./nowhere", f"data={instructions}")


def test_an_empty_data_file(refused, tmp_path: Path, tiny_model: Path) -> None:  # type: ignore[no-untyped-def]
    empty = write(tmp_path / "empty.jsonl")
    assert "empty.jsonl" in refused("sft", f"model={tiny_model}", f"data={empty}")


def test_duplicate_ids(refused, tmp_path: Path, tiny_model: Path) -> None:  # type: ignore[no-untyped-def]
    row = {"id": "same", "instruction": "Say yes.", "output": "Yes."}
    line = refused("sft", f"model={tiny_model}", f"data={write(tmp_path / 'd.jsonl', row, row)}")
    assert "d.jsonl:2" in line
    assert "'same'" in line


def test_one_response_is_no_ranking(refused, tmp_path: Path, tiny_model: Path) -> None:  # type: ignore[no-untyped-def]
    row = {"id": "1", "instruction": "Say yes.", "reference": "Yes.", "responses": LISTS[:1]}
    line = refused("train", f"start={tiny_model}", f"rankings={write(tmp_path / 'r.jsonl', row)}")
    assert "1" in line


def test_a_loss_that_is_not_a_number_names_the_rows(refused, tmp_path: Path, tiny_model: Path) -> None:  # type: ignore[no-untyped-def]
    from safetensors.torch import load_file, save_file

    broken = tmp_path / "broken"
    shutil.copytree(tiny_model, broken)
    weights = load_file(broken / "model.safetensors")
    weights["model.norm.weight"][:] = float("nan")
    save_file(weights, broken / "model.safetensors", metadata={"format": "pt"})
    row = {"id": "row-7", "instruction": "Say yes.", "reference": "Yes.", "responses": LISTS}
    assert "row-7" in refused("train", f"start={broken}", f"rankings={write(tmp_path / 'r.jsonl', row)}")


def test_a_model_without_a_chat_template(refused, tmp_path: Path, tiny_model: Path, instructions: Path) -> None:  # type: ignore[no-untyped-def]
    plain = tmp_path / "plain"
    shutil.copytree(tiny_model, plain, ignore=shutil.ignore_patterns("chat_template*"))
    assert "chat template" in refused("sft", f"model={plain}", f"data={instructions}")
    assert Tokenizer.from_file(str(plain / "tokenizer.json"))  # nothing else is missing


def test_code_of_a_model_runs_only_when_somebody_typed_the_flag(  # type: ignore[no-untyped-def]
    refused, tmp_path: Path, tiny_model: Path, instructions: Path
) -> None:
    hostile = tmp_path / "hostile"
    shutil.copytree(tiny_model, hostile)
    config = json.loads((hostile / "config.json").read_text(encoding="utf-8"))
    config["auto_map"] = {"AutoConfig": "code.Config", "AutoModelForCausalLM": "code.Model"}
    config["model_type"] = "unheard-of"
    (hostile / "config.json").write_text(json.dumps(config), encoding="utf-8")
    (hostile / "code.py").write_text(f"open({str(tmp_path / 'it-ran')!r}, 'w')\n", encoding="utf-8")
    line = refused("sft", f"model={hostile}", f"data={instructions}")
    assert "--trust-remote-code" in line
    assert not (tmp_path / "it-ran").exists()
    assert "trust_remote_code" in refused("sft", f"model={hostile}", f"data={instructions}", "trust_remote_code=true")
