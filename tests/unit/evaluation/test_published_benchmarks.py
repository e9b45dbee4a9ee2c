"""Published benchmarks inside an evaluation: questions, totals beside the comparison, files for other tools."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError
from typer.testing import CliRunner

from tests.published import lmentry, superni
from tunalm.calls.context import StageContext
from tunalm.cli.app import app
from tunalm.engines.base import Completion, Request
from tunalm.engines.scripted import ScriptedEngine
from tunalm.errors import DataError
from tunalm.evaluation import open_benchmarks, requests, run
from tunalm.evaluation.base import open_benchmark
from tunalm.evaluation.lmentry.scoring import score_file as score_lmentry
from tunalm.evaluation.sources import in_turn
from tunalm.evaluation.superni.scoring import score_file as score_superni
from tunalm.recipe import BenchmarkSettings, Evaluate


def evaluate(folder: Path, *benchmarks: dict[str, Any], models: dict[str, Any] | None = None) -> dict[str, Any]:
    models = models or {"yes": {"kind": "scripted", "replies": ["yes"]}, "a": {"kind": "scripted", "replies": ["a"]}}
    settings = Evaluate.model_validate({"kind": "evaluate", "models": models, "benchmarks": list(benchmarks)})
    run(settings, StageContext(folder, folder / "ledger.sqlite"))
    return dict(json.loads((folder / "results.json").read_text(encoding="utf-8")))


def test_totals_stand_beside_the_comparison_and_in_files_and_are_those_of_saved_predictions(
    tmp_path: Path,
) -> None:
    results = evaluate(
        tmp_path,
        {"name": "superni", "data": str(superni(tmp_path / "ni")), "encoding": "tk-instruct"},
        {"name": "lmentry", "data": str(lmentry(tmp_path / "lm", "first_letter", "last_letter"))},
    )
    yes, a = (results["models"][name]["results"] for name in ("yes", "a"))
    assert (yes["superni"]["value"], a["superni"]["value"]) == (100.0, 0.0)
    assert yes["superni"]["totals"]["exact_match"] == 100.0
    assert "0-shot (0.00 examples shown), encoding tk-instruct" in yes["superni"]["note"]
    assert (a["lmentry"]["value"], a["lmentry"]["totals"]["accuracy"]) == (100.0, 100.0)
    assert a["lmentry"]["note"] == "8 of 110703 questions"
    written = json.loads((tmp_path / "harness" / "a" / "results_lmentry.json").read_text(encoding="utf-8"))
    assert written["model_name"] == "a"
    assert written["n-samples"]["lmentry"] == {"original": 110703, "effective": 8}
    sample = json.loads((tmp_path / "harness" / "yes" / "samples_superni.jsonl").read_text(encoding="utf-8"))
    assert (sample["target"], sample["resps"], sample["rougeL"]) == ("Yes", [["yes"]], 1.0)
    saved = tmp_path / "predictions.jsonl"
    again = score_lmentry(saved, tmp_path / "lm", model="a", subset=True)[0]["results"]["lmentry"]
    assert again == a["lmentry"]["totals"], "saved predictions are scored without a model"
    assert score_superni(saved, model="yes")[0]["results"]["superni"] == yes["superni"]["totals"]


@pytest.fixture
def two_shots(tmp_path: Path) -> tuple[Path, dict[str, Any]]:
    """An evaluation with one benchmark under two titles: its folder and its results."""
    data = superni(tmp_path / "ni")
    task = json.loads((data / "tasks.jsonl").read_text(encoding="utf-8"))
    task["positive_examples"] = [{"input": word, "output": "Yes"} for word in ("So?", "Truly?")]
    (data / "tasks.jsonl").write_text(json.dumps(task), encoding="utf-8")
    asked = [{"name": "superni", "title": f"superni {n}-shot", "data": str(data), "shots": n} for n in (0, 2)]
    return tmp_path, evaluate(tmp_path, *asked)


def test_one_benchmark_stands_in_an_evaluation_twice_under_two_titles(two_shots: tuple[Path, dict[str, Any]]) -> None:
    folder, results = two_shots
    titles = ["superni 0-shot", "superni 2-shot"]
    found = results["models"]["yes"]["results"]
    assert list(found) == titles
    assert [found[title]["note"][8:27] for title in titles] == ["0.00 examples shown", "2.00 examples shown"]
    assert [found[title]["totals"]["exact_match"] for title in titles] == [100.0, 100.0]
    assert [pair["benchmark"] for pair in results["comparisons"]] == titles
    for title, shots in zip(titles, (0, 2), strict=True):
        written = json.loads((folder / "harness" / "yes" / f"results_{title}.json").read_text(encoding="utf-8"))
        assert written["results"]["superni"]["exact_match,none"] == 100.0
        assert set(written["n-shot"].values()) == {shots}
        assert (folder / "harness" / "yes" / f"samples_{title}.jsonl").is_file()


def test_predictions_under_a_title_are_scored_again(two_shots: tuple[Path, dict[str, Any]]) -> None:
    folder, results = two_shots
    saved = folder / "predictions.jsonl"
    files = ["--output", str(folder / "o.json"), "--rows", str(folder / "r.jsonl")]
    chosen = ["--predictions", str(saved), "--benchmark", "superni 2-shot", "--model", "yes"]
    done = CliRunner().invoke(app, ["score", "superni", *chosen, *files], catch_exceptions=False)
    assert done.exit_code == 0
    again = json.loads((folder / "o.json").read_text(encoding="utf-8"))["results"]["superni"]
    assert again == results["models"]["yes"]["results"]["superni 2-shot"]["totals"]
    with pytest.raises(DataError, match="predictions for superni 0-shot, superni 2-shot; expected some for superni"):
        score_superni(saved, model="yes")


def test_every_core_task_of_lmentry_counts_the_same_and_the_other_sets_not_at_all(tmp_path: Path) -> None:
    sets = ("first_letter", "sentence_containing", "more_letters_length_diff_1")
    data = lmentry(tmp_path / "lm", *sets)
    short = json.loads((data / "first_letter.json").read_text(encoding="utf-8"))
    del short["examples"]["0"], short["examples"]["1"], short["examples"]["2"]
    (data / "first_letter.json").write_text(json.dumps(short), encoding="utf-8")
    results = evaluate(tmp_path, {"name": "lmentry", "data": str(data)})
    assert results["models"]["a"]["results"]["lmentry"]["value"] == 50.0
    assert results["models"]["a"]["results"]["lmentry"]["by_task"]["first_letter"] == {"value": 100.0, "n": 1}


def test_a_failed_answer_is_a_wrong_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(request: Request) -> Completion:
        return Completion(key=request.key, failure="connection refused")

    broken = ScriptedEngine.from_function(fail, "broken")
    monkeypatch.setattr("tunalm.calls.context.open_engine", lambda *_, **__: broken)
    lm, ni = lmentry(tmp_path / "lm", "sentence_not_containing"), superni(tmp_path / "ni")
    results = evaluate(tmp_path, {"name": "lmentry", "data": str(lm)}, {"name": "superni", "data": str(ni)})
    found = results["models"]["yes"]["results"]
    assert (found["lmentry"]["failed"], found["lmentry"]["totals"]["accuracy"]) == (4, 0.0)
    assert (found["superni"]["failed"], found["superni"]["totals"]["exact_match"]) == (1, 0.0)


def test_plain_prompts_are_not_given_to_a_chat_server(tmp_path: Path) -> None:
    chat = {"kind": "endpoint", "base_url": "http://127.0.0.1:9/v1", "model": "x"}
    data = superni(tmp_path / "ni")
    with pytest.raises(ValidationError, match="chat server of chat cannot be given the plain prompts of superni"):
        evaluate(tmp_path, {"name": "superni", "data": str(data), "encoding": "tk-instruct"}, models={"chat": chat})


def test_the_template_belongs_to_the_model_and_a_base_model_gets_the_raw_prompt(tmp_path: Path) -> None:
    lm, ni = lmentry(tmp_path / "lm", "first_word"), superni(tmp_path / "ni")
    both = [{"name": "lmentry", "data": str(lm)}, {"name": "superni", "data": str(ni)}]
    models = {"base": {"model": "m", "template": "raw"}, "alpaca": {"model": "m", "template": "alpaca"}, "api": "m"}
    settings = Evaluate.model_validate({"kind": "evaluate", "models": models, "benchmarks": both})
    benchmarks = open_benchmarks(settings)
    asked = {
        (name, each.benchmark): each.request
        for name, engine in settings.models.items()
        for each in reversed(requests(settings, benchmarks, engine))
    }
    assert {key for key, request in asked.items() if request.raw} == {("base", "lmentry"), ("base", "superni")}
    assert asked["base", "lmentry"].messages[0].text == "Q0\nA:"
    assert asked["base", "superni"].messages[0].text.endswith("Input: Is it?\nOutput: ")
    assert asked["alpaca", "superni"].messages == asked["api", "superni"].messages
    assert asked["api", "superni"].messages[0].text == "Say yes.\n\nIs it?"


def test_the_identity_follows_the_content_of_the_files_and_a_slice_of_rows_is_refused(tmp_path: Path) -> None:
    settings = BenchmarkSettings.model_validate(
        {"name": "lmentry", "data": str(lmentry(tmp_path / "lm", "first_word"))}
    )
    before = settings.identities()
    assert settings.identities() == before
    lmentry(tmp_path / "lm", "last_word")
    assert settings.identities() != before
    settings.instructions.rows = ":5"
    with pytest.raises(DataError, match=r"cannot take a slice of rows \(':5'\)"):
        open_benchmark(settings)


def test_rows_are_taken_from_tasks_in_turn() -> None:
    rows = ["a1", "a2", "a3", "b1", "c1", "c2"]
    assert in_turn(rows, lambda row: row[0], 4) == ["a1", "a2", "b1", "c1"]
    assert in_turn(rows, lambda row: row[0], None) == rows
